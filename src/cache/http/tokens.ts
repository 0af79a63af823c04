/**
 * Read your writes over HTTP: the headers `Rowcast-Token` and `Rowcast-Stale`, and the decision on
 * a request that carries a token. Knows no framework and no socket: express.ts, fastify.ts and
 * hono.ts carry out the decision.
 */

import type { Millis } from '../../base/clock.ts';
import { type ErrorCode, RowcastError, UsageError } from '../../core/model/errors.ts';
import { ERA_RANDOM_DIGITS, formatHistory, LOG_ID_DIGITS } from '../../core/model/history.ts';
import { formatPosition, formatPositions, parsePositions, type Position } from '../../core/model/position.ts';
import { msFromZero, oneOf, required } from '../../core/model/option-kinds.ts';
import { checkArgument, checkOptions, type OptionTable } from '../../core/model/options.ts';
import { nameOf, type Stream, streamsKind, type StreamName, streamName } from '../../core/model/stream.ts';
import type { Token } from '../../core/model/token.ts';
import { primaryKind } from '../../primary/options.ts';
import type { Primary } from '../../primary/primary.ts';
import { workerKind } from '../../worker/options.ts';
import type { ObserverWorker } from '../../worker/worker.ts';

/**
 * In a response: how far the primary was when it answered. In a request: how far a worker must be
 * to answer. Its value is a list of positions, such as
 * `caches=123@8f3c1d2e4b5a6978.1764281400.a1b2c3d4,events=77@` (core/model/position.ts).
 */
export const TOKEN_HEADER = 'Rowcast-Token';
/** The streams on which a worker is not far enough, as positions where it stands. */
export const STALE_HEADER = 'Rowcast-Stale';

/** In characters. Well below the limit of servers and proxies for one header. */
export const MAX_HEADER_LENGTH = 4_096;
/** A request waits for each stream, so this bounds the waits that one client begins at once. */
export const MAX_STREAMS = 64;

const LONGEST_TOKEN: Token = Number.MAX_SAFE_INTEGER;

/** Options of `sendTokens`. */
export interface SendTokensOptions {
  /** The streams that tell workers about this app's writes. At least one. */
  readonly streams: readonly (Stream | StreamName)[];
}

const sendTable: OptionTable<SendTokensOptions> = { streams: required(streamsKind) };

/** Returns the value of `Rowcast-Token` now; undefined when the primary cannot tell. */
export type CurrentTokens = () => string | undefined;

/**
 * Prepares the header of `sendTokens`.
 * @throws UsageError INVALID_OPTION, NO_SUCH_STREAM, CLOSED
 */
export function currentTokens(primary: Primary, options: SendTokensOptions): CurrentTokens {
  checkArgument('sendTokens', 'primary', primary, primaryKind);
  const names = namesOf(checkOptions('sendTokens', options, sendTable).streams);
  // Checked here, so that a misspelt stream fails at the start and not with the first answer.
  for (const name of names) primary.position(name);
  const longest = formatPositions(names.map(longestPosition));
  if (names.length > MAX_STREAMS || longest.length > MAX_HEADER_LENGTH) {
    throw new UsageError(
      'INVALID_OPTION',
      `streams of sendTokens fit in a header of ${MAX_HEADER_LENGTH} characters and are at most ${MAX_STREAMS}; these are ${names.length} and may need ${longest.length}`,
    );
  }
  return () => {
    try {
      return formatPositions(names.map((name) => primary.position(name)));
    } catch (error) {
      // A closed primary takes no more writes. Answers still under way go out without a token.
      if (error instanceof RowcastError) return undefined;
      throw error;
    }
  };
}

/** Each with a history of its own, so that a list of positions has its greatest length. */
function longestPosition(stream: StreamName, index: number): Position {
  const random = String(index).padStart(ERA_RANDOM_DIGITS, '0');
  const history = formatHistory({ logId: 'f'.repeat(LOG_ID_DIGITS), number: LONGEST_TOKEN, random });
  return { stream, token: LONGEST_TOKEN, history };
}

/** Options of `awaitTokens`. */
export interface AwaitTokensOptions {
  /** The longest wait of a request for all its streams together, in ms. Default 1,000. */
  readonly timeoutMs?: Millis;
  /**
   * What to do when a position was not reached in time or cannot be reached: answer 503, or serve
   * the current state and say so in `Rowcast-Stale`. Default `refuse`.
   */
  readonly onTimeout?: 'refuse' | 'serve';
  /**
   * Wait for these streams only, whatever else the header names. At least one. Default: every
   * stream that the worker follows.
   */
  readonly streams?: readonly (Stream | StreamName)[];
}

const awaitTable: OptionTable<AwaitTokensOptions> = {
  timeoutMs: msFromZero,
  onTimeout: oneOf('refuse', 'serve'),
  streams: streamsKind,
};

export const defaultAwaitTokensOptions: Required<Omit<AwaitTokensOptions, 'streams'>> = Object.freeze({
  timeoutMs: 1_000,
  onTimeout: 'refuse',
});

/** The decision on a request. */
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

/**
 * Returns a promise only when the request must wait. Only then it asks for the signal, which aborts
 * when the client goes away.
 */
export type Judge = (header: string | undefined, signal: () => AbortSignal) => Verdict | Promise<Verdict>;

const goOn: Verdict = Object.freeze({ kind: 'go-on' });

/**
 * Prepares the decisions of `awaitTokens`.
 * @throws UsageError INVALID_OPTION, INVALID_STREAM_NAME
 */
export function judgeRequests(worker: ObserverWorker, options?: AwaitTokensOptions): Judge {
  checkArgument('awaitTokens', 'worker', worker, workerKind);
  const {
    timeoutMs = defaultAwaitTokensOptions.timeoutMs,
    onTimeout = defaultAwaitTokensOptions.onTimeout,
    streams,
  } = checkOptions('awaitTokens', options, awaitTable);
  const only = streams === undefined ? undefined : new Set(namesOf(streams).map(streamName));
  return (header, signal) => {
    if (header === undefined) return goOn;
    let asked: readonly Position[];
    try {
      asked = parseTokens(header);
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      return refuse(400, 'INVALID_HEADER', error.message);
    }
    if (only !== undefined) asked = asked.filter(({ stream }) => only.has(stream));
    const missed: Missed[] = [];
    for (const position of asked) {
      const why = judgeNow(worker, position);
      if (why !== undefined) missed.push({ position, why });
    }
    if (missed.length === 0) return goOn;
    // No wait helps a position that cannot be reached, so do not wait for the others either.
    if (missed.some(({ why }) => isHopeless(why))) return answerMissed(worker, missed, { timeoutMs, onTimeout });
    return wait(worker, missed, { timeoutMs, onTimeout, signal: signal() });
  };
}

/** A requested position, and why this worker has not reached it. */
interface Missed {
  readonly position: Position;
  readonly why: Why;
}

type Why = 'WAIT_TIMEOUT' | HopelessWhy;
type HopelessWhy = 'OTHER_LOG' | 'INVALID_POSITION';

function isHopeless(why: Why): why is HopelessWhy {
  return why !== 'WAIT_TIMEOUT';
}

/** Undefined when the position is reached or there is nothing to wait for. */
function judgeNow(worker: ObserverWorker, position: Position): Why | undefined {
  // Nothing was written up to token 0, in any history.
  if (position.token === 0) return undefined;
  try {
    return worker.hasReached(position) ? undefined : 'WAIT_TIMEOUT';
  } catch (thrown) {
    return whyMissed(thrown);
  }
}

/** @throws errors that are not Rowcast's own */
function whyMissed(thrown: unknown): Why | undefined {
  if (!(thrown instanceof RowcastError)) throw thrown;
  switch (thrown.code) {
    case 'NOT_SUBSCRIBED':
      // This worker's answers cannot depend on a stream that it does not follow, so there is
      // nothing to wait for.
      return undefined;
    case 'OTHER_LOG':
    case 'INVALID_POSITION':
      return thrown.code;
    default:
      return 'WAIT_TIMEOUT';
  }
}

type AnswerOptions = Required<Omit<AwaitTokensOptions, 'streams'>>;

async function wait(
  worker: ObserverWorker,
  behind: readonly Missed[],
  { signal, ...options }: AnswerOptions & { readonly signal: AbortSignal },
): Promise<Verdict> {
  // All waits begin at once, so the limit of each is the limit of all.
  const { timeoutMs } = options;
  const waits = await Promise.allSettled(
    behind.map(async ({ position }) => worker.waitFor(position, { timeoutMs, signal })),
  );
  if (signal.aborted) return { kind: 'gone' };
  const missed: Missed[] = [];
  for (const [i, waited] of waits.entries()) {
    const why = waited.status === 'fulfilled' ? undefined : whyMissed(waited.reason);
    if (why !== undefined) missed.push({ position: behind[i]!.position, why });
  }
  return missed.length === 0 ? goOn : answerMissed(worker, missed, options);
}

function answerMissed(
  worker: ObserverWorker,
  missed: readonly Missed[],
  { timeoutMs, onTimeout }: AnswerOptions,
): Verdict {
  if (onTimeout === 'serve') {
    const streams = new Set(missed.map(({ position }) => position.stream));
    return { kind: 'go-on', stale: formatPositions(Array.from(streams, (stream) => positionOf(worker, stream))) };
  }
  // The client may not see more: the reason why a worker is behind names addresses, and may repeat
  // the text of the application's errors.
  const hopeless = missed.find(({ why }) => isHopeless(why));
  if (hopeless === undefined) {
    const where = missed.map(({ position }) => `${formatPosition(position)} (here: ${hereOf(worker, position)})`);
    return refuse(503, 'WAIT_TIMEOUT', `not reached within ${timeoutMs} ms: ${where.join(', ')}; try again`);
  }
  const asked = formatPosition(hopeless.position);
  return hopeless.why === 'OTHER_LOG'
    ? refuse(
        503,
        'OTHER_LOG',
        `${asked} is of another log than this worker follows (here: ${hereOf(worker, hopeless.position)}): forget it`,
      )
    : refuse(503, 'INVALID_POSITION', `${asked} has no history: send ${TOKEN_HEADER} as the primary gave it`);
}

function hereOf(worker: ObserverWorker, { stream }: Position): string {
  return formatPosition(positionOf(worker, stream));
}

/** Without a known position nothing was applied: token 0. */
function positionOf(worker: ObserverWorker, stream: StreamName): Position {
  return worker.position(stream) ?? { stream, token: 0, history: undefined };
}

/** As on the admin port: JSON that no browser takes for a page and no cache keeps. */
function refuse(status: 400 | 503, code: ErrorCode, message: string): Verdict {
  return {
    kind: 'refuse',
    status,
    headers: {
      'content-type': 'application/json; charset=utf-8',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      ...(status === 503 && { 'retry-after': '1' }),
    },
    body: `${JSON.stringify({ error: { code, message } })}\n`,
  };
}

/**
 * Reads a `Rowcast-Token`. A stream may be named twice, as when a header is repeated; then both
 * positions must be reached. A client that wrote twice wants to read both writes, and nothing here
 * tells which of two histories is later. Within one history the higher token covers both.
 * @throws UsageError INVALID_POSITION
 */
export function parseTokens(header: string): readonly Position[] {
  if (header.length > MAX_HEADER_LENGTH)
    throw fault(`it has ${header.length} characters, and ${MAX_HEADER_LENGTH} are allowed`);
  const positions = new Map<string, Position>();
  try {
    for (const position of parsePositions(header)) {
      const key = `${position.stream} ${position.history}`;
      const before = positions.get(key);
      if (before === undefined || before.token < position.token) positions.set(key, position);
    }
  } catch (cause) {
    throw cause instanceof UsageError ? fault(cause.message, cause) : cause;
  }
  if (positions.size > MAX_STREAMS) throw fault(`it names more than ${MAX_STREAMS} positions`);
  return [...positions.values()];
}

function fault(why: string, cause?: UsageError): UsageError {
  return new UsageError('INVALID_POSITION', `${TOKEN_HEADER} cannot be read: ${why}`, { cause });
}

/** The stream names without duplicates. */
function namesOf(streams: readonly (Stream | StreamName)[]): readonly StreamName[] {
  return [...new Set(streams.map(nameOf))];
}
