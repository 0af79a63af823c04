/**
 * A position: a place in one stream, and the history that it belongs to. Files, headers and people
 * share one parser and one formatter.
 */

import { quote, UsageError } from './errors.ts';
import { type History, history as checkHistory, parseHistory } from './history.ts';
import { nameOfType } from './options.ts';
import { type StreamName, streamNameFault } from './stream.ts';
import { parseToken, token as checkToken, type Token } from './token.ts';

/** Stands for everything in the stream up to the token, as this history has it. */
export interface Position {
  readonly stream: StreamName;
  readonly token: Token;
  /** The history of the row at the token. Undefined with a primary that is not Rowcast. */
  readonly history: History | undefined;
}

/**
 * Checks a position from outside. Its stream may be one that nobody has.
 * @throws UsageError INVALID_POSITION, INVALID_TOKEN
 */
export function checkPosition(position: Position): void {
  if (typeof position?.stream !== 'string') throw noPosition(position);
  checkToken(position.token);
  if (position.history !== undefined) checkHistory(position.history);
}

/**
 * Formats a position as one word, `events=123@8f3c1d2e4b5a6978.1764281400.a1b2c3d4`, with the name
 * percent-encoded. Without a history it is `events=123`.
 * @throws UsageError INVALID_POSITION for what is no position
 */
export function formatPosition(position: Position): string {
  if (typeof position?.stream !== 'string') throw noPosition(position);
  const { stream, token, history } = position;
  const place = `${encodeURIComponent(stream)}=${token}`;
  return history === undefined ? place : `${place}@${history}`;
}

/**
 * Joins positions with commas. A history that equals the one before it is left out after its `@`.
 */
export function formatPositions(positions: readonly Position[]): string {
  let before: History | undefined;
  const texts: string[] = [];
  for (const position of positions) {
    const text = formatPosition(position);
    const isRepeated = position.history !== undefined && position.history === before;
    texts.push(isRepeated ? text.slice(0, -position.history.length) : text);
    before = position.history ?? before;
  }
  return texts.join(',');
}

/**
 * Reads what formatPosition writes.
 * @throws UsageError INVALID_POSITION
 */
export function parsePosition(text: string): Position {
  if (typeof text !== 'string') {
    throw new UsageError('INVALID_POSITION', `parsePosition reads the text of a position, not ${nameOfType(text)}`);
  }
  return readPosition(text, undefined);
}

/**
 * Reads what formatPositions writes. White space around a position is allowed, as in HTTP lists.
 * @throws UsageError INVALID_POSITION (also for more than `most` positions)
 */
export function parsePositions(text: string, most: number = MOST_POSITIONS): Position[] {
  const positions: Position[] = [];
  let before: History | undefined;
  for (const part of text.split(',', most + 1)) {
    if (positions.length === most) throw invalid(text, `it has more than ${most} positions`);
    const position = readPosition(part.trim(), before);
    before = position.history ?? before;
    positions.push(position);
  }
  return positions;
}

/** The bound on a list when the caller gives no smaller one. */
const MOST_POSITIONS = 100_000;

function readPosition(text: string, before: History | undefined): Position {
  const [name, place, ...rest] = text.split('=');
  if (name === undefined || place === undefined || rest.length > 0) {
    throw invalid(text, 'it is not a stream name, = and a token');
  }
  const stream = decodeName(name);
  if (stream === undefined) throw invalid(text, 'its percent-encoding is broken');
  const nameFault = streamNameFault(stream);
  if (nameFault !== undefined) throw invalid(text, nameFault);
  const at = place.indexOf('@');
  const digits = at < 0 ? place : place.slice(0, at);
  const token = parseToken(digits);
  if (token === undefined) throw invalid(text, `a token is an integer from 0 to 2^53-1, not '${quote(digits)}'`);
  if (at < 0) return { stream, token, history: undefined };
  const history = place.slice(at + 1);
  if (history === '' && before !== undefined) return { stream, token, history: before };
  if (parseHistory(history) === undefined) throw invalid(text, `'${quote(history)}' is no history`);
  return { stream, token, history };
}

function noPosition(came: unknown): UsageError {
  const hint = typeof came === 'string' ? ': parsePosition reads text' : '';
  const text = `a position is an object with stream, token and history, as append gives it, not ${nameOfType(came)}${hint}`;
  return new UsageError('INVALID_POSITION', text);
}

function invalid(text: string, why: string): UsageError {
  return new UsageError(
    'INVALID_POSITION',
    `a position is as in events=123@8f3c1d2e4b5a6978.1764281400.a1b2c3d4, not '${quote(text)}': ${why}`,
  );
}

function decodeName(encoded: string): StreamName | undefined {
  try {
    return decodeURIComponent(encoded);
  } catch {
    return undefined;
  }
}
