/** Reads the arguments of commands from text (docs/protocol.md, "Commands"). */

import { PeerError, quote } from '../model/errors.ts';
import { type History, parseHistory } from '../model/history.ts';
import { MAX_COMMAND_JSON } from '../model/attributes.ts';
import { isDeep, LONG_ROW, MAX_ROW_DEPTH } from '../model/row.ts';
import { type StreamName, streamNameFault } from '../model/stream.ts';
import { parseSeedToken, parseToken, type Token } from '../model/token.ts';
import {
  type Command,
  type CommandName,
  type Dialect,
  type RefusalCode,
  type RefusalFacts,
  refusalCodes,
} from './command.ts';
import { isSecretive } from './secrets.ts';

/**
 * Why arguments do not parse, and what came. They are kept apart: where the command has a secret,
 * asPeerError shows the first alone.
 */
export class Fault extends Error {
  readonly came: string | undefined;

  /** @param came text of the peer, as it came */
  constructor(why: string, came?: string) {
    super(why);
    this.came = came;
  }
}

export function asPeerError(name: CommandName, thrown: unknown): unknown {
  if (!(thrown instanceof Fault)) return thrown;
  const { message, came } = thrown;
  const not = came === undefined || isSecretive(name) ? '' : `, not ${quote(came) || 'nothing'}`;
  return new PeerError('INVALID_ARGUMENTS', `failed to parse line for ${name}: ${message}${not}`);
}

/**
 * Splits at single spaces; the last argument takes the rest. Refuses an empty argument, which means
 * a leading, doubled or missing space.
 */
export function split(text: string, names: readonly string[]): string[] {
  const values: string[] = [];
  let at = 0;
  for (let i = 0; i < names.length; i++) {
    const isLast = i === names.length - 1;
    const space = text.indexOf(' ', at);
    const end = isLast || space < 0 ? text.length : space;
    if (end <= at || (isLast && space === at))
      throw new Fault(`expected ${names.map((n) => `<${n}>`).join(' ')}`, text);
    values.push(text.slice(at, end));
    at = end + 1;
  }
  return values;
}

export function readStream(text: string): StreamName {
  const fault = streamNameFault(text);
  if (fault !== undefined) throw new Fault(fault);
  return text;
}

export function readToken(text: string, dialect: Dialect): Token {
  const token = dialect === 'seed' ? parseSeedToken(text) : parseToken(text);
  if (token === undefined) throw new Fault('expected a token (0 to 2^53-1)', text);
  return token;
}

const INTEGER = /^-?[0-9]{1,16}$/;

export function readInteger(text: string): number {
  const value = Number(text);
  if (!INTEGER.test(text) || !Number.isSafeInteger(value)) throw new Fault('expected an integer', text);
  return value + 0;
}

export function readHistory(text: string): History {
  if (parseHistory(text) === undefined) throw new Fault('expected a history (log id, number and random)', text);
  return text;
}

const SPACE = 0x20;

export function readCommandJson(text: string): unknown {
  if (text.length > MAX_COMMAND_JSON) {
    throw new Fault(`expected JSON of at most ${MAX_COMMAND_JSON} characters, not of ${text.length}`);
  }
  return readJsonAt(text, 0, text.length);
}

export function readJsonObject(text: string): object {
  const value = readCommandJson(text);
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Fault('expected a JSON object', text);
  return value;
}

export function readJsonAt(line: string, start: number, end: number): unknown {
  // JSON allows a leading space, but here it is a doubled space (docs/protocol.md, "Commands").
  if (line.charCodeAt(start) === SPACE) throw new Fault('expected one space before the JSON');
  const text = line.slice(start, end);
  if (text.length > LONG_ROW && isDeep(text)) {
    throw new Fault(`expected at most ${MAX_ROW_DEPTH} arrays and objects within each other`);
  }
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // Why not is left out: the system's text of it repeats the JSON.
    throw new Fault('expected JSON', text);
  }
}

export type UserIp = Omit<Extract<Command, { name: 'USER_IP' }>, 'name' | 'userId'>;

export function readUserIp(json: string): UserIp {
  const fields = readCommandJson(json);
  if (Array.isArray(fields) && fields.length === 5) {
    const [accessToken, ip, userAgent, deviceId, lastSeenMs] = fields as unknown[];
    const isText = typeof accessToken === 'string' && typeof ip === 'string' && typeof userAgent === 'string';
    if (isText && (deviceId === null || typeof deviceId === 'string') && Number.isSafeInteger(lastSeenMs)) {
      return { accessToken, ip, userAgent, deviceId, lastSeenMs: lastSeenMs as number };
    }
  }
  throw new Fault('expected [access_token, ip, user_agent, device_id|null, last_seen_ms] as <json>', json);
}

export function readRefusalCode(text: string): RefusalCode {
  const code = refusalCodes.find((known) => known === text);
  if (code === undefined) throw new Fault(`expected ${refusalCodes.join(', ')}`, text);
  return code;
}

export function readRefusalFacts(json: string): RefusalFacts {
  const facts = refusalFactsOf(readJsonObject(json));
  if (facts === undefined) throw new Fault('expected the facts of a refusal (tokens, a history, a boolean)', json);
  return facts;
}

/**
 * Keeps the known members and leaves the others to later versions. Returns undefined when a known
 * member has another type.
 */
export function refusalFactsOf(value: object): RefusalFacts | undefined {
  const { earliest, latest, history, common, deleted } = value as Record<string, unknown>;
  const areTokens = [earliest, latest, common].every((token) => token === undefined || isToken(token));
  const isHistory = history === undefined || (typeof history === 'string' && parseHistory(history) !== undefined);
  if (!areTokens || !isHistory || (deleted !== undefined && typeof deleted !== 'boolean')) return undefined;
  const facts = { earliest, latest, history, common, deleted };
  return Object.fromEntries(Object.entries(facts).filter(([, fact]) => fact !== undefined)) as RefusalFacts;
}

function isToken(value: unknown): value is Token {
  return Number.isSafeInteger(value) && (value as number) >= 0 && !Object.is(value, -0);
}
