/** Arguments of commands, read from text (docs/protocol.md, "Commands"). */

import { messageOf, PeerError, quote } from '../model/errors.ts';
import { type StreamName, streamNameFault } from '../model/stream.ts';
import { parseToken, type Token } from '../model/token.ts';
import type { CommandName } from './command.ts';

/** Why arguments do not parse. Whoever reads the line makes a PeerError of it. */
export class Fault extends Error {}

export function asPeerError(name: CommandName, thrown: unknown): unknown {
  return thrown instanceof Fault
    ? new PeerError('INVALID_ARGUMENTS', `failed to parse line for ${name}: ${thrown.message}`)
    : thrown;
}

export function readStream(text: string): StreamName {
  const fault = streamNameFault(text);
  if (fault !== undefined) throw new Fault(fault);
  return text;
}

export function readToken(text: string): Token {
  const token = parseToken(text);
  if (token === undefined) throw new Fault(`expected a token (0 to 2^53-1), not ${quote(text) || 'nothing'}`);
  return token;
}

const SPACE = 0x20;

export function readJson(text: string): unknown {
  return readJsonAt(text, 0, text.length);
}

export function readJsonAt(line: string, start: number, end: number): unknown {
  // JSON allows leading space, the protocol does not: it is a doubled space (docs/protocol.md, "Commands").
  if (line.charCodeAt(start) === SPACE) throw new Fault('expected one space before the JSON');
  const text = line.slice(start, end);
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new Fault(`expected JSON, not ${quote(text) || 'nothing'} (${quote(messageOf(cause))})`);
  }
}
