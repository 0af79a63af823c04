/** Lines to commands and back (docs/protocol.md, "Lines" and "Commands"). Knows no connection. */

import { assertNever } from '../../base/assert.ts';
import { rowLine } from '../model/batch.ts';
import { messageOf, PeerError, quote, UsageError } from '../model/errors.ts';
import { type StreamName, streamNameFault } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import { asPeerError, Fault, readJson, readStream, readToken } from './arguments.ts';
import { type Command, type CommandName, type Side, senders } from './command.ts';
import { RDATA, RowDecoder } from './row-decoder.ts';

/**
 * Reads one line, without its line end.
 * @param from the side that sent it
 * @throws PeerError UNKNOWN_COMMAND, INVALID_ARGUMENTS; its text is what ERROR answers
 */
export function decodeCommand(line: string, from: Side): Command {
  const space = line.indexOf(' ');
  const name = space < 0 ? line : line.slice(0, space);
  const text = space < 0 ? '' : line.slice(space + 1);
  if (!isSentBy(name, from)) throw new PeerError('UNKNOWN_COMMAND', `invalid command: ${quote(name)}`);
  try {
    return readArguments(name, text);
  } catch (thrown) {
    throw asPeerError(name, thrown);
  }
}

/**
 * Writes one line, without its line end.
 * @throws UsageError INVALID_COMMAND when a value does not fit: decoding would not give the same command back
 */
export function encodeCommand(command: Command): string {
  if (!Object.hasOwn(senders, command.name))
    throw new UsageError('INVALID_COMMAND', `there is no command ${quote(command.name)}`);
  const line = writeLine(command);
  if (line.includes('\n') || line.endsWith('\r') || !line.isWellFormed()) {
    throw new UsageError('INVALID_COMMAND', `${command.name} has a line break or half a character: ${quote(line)}`);
  }
  return line;
}

/**
 * The same for a peer that takes lines of so many bytes.
 * @throws UsageError INVALID_COMMAND
 */
export function encodeCommandWithin(maxLineBytes: number, command: Command): string {
  const line = encodeCommand(command);
  if (Buffer.byteLength(line) > maxLineBytes) {
    throw new UsageError('INVALID_COMMAND', `${command.name} makes a line over maxLineBytes ${maxLineBytes}`);
  }
  return line;
}

function isSentBy(name: string, side: Side): name is CommandName {
  return Object.hasOwn(senders, name) && senders[name as CommandName].includes(side);
}

function readArguments(name: CommandName, text: string): Command {
  switch (name) {
    case 'SERVER':
      return { name, serverName: text };
    case 'ERROR':
    case 'SYNC':
      return { name, text };
    case 'PING':
      return { name, data: text };
    case 'NAME':
      return { name, workerName: text };
    case 'RDATA': {
      const decoder = new RowDecoder();
      const line = `${RDATA}${text}`;
      decoder.decode(line, 0, line.length);
      return { name, stream: decoder.stream, token: decoder.token ?? 'batch', row: decoder.row };
    }
    case 'POSITION': {
      const [stream, token] = split(text, ['stream', 'token']);
      return { name, stream: readStream(stream!), token: readToken(token!) };
    }
    case 'REPLICATE': {
      const [stream, from] = split(text, ['stream', 'token|NOW']);
      return {
        name,
        stream: stream === 'ALL' ? stream : readStream(stream!),
        from: from === 'NOW' || from === 'now' ? 'NOW' : readToken(from!),
      };
    }
    case 'USER_SYNC': {
      const [userId, state, lastSync] = split(text, ['user_id', 'start|end', 'last_sync_ms']);
      if (state !== 'start' && state !== 'end') throw new Fault(`expected start or end, not ${quote(state!)}`);
      return { name, userId: userId!, state, lastSyncMs: readInteger(lastSync!) };
    }
    case 'FEDERATION_ACK':
      return { name, token: readToken(text) };
    case 'REMOVE_PUSHER': {
      const [appId, pushKey, userId] = split(text, ['app_id', 'push_key', 'user_id']);
      return { name, appId: appId!, pushKey: pushKey!, userId: userId! };
    }
    case 'INVALIDATE_CACHE': {
      const [cacheName, json] = split(text, ['cache_name', 'keys_json']);
      const keys = readJson(json!);
      if (keys !== null && !Array.isArray(keys))
        throw new Fault(`expected a list of keys or null, not ${quote(json!)}`);
      return { name, cacheName: cacheName!, keys };
    }
    case 'USER_IP': {
      const [userId, json] = split(text, ['user_id', 'json']);
      return { name, userId: userId!, ...readUserIp(json!) };
    }
    default:
      return assertNever(name);
  }
}

type UserIp = Omit<Extract<Command, { name: 'USER_IP' }>, 'name' | 'userId'>;

function readUserIp(json: string): UserIp {
  const fields = readJson(json);
  if (Array.isArray(fields) && fields.length === 5) {
    const [accessToken, ip, userAgent, deviceId, lastSeenMs] = fields as unknown[];
    const isText = typeof accessToken === 'string' && typeof ip === 'string' && typeof userAgent === 'string';
    if (isText && (deviceId === null || typeof deviceId === 'string') && Number.isSafeInteger(lastSeenMs)) {
      return { accessToken, ip, userAgent, deviceId, lastSeenMs: lastSeenMs as number };
    }
  }
  throw new Fault(`expected [access_token, ip, user_agent, device_id|null, last_seen_ms], not ${quote(json)}`);
}

/** Splits at single spaces; the last argument takes the rest. An empty argument is a leading or doubled space, or none at all. */
function split(text: string, names: readonly string[]): string[] {
  const values: string[] = [];
  let at = 0;
  for (let i = 0; i < names.length; i++) {
    const isLast = i === names.length - 1;
    const space = text.indexOf(' ', at);
    const end = isLast || space < 0 ? text.length : space;
    if (end <= at || (isLast && space === at))
      throw new Fault(`expected ${names.map((n) => `<${n}>`).join(' ')}, came ${quote(text) || 'nothing'}`);
    values.push(text.slice(at, end));
    at = end + 1;
  }
  return values;
}

const INTEGER = /^-?[0-9]{1,16}$/;

function readInteger(text: string): number {
  const value = Number(text);
  if (!INTEGER.test(text) || !Number.isSafeInteger(value))
    throw new Fault(`expected an integer, not ${quote(text) || 'nothing'}`);
  return value + 0;
}

function writeLine(command: Command): string {
  switch (command.name) {
    case 'SERVER':
      return `SERVER ${free(command.name, command.serverName)}`;
    case 'RDATA':
      return rowLine(
        writeStream(command.name, command.stream),
        command.token === 'batch' ? 'batch' : writeToken(command.name, command.token),
        writeJson(command.name, command.row),
      );
    case 'POSITION':
      return `POSITION ${writeStream(command.name, command.stream)} ${writeToken(command.name, command.token)}`;
    case 'ERROR':
    case 'SYNC':
      return `${command.name} ${free(command.name, command.text)}`;
    case 'PING':
      return `PING ${free(command.name, command.data)}`;
    case 'NAME':
      return `NAME ${free(command.name, command.workerName)}`;
    case 'REPLICATE':
      return `REPLICATE ${command.stream === 'ALL' ? 'ALL' : writeStream(command.name, command.stream)} ${command.from === 'NOW' ? 'NOW' : writeToken(command.name, command.from)}`;
    case 'USER_SYNC':
      return `USER_SYNC ${word(command.name, command.userId)} ${oneOf(command.name, command.state, ['start', 'end'])} ${writeInteger(command.name, command.lastSyncMs)}`;
    case 'FEDERATION_ACK':
      return `FEDERATION_ACK ${writeToken(command.name, command.token)}`;
    case 'REMOVE_PUSHER':
      return `REMOVE_PUSHER ${word(command.name, command.appId)} ${word(command.name, command.pushKey)} ${last(command.name, command.userId)}`;
    case 'INVALIDATE_CACHE':
      if (command.keys !== null && !Array.isArray(command.keys)) throw refuse(command.name, 'keys are a list or null');
      return `INVALIDATE_CACHE ${word(command.name, command.cacheName)} ${writeJson(command.name, command.keys)}`;
    case 'USER_IP': {
      const { accessToken, ip, userAgent, deviceId, lastSeenMs } = command;
      return `USER_IP ${word(command.name, command.userId)} ${writeJson(command.name, [accessToken, ip, userAgent, deviceId, writeInteger(command.name, lastSeenMs)])}`;
    }
    default:
      return assertNever(command);
  }
}

/** Free text: anything but nothing. A real 1.4.0 peer dies on a bare word, so we never send one. */
function free(name: CommandName, text: string): string {
  if (text === '') throw refuse(name, 'its text is empty');
  return text;
}

/** An argument that another one follows. */
function word(name: CommandName, text: string): string {
  if (text === '' || text.includes(' ')) throw refuse(name, `an argument is empty or has a space: ${quote(text)}`);
  return text;
}

/** The last argument, which may have spaces but not begin with one. */
function last(name: CommandName, text: string): string {
  if (text === '' || text.startsWith(' '))
    throw refuse(name, `the last argument is empty or begins with a space: ${quote(text)}`);
  return text;
}

function writeStream(name: CommandName, stream: StreamName): StreamName {
  const fault = streamNameFault(stream);
  if (fault !== undefined) throw refuse(name, fault);
  return stream;
}

function writeToken(name: CommandName, value: Token): Token {
  if (value < 0) throw refuse(name, `a token is at least 0, not ${value}`);
  return writeInteger(name, value);
}

function writeInteger(name: CommandName, value: number): number {
  if (!Number.isSafeInteger(value)) throw refuse(name, `expected an integer, not ${value}`);
  return value;
}

function oneOf(name: CommandName, value: string, values: readonly string[]): string {
  if (!values.includes(value)) throw refuse(name, `expected ${values.join(' or ')}, not ${quote(value)}`);
  return value;
}

function writeJson(name: CommandName, value: unknown): string {
  try {
    const text = JSON.stringify(value) as string | undefined;
    if (text !== undefined) return text;
  } catch (cause) {
    throw refuse(name, messageOf(cause));
  }
  throw refuse(name, `JSON cannot say ${typeof value}`);
}

function refuse(name: CommandName, why: string): UsageError {
  return new UsageError('INVALID_COMMAND', `${name} does not fit on a line: ${why}`);
}
