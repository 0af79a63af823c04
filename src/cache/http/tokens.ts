/**
 * Read your writes over HTTP: the headers `Rowcast-Token` and `Rowcast-Stale`, and what becomes of a request that carries a token.
 * Knows no framework and no socket: express.ts, fastify.ts and hono.ts carry what is decided here.
 */

import type { Millis } from '../../base/clock.ts';
import { quote, RowcastError, UsageError } from '../../core/model/errors.ts';
import { nameOf, type Stream, type StreamName, streamName, streamNameFault } from '../../core/model/stream.ts';
import { parseToken, type Token } from '../../core/model/token.ts';
import type { Primary } from '../../primary/primary.ts';
import type { Worker } from '../../worker/worker.ts';

/** `caches=123,events=77`: how far the primary was when it answered, and how far a worker must be to answer. */
export const TOKEN_HEADER = 'Rowcast-Token';
/** `caches=120`: the streams that a worker has not brought far enough, and where it stands. */
export const STALE_HEADER = 'Rowcast-Stale';

/** Well below what servers and proxies take of one header. In characters. */
export const MAX_HEADER_LENGTH = 4_096;
/** A request waits for each of them: this is the most waits that one client can begin at once. */
export const MAX_STREAMS = 64;

const LONGEST_TOKEN: Token = Number.MAX_SAFE_INTEGER;

export interface SendTokensOptions {
  /** The streams that tell workers of the writes of this app. At least one. */
  readonly streams: readonly (Stream | StreamName)[];
}

/** The value of `Rowcast-Token` now; undefined where the primary cannot tell. */
export type CurrentTokens = () => string | undefined;

/** @throws UsageError INVALID_OPTION, NO_SUCH_STREAM, CLOSED */
export function currentTokens(primary: Primary, options: SendTokensOptions): CurrentTokens {
  // In JavaScript the options may be left out.
  const names = namesOf('sendTokens', options?.streams ?? []);
  // Here, not with the first answer: whoever misspells a stream hears of it at the start.
  for (const name of names) primary.position(name);
  const longest = formatTokens(names.map((name) => [name, LONGEST_TOKEN]));
  if (names.length > MAX_STREAMS || longest.length > MAX_HEADER_LENGTH) {
    throw new UsageError(
      'INVALID_OPTION',
      `streams of sendTokens fit in a header of ${MAX_HEADER_LENGTH} characters and are at most ${MAX_STREAMS}; these are ${names.length} and may need ${longest.length}`,
    );
  }
  return () => {
    try {
      return formatTokens(names.map((name) => [name, primary.position(name)]));
    } catch (error) {
      // A primary that is closed takes no more writes; the answers that are still under way go out without a token.
      if (error instanceof RowcastError) return undefined;
      throw error;
    }
  };
}

export interface AwaitTokensOptions {
  /** The longest that a request waits, for all its streams together. Default 1,000. */
  readonly timeoutMs?: Millis;
  /** What to do with a request whose tokens were not reached: answer 503, or serve what is there and say so in `Rowcast-Stale`. Default `refuse`. */
  readonly onTimeout?: 'refuse' | 'serve';
  /** Wait for these only, whatever else the header names. At least one; left out: for every stream that the worker follows. */
  readonly streams?: readonly (Stream | StreamName)[];
}

export const defaultAwaitTokensOptions: Required<Omit<AwaitTokensOptions, 'streams'>> = Object.freeze({
  timeoutMs: 1_000,
  onTimeout: 'refuse',
});

/** What becomes of a request. */
export type Verdict =
  /** `stale` is the value of `Rowcast-Stale`. */
  | { readonly kind: 'go-on'; readonly stale?: string }
  | {
      readonly kind: 'refuse';
      readonly status: 400 | 503;
      readonly headers: Readonly<Record<string, string>>;
      readonly body: string;
    }
  /** The client went away: nobody reads an answer. */
  | { readonly kind: 'gone' };

/** A promise only where the request must wait; the signal, aborted when the client goes away, is asked for only then. */
export type Judge = (header: string | undefined, signal: () => AbortSignal) => Verdict | Promise<Verdict>;

const goOn: Verdict = Object.freeze({ kind: 'go-on' });

/** @throws UsageError INVALID_OPTION, INVALID_STREAM_NAME */
export function judgeRequests(worker: Worker, options: AwaitTokensOptions = {}): Judge {
  const {
    timeoutMs = defaultAwaitTokensOptions.timeoutMs,
    onTimeout = defaultAwaitTokensOptions.onTimeout,
    streams,
  } = options;
  if (!Number.isFinite(timeoutMs) || timeoutMs < 0)
    throw new UsageError('INVALID_OPTION', `timeoutMs of awaitTokens is a number from 0, not ${timeoutMs}`);
  if (onTimeout !== 'refuse' && onTimeout !== 'serve') {
    throw new UsageError(
      'INVALID_OPTION',
      `onTimeout of awaitTokens is 'refuse' or 'serve', not ${JSON.stringify(onTimeout)}`,
    );
  }
  const only = streams === undefined ? undefined : new Set(namesOf('awaitTokens', streams).map(streamName));
  const isBehind = ([stream, token]: Place): boolean =>
    (only?.has(stream) ?? true) && positionOf(worker, stream) < token;
  return (header, signal) => {
    if (header === undefined) return goOn;
    const tokens = parseTokens(header);
    if ('fault' in tokens) return refuse(400, 'INVALID_HEADER', tokens.fault);
    const behind = [...tokens].filter(isBehind);
    return behind.length === 0 ? goOn : wait(worker, behind, { timeoutMs, onTimeout, signal: signal() });
  };
}

interface WaitOptions extends Required<Omit<AwaitTokensOptions, 'streams'>> {
  readonly signal: AbortSignal;
}

async function wait(
  worker: Worker,
  places: readonly Place[],
  { timeoutMs, onTimeout, signal }: WaitOptions,
): Promise<Verdict> {
  // All begin at once, so the bound of each is the bound of all.
  const waits = await Promise.allSettled(
    places.map(async ([stream, token]) => worker.waitFor(stream, token, { timeoutMs, signal })),
  );
  if (signal.aborted) return { kind: 'gone' };
  const missed = places.filter((_place, i) => isMissed(waits[i]!));
  if (missed.length === 0) return goOn;
  const reached = missed.map(([stream]): Place => [stream, positionOf(worker, stream)]);
  if (onTimeout === 'serve') return { kind: 'go-on', stale: formatTokens(reached) };
  // Only what the client may know: why a worker is behind names addresses and may repeat the text of the application's own errors.
  const where = missed
    .map(([stream, token], i) => `stream ${stream} is at ${reached[i]![1]} here and ${token} was asked for`)
    .join(', ');
  return refuse(503, 'WAIT_TIMEOUT', `${where}; a request waits at most ${timeoutMs} ms: try again`, {
    'retry-after': '1',
  });
}

function isMissed(waited: PromiseSettledResult<void>): boolean {
  if (waited.status === 'fulfilled') return false;
  if (!(waited.reason instanceof RowcastError)) throw waited.reason;
  // What this worker serves cannot depend on a stream that it does not follow, so there is nothing to wait for.
  return waited.reason.code !== 'NOT_SUBSCRIBED';
}

/** Where nothing is known, nothing was applied. */
function positionOf(worker: Worker, stream: StreamName): Token {
  return worker.position(stream) ?? 0;
}

/** As the admin port answers: JSON that no browser takes for a page and no cache keeps. */
function refuse(
  status: 400 | 503,
  code: 'INVALID_HEADER' | 'WAIT_TIMEOUT',
  message: string,
  headers: Readonly<Record<string, string>> = {},
): Verdict {
  return {
    kind: 'refuse',
    status,
    headers: {
      'content-type': 'application/json; charset=utf-8',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      ...headers,
    },
    body: `${JSON.stringify({ error: { code, message } })}\n`,
  };
}

/** A stream and a token of it. */
export type Place = readonly [stream: StreamName, token: Token];

/** Names are percent-encoded: they may have a `,` or a `=`. */
export function formatTokens(places: readonly Place[]): string {
  return places.map(([stream, token]) => `${encodeURIComponent(stream)}=${token}`).join(',');
}

/** Reads a `Rowcast-Token`; of a stream that is named twice, as when a header is repeated, the higher token counts. */
export function parseTokens(header: string): ReadonlyMap<StreamName, Token> | Fault {
  if (header.length > MAX_HEADER_LENGTH)
    return fault(header, `it has ${header.length} characters, and ${MAX_HEADER_LENGTH} are allowed`);
  const tokens = new Map<StreamName, Token>();
  for (const part of header.split(',')) {
    const place = parsePlace(part.trim());
    if (typeof place === 'string') return fault(header, place);
    const [stream, token] = place;
    tokens.set(stream, Math.max(token, tokens.get(stream) ?? 0));
    if (tokens.size > MAX_STREAMS) return fault(header, `it names more than ${MAX_STREAMS} streams`);
  }
  return tokens;
}

interface Fault {
  readonly fault: string;
}

function fault(header: string, why: string): Fault {
  return {
    fault: `${TOKEN_HEADER} is a list like caches=123,events=77, its stream names percent-encoded, not '${quote(header)}': ${why}`,
  };
}

/** Or why it is none. */
function parsePlace(text: string): Place | string {
  const [encoded, digits, ...rest] = text.split('=');
  if (encoded === undefined || digits === undefined || rest.length > 0)
    return `'${quote(text)}' is not a stream name, = and a token`;
  const stream = decodeName(encoded);
  if (stream === undefined) return `the percent-encoding of '${quote(encoded)}' is broken`;
  const why = streamNameFault(stream);
  if (why !== undefined) return why;
  const token = parseToken(digits);
  return token === undefined
    ? `a token is an integer from 0 to ${LONGEST_TOKEN}, not '${quote(digits)}'`
    : [stream, token];
}

function decodeName(encoded: string): StreamName | undefined {
  try {
    return decodeURIComponent(encoded);
  } catch {
    return undefined;
  }
}

/** Each once. */
function namesOf(middleware: string, streams: readonly (Stream | StreamName)[]): readonly StreamName[] {
  if (streams.length === 0)
    throw new UsageError('INVALID_OPTION', `streams of ${middleware} names at least one stream`);
  return [...new Set(streams.map(nameOf))];
}
