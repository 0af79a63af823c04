/**
 * Writes the arguments of commands as text (docs/protocol.md, "Commands"). Refuses a value that
 * does not fit on a line.
 */

import { MAX_COMMAND_JSON } from '../model/attributes.ts';
import { messageOf, quote, UsageError } from '../model/errors.ts';
import { type History, parseHistory } from '../model/history.ts';
import { type StreamName, streamNameFault } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import type { CommandName } from './command.ts';
import { isSecretive } from './secrets.ts';

/** Free text that is not empty. A real 1.4.0 peer dies on a bare word, so we never send one. */
export function free(name: CommandName, text: string): string {
  if (text === '') throw refuse(name, 'its text is empty');
  return text;
}

/** An argument with another one after it. */
export function word(name: CommandName, text: string): string {
  if (text === '' || text.includes(' ')) throw refuse(name, 'an argument is empty or has a space', text);
  return text;
}

/** The last argument: it may have spaces but not begin with one. */
export function last(name: CommandName, text: string): string {
  if (text === '' || text.startsWith(' '))
    throw refuse(name, 'the last argument is empty or begins with a space', text);
  return text;
}

export function writeStream(name: CommandName, stream: StreamName): StreamName {
  const fault = streamNameFault(stream);
  if (fault !== undefined) throw refuse(name, fault);
  return stream;
}

export function writeToken(name: CommandName, value: Token): Token {
  if (value < 0) throw refuse(name, `a token is at least 0, not ${value}`);
  return writeInteger(name, value);
}

export function writeInteger(name: CommandName, value: number): number {
  if (!Number.isSafeInteger(value)) throw refuse(name, `expected an integer, not ${value}`);
  return value;
}

export function oneOf<Value extends string>(name: CommandName, value: Value, values: readonly Value[]): Value {
  if (!values.includes(value)) throw refuse(name, `expected ${values.join(' or ')}`, value);
  return value;
}

export function writeHistory(name: CommandName, value: History): History {
  if (parseHistory(value) === undefined) throw refuse(name, 'it is no history', value);
  return value;
}

/** Refuses arrays, and objects that JSON writes as something else (a Date). */
export function writeJsonObject(name: CommandName, value: object): string {
  const json = writeCommandJson(name, value);
  if (!json.startsWith('{')) throw refuse(name, 'it is not written as a JSON object', json);
  return json;
}

/** The JSON of a command that is no row. */
export function writeCommandJson(name: CommandName, value: unknown): string {
  const json = writeJson(name, value);
  if (json.length > MAX_COMMAND_JSON) {
    throw refuse(name, `its JSON has ${json.length} characters, over ${MAX_COMMAND_JSON}`);
  }
  return json;
}

export function writeJson(name: CommandName, value: unknown): string {
  try {
    const text = JSON.stringify(value) as string | undefined;
    if (text !== undefined) return text;
  } catch (cause) {
    throw refuse(name, 'JSON cannot say one of its values', messageOf(cause));
  }
  throw refuse(name, `JSON cannot say ${typeof value}`);
}

/** @param came shown where the command has no secret */
export function refuse(name: CommandName, why: string, came?: string): UsageError {
  const shown = came === undefined || isSecretive(name) ? '' : `: ${quote(came)}`;
  return new UsageError('INVALID_COMMAND', `${name} does not fit on a line: ${why}${shown}`);
}
