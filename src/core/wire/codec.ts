/** Lines to commands and back (docs/protocol.md, "Lines" and "Commands"). Knows no connection. */

import { assertNever } from '../../base/assert.ts';
import { utf8Length } from '../../base/bytes.ts';
import { attributesLine, rowLine } from '../model/batch.ts';
import { PeerError, quote, UsageError } from '../model/errors.ts';
import { formatEra, type History, isLogId, parseHistory } from '../model/history.ts';
import type { Token } from '../model/token.ts';
import { UnreadableRow } from '../model/unreadable-row.ts';
import {
  type Command,
  type CommandName,
  type Dialect,
  refusalCodes,
  rowcastOnly,
  type Side,
  senders,
} from './command.ts';
import {
  asPeerError,
  Fault,
  readCommandJson,
  readHistory,
  readInteger,
  readJsonAt,
  readJsonObject,
  readRefusalCode,
  readRefusalFacts,
  readStream,
  readToken,
  readUserIp,
  refusalFactsOf,
  split,
} from './read-arguments.ts';
import { presentableName } from './secrets.ts';
import { RDATA, RowDecoder } from './row-decoder.ts';
import {
  free,
  last,
  oneOf,
  refuse,
  word,
  writeCommandJson,
  writeHistory,
  writeInteger,
  writeJson,
  writeJsonObject,
  writeStream,
  writeToken,
} from './write-arguments.ts';

/**
 * Reads one line, without its line end.
 * @param from the side that sent it
 * @param dialect what both sides speak; the seed's dialect has only the seed's commands
 * @throws PeerError UNKNOWN_COMMAND, INVALID_ARGUMENTS; its text is what ERROR answers
 */
export function decodeCommand(line: string, from: Side, dialect: Dialect): Command {
  const space = line.indexOf(' ');
  const name = space < 0 ? line : line.slice(0, space);
  const text = space < 0 ? '' : line.slice(space + 1);
  if (!isSentBy(name, from, dialect))
    throw new PeerError('UNKNOWN_COMMAND', `invalid command: ${quote(presentableName(name))}`);
  try {
    return readArguments(name, text, dialect);
  } catch (thrown) {
    throw asPeerError(name, thrown);
  }
}

/**
 * Writes one line, without its line end.
 * @throws UsageError INVALID_COMMAND when a value does not fit, so that decoding would give another
 *   command
 */
export function encodeCommand(command: Command): string {
  if (!Object.hasOwn(senders, command.name))
    throw new UsageError('INVALID_COMMAND', `there is no command ${quote(command.name)}`);
  const line = writeLine(command);
  if (line.includes('\n') || line.endsWith('\r') || !line.isWellFormed()) {
    throw refuse(command.name, 'it has a line break or half a character', line);
  }
  return line;
}

/**
 * Writes one line for a peer that takes lines of at most `maxLineBytes`.
 * @throws UsageError INVALID_COMMAND
 */
export function encodeCommandWithin(maxLineBytes: number, command: Command): string {
  const line = encodeCommand(command);
  if (utf8Length(line) > maxLineBytes) {
    throw new UsageError('INVALID_COMMAND', `${command.name} makes a line over maxLineBytes ${maxLineBytes}`);
  }
  return line;
}

function isSentBy(name: string, side: Side, dialect: Dialect): name is CommandName {
  if (!Object.hasOwn(senders, name) || !senders[name as CommandName].includes(side)) return false;
  return dialect === 'rowcast/2' || !rowcastOnly.has(name as CommandName);
}

function readArguments(name: CommandName, text: string, dialect: Dialect): Command {
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
      const decoder = new RowDecoder(dialect);
      const line = `${RDATA}${text}`;
      decoder.decode(line, 0, line.length);
      if (decoder.row instanceof UnreadableRow) readJsonAt(decoder.row.text, 0, decoder.row.text.length);
      return { name, stream: decoder.stream, token: decoder.token ?? 'batch', row: decoder.row };
    }
    case 'POSITION': {
      const [stream, token, history] = split(
        text,
        dialect === 'seed' ? ['stream', 'token'] : ['stream', 'token', 'history'],
      );
      return {
        name,
        stream: readStream(stream!),
        token: readToken(token!, dialect),
        history: history === undefined ? undefined : readHistory(history),
      };
    }
    case 'HISTORY': {
      const [stream, after, history] = split(text, ['stream', 'after', 'history']);
      return { name, stream: readStream(stream!), after: readToken(after!, dialect), history: readHistory(history!) };
    }
    case 'ERA':
      return { name, era: readEra(text) };
    case 'REFUSED': {
      const [stream, code, facts] = split(text, ['stream', 'code', 'json']);
      return {
        name,
        stream: readStream(stream!),
        code: readRefusalCode(code!),
        facts: readRefusalFacts(facts!),
      };
    }
    case 'RELEASED':
    case 'RELEASE':
      return { name, stream: readStream(split(text, ['stream'])[0]!) };
    case 'ATTR': {
      const [stream, token, json] = split(text, ['stream', 'token', 'json']);
      return {
        name,
        stream: readStream(stream!),
        token: readToken(token!, dialect),
        attributes: readJsonObject(json!),
      };
    }
    case 'REPLICATE':
      return readReplicate(text, dialect);
    case 'APPLIED': {
      const [stream, applied, saved] = split(text, ['stream', 'applied', 'saved|NONE']);
      return {
        name,
        stream: readStream(stream!),
        applied: readToken(applied!, dialect),
        saved: saved === 'NONE' ? undefined : readToken(saved!, dialect),
      };
    }
    case 'USER_SYNC': {
      const [userId, state, lastSync] = split(text, ['user_id', 'start|end', 'last_sync_ms']);
      if (state !== 'start' && state !== 'end') throw new Fault('expected start or end', state);
      return { name, userId: userId!, state, lastSyncMs: readInteger(lastSync!) };
    }
    case 'FEDERATION_ACK':
      return { name, token: readToken(text, dialect) };
    case 'REMOVE_PUSHER': {
      const [appId, pushKey, userId] = split(text, ['app_id', 'push_key', 'user_id']);
      return { name, appId: appId!, pushKey: pushKey!, userId: userId! };
    }
    case 'INVALIDATE_CACHE': {
      const [cacheName, json] = split(text, ['cache_name', 'keys_json']);
      const keys = readCommandJson(json!);
      if (keys !== null && !Array.isArray(keys)) throw new Fault('expected a list of keys or null', json);
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

type Replicate = Extract<Command, { name: 'REPLICATE' }>;

const MISPLACED_HISTORY = 'a history stands only behind the token of one stream';

function readReplicate(text: string, dialect: Dialect): Replicate {
  const hasHistory = dialect === 'rowcast/2' && text.split(' ', 3).length === 3;
  const [stream, from, history] = split(text, [
    'stream',
    dialect === 'seed' ? 'token|NOW' : 'token|START|NOW',
    ...(hasHistory ? ['history'] : []),
  ]);
  const command: Replicate = {
    name: 'REPLICATE',
    stream: stream === 'ALL' ? stream : readStream(stream!),
    from: readPlace(from!, dialect),
    history: history === undefined ? undefined : readHistory(history),
  };
  if (hasHistory && !mayHaveHistory(command)) throw new Fault(MISPLACED_HISTORY);
  return command;
}

function readPlace(text: string, dialect: Dialect): Token | 'START' | 'NOW' {
  if (text === 'NOW' || text === 'now') return 'NOW';
  return text === 'START' && dialect === 'rowcast/2' ? text : readToken(text, dialect);
}

function mayHaveHistory({ stream, from }: Replicate): boolean {
  return stream !== 'ALL' && typeof from === 'number';
}

/** ERA has the log id and the era of a history as two words. */
function readEra(text: string): History {
  const [logId, numberAndRandom] = split(text, ['log_id', 'number.random']);
  if (!isLogId(logId!)) throw new Fault('expected a log id (16 hex digits)', logId);
  return readHistory(`${logId!}.${numberAndRandom!}`);
}

function writeLine(command: Command): string {
  const { name } = command;
  switch (command.name) {
    case 'SERVER':
      return words(name, free(name, command.serverName));
    case 'RDATA':
      return rowLine(
        writeStream(name, command.stream),
        command.token === 'batch' ? 'batch' : writeToken(name, command.token),
        writeJson(name, command.row),
      );
    case 'POSITION':
      return words(name, writeStream(name, command.stream), writeToken(name, command.token), ...onHistory(command));
    case 'HISTORY':
      return words(
        name,
        writeStream(name, command.stream),
        writeToken(name, command.after),
        writeHistory(name, command.history),
      );
    case 'ERA': {
      const { logId, ...era } = parseHistory(writeHistory(name, command.era))!;
      return words(name, logId, formatEra(era));
    }
    case 'REFUSED': {
      const facts = refusalFactsOf(command.facts);
      if (facts === undefined) throw refuse(name, 'its facts are tokens, a history and a boolean');
      const code = oneOf(name, command.code, refusalCodes);
      return words(name, writeStream(name, command.stream), code, writeCommandJson(name, facts));
    }
    case 'RELEASED':
    case 'RELEASE':
      return words(name, writeStream(name, command.stream));
    case 'ATTR':
      return attributesLine(
        writeStream(name, command.stream),
        writeToken(name, command.token),
        writeJsonObject(name, command.attributes),
      );
    case 'ERROR':
    case 'SYNC':
      return words(name, free(name, command.text));
    case 'PING':
      return words(name, free(name, command.data));
    case 'NAME':
      return words(name, free(name, command.workerName));
    case 'REPLICATE': {
      const { stream, from } = command;
      if (command.history !== undefined && !mayHaveHistory(command)) throw refuse(name, MISPLACED_HISTORY);
      return words(
        name,
        stream === 'ALL' ? stream : writeStream(name, stream),
        from === 'NOW' || from === 'START' ? from : writeToken(name, from),
        ...onHistory(command),
      );
    }
    case 'APPLIED':
      return words(
        name,
        writeStream(name, command.stream),
        writeToken(name, command.applied),
        command.saved === undefined ? 'NONE' : writeToken(name, command.saved),
      );
    case 'USER_SYNC':
      return words(
        name,
        word(name, command.userId),
        oneOf(name, command.state, ['start', 'end']),
        writeInteger(name, command.lastSyncMs),
      );
    case 'FEDERATION_ACK':
      return words(name, writeToken(name, command.token));
    case 'REMOVE_PUSHER':
      return words(name, word(name, command.appId), word(name, command.pushKey), last(name, command.userId));
    case 'INVALIDATE_CACHE':
      if (command.keys !== null && !Array.isArray(command.keys)) throw refuse(name, 'keys are a list or null');
      return words(name, word(name, command.cacheName), writeCommandJson(name, command.keys));
    case 'USER_IP': {
      const { accessToken, ip, userAgent, deviceId, lastSeenMs } = command;
      const fields = [accessToken, ip, userAgent, deviceId, writeInteger(name, lastSeenMs)];
      return words(name, word(name, command.userId), writeCommandJson(name, fields));
    }
    default:
      return assertNever(command);
  }
}

function words(...texts: readonly (string | number)[]): string {
  return texts.join(' ');
}

/** The last argument of a line to a peer that speaks rowcast/2. Other peers get none. */
function onHistory({ name, history }: Extract<Command, { name: 'POSITION' | 'REPLICATE' }>): History[] {
  return history === undefined ? [] : [writeHistory(name, history)];
}
