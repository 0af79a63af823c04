/**
 * What a worker follows, and from where each stream is asked for on the next connection: positions, and what becomes of
 * them after a gap or a reset. Knows no connection; the follower tells it what came.
 */

import { assertNever } from '../../base/assert.ts';
import type { Millis } from '../../base/clock.ts';
import { PeerError } from '../model/errors.ts';
import type { StreamName } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import { type Greeting, logIdOf } from '../wire/greeting.ts';
import type { RowsOutput } from '../sessions/incoming.ts';
import { parseRefusal, tooFarBehind } from '../wire/refusals.ts';

/** Where a subscriber stands: a token, and the history that it is of as far as the primary told. */
export interface Position {
  readonly token: Token;
  readonly logId?: string;
}

export interface SubscriptionSpec {
  readonly stream: StreamName;
  readonly from: Position | 'start' | 'now';
  /**
   * After a gap or a reset: end the subscription with the error, go on with the earliest row kept, or go on with new rows.
   * `by-durability`: earliest for a stream that the primary calls volatile, fail for any other.
   */
  readonly onReset: 'fail' | 'earliest' | 'now' | 'by-durability';
  /** The longest that a live subscription may go unread because handlers are slow; endless where it is left out. */
  readonly readWithinMs?: Millis | undefined;
}

/** What is known of every stream that is not followed by name. */
export interface AllSpec extends Omit<SubscriptionSpec, 'stream'> {
  /** Streams followed before, by a checkpoint. */
  readonly positions?: ReadonlyMap<StreamName, Position>;
}

/** Outputs of the follower that are about one subscription. */
export type InterestOutput =
  | (Omit<Extract<RowsOutput, { kind: 'batch' }>, 'position'> & { readonly position: Position | undefined })
  | { readonly kind: 'position'; readonly stream: StreamName; readonly position: Position; readonly isLive: boolean }
  | {
      readonly kind: 'reset';
      readonly stream: StreamName;
      readonly position: Position | undefined;
      readonly error: PeerError;
    }
  | { readonly kind: 'failed'; readonly stream: StreamName; readonly error: PeerError };

interface Interest {
  readonly stream: StreamName;
  readonly onReset: SubscriptionSpec['onReset'];
  readonly readWithinMs: Millis;
  /** From where to ask. */
  next: Position | 'start' | 'now';
  /** Where the start is, as far as a primary has told: nothing was received, so nothing is missed when it moves. */
  startAt: Position | undefined;
  isLive: boolean;
  /**
   * On this connection. Beside ALL a stream is asked for by its own line only after ALL has said where it stands: the
   * other way round that POSITION would be taken for the end of the stream's own catch-up, and a cut would lose rows.
   */
  asked: 'not-yet' | 'after-all' | 'due' | 'asked';
}

export class Interests {
  readonly #interests = new Map<StreamName, Interest>();
  /** Streams asked for on this connection, also those that are not wanted any more. */
  readonly #asked = new Set<StreamName>();
  /** Subscriptions that failed or were given up: following all does not bring them back. */
  readonly #ended = new Set<StreamName>();
  #all: AllSpec | undefined;
  #isAllAsked = false;
  #isAnySeen = false;
  #greeting: Greeting | undefined;

  add({ stream, from, onReset, readWithinMs = Infinity }: SubscriptionSpec): void {
    this.#ended.delete(stream);
    this.#interests.set(stream, {
      stream,
      onReset,
      readWithinMs,
      next: from,
      startAt: undefined,
      isLive: false,
      asked: 'not-yet',
    });
  }

  addAll(spec: AllSpec): void {
    this.#all = spec;
    for (const [stream, from] of spec.positions ?? []) this.add({ ...spec, stream, from });
  }

  remove(stream: StreamName): void {
    this.#interests.delete(stream);
    this.#ended.add(stream);
  }

  wasAsked(stream: StreamName): boolean {
    return this.#asked.has(stream);
  }

  isLive(stream: StreamName): boolean {
    return this.#interests.get(stream)?.isLive ?? false;
  }

  get isAllLive(): boolean {
    if (this.#all !== undefined && this.#greeting?.streams === undefined && !this.#isAnySeen) return false;
    for (const { isLive } of this.#interests.values()) if (!isLive) return false;
    return true;
  }

  /** The live stream that may go unread for the shortest time, and that time. */
  get mostUrgent(): { readonly stream: StreamName; readonly readWithinMs: Millis } | undefined {
    let urgent: Interest | undefined;
    for (const interest of this.#interests.values()) {
      if (interest.isLive && interest.readWithinMs < (urgent?.readWithinMs ?? Infinity)) urgent = interest;
    }
    return urgent;
  }

  /**
   * The primary said who it is: positions of another history are resets, streams that it lacks are failures.
   * `isReconnectNeeded`: it said so late, and what was asked before was asked of another history, or not by name.
   */
  handleGreeted(greeting: Greeting | undefined): { results: InterestOutput[]; isReconnectNeeded: boolean } {
    this.#greeting = greeting;
    if (greeting === undefined) return { results: [], isReconnectNeeded: false };
    const results: InterestOutput[] = [];
    let isReconnectNeeded = this.#isAllAsked;
    for (const interest of this.#interests.values()) {
      const { stream, startAt } = interest;
      const ended = this.#checkHistory(interest, greeting);
      results.push(...ended);
      if (this.#asked.has(stream) && (ended.length > 0 || interest.startAt !== startAt)) isReconnectNeeded = true;
    }
    if (this.#all !== undefined) {
      for (const stream of greeting.streams ?? []) {
        if (!this.#interests.has(stream) && !this.#ended.has(stream)) this.add({ ...this.#all, stream });
      }
    }
    return { results, isReconnectNeeded };
  }

  /** A subscription that was added after the greeting: what the greeting says about it. */
  checkAdded(stream: StreamName): InterestOutput[] {
    const interest = this.#interests.get(stream);
    return interest === undefined || this.#greeting === undefined ? [] : this.#checkHistory(interest, this.#greeting);
  }

  /** What to ask for now, each once per connection; `ALL` is every stream. */
  takeRequests(): { stream: StreamName; from: Token | 'NOW' }[] {
    const requests: { stream: StreamName; from: Token | 'NOW' }[] = [];
    const allFrom = this.#all === undefined ? undefined : requestOf(this.#all.from);
    if (allFrom !== undefined && this.#greeting?.streams === undefined && !this.#isAllAsked) {
      this.#isAllAsked = true;
      requests.push({ stream: 'ALL', from: allFrom });
    }
    for (const interest of this.#interests.values()) {
      const { stream, next, startAt, asked } = interest;
      if (asked === 'asked' || asked === 'after-all') continue;
      const from = requestOf(next === 'start' ? (startAt ?? next) : next);
      const isByAll = this.#isAllAsked && asked === 'not-yet';
      interest.asked = isByAll && from !== allFrom ? 'after-all' : 'asked';
      this.#asked.add(stream);
      if (!isByAll) requests.push({ stream, from });
    }
    return requests;
  }

  /** The connection is gone: nothing is live, everything is asked for again. */
  handleClosed(): void {
    this.#asked.clear();
    this.#isAllAsked = false;
    this.#isAnySeen = false;
    this.#greeting = undefined;
    for (const interest of this.#interests.values()) {
      interest.isLive = false;
      interest.asked = 'not-yet';
    }
  }

  /** `result` undefined: nobody follows the stream, or it is of another request than the one that counts. */
  handleRows(output: RowsOutput): { result: InterestOutput | undefined; next?: 'ask' | 'reconnect' } {
    if (output.kind === 'position') this.#isAnySeen = true;
    if (this.#isAllAsked) this.#asked.add(output.stream);
    const interest = this.#find(output.stream);
    if (interest?.asked === 'after-all' && output.kind === 'position') {
      interest.asked = 'due';
      return { result: undefined, next: 'ask' };
    }
    if (interest?.asked !== 'asked') return { result: undefined };
    switch (output.kind) {
      case 'batch': {
        const position = output.position === undefined ? undefined : this.#position(output.stream, output.position);
        if (position !== undefined) interest.next = position;
        const { kind, stream, token, rows, bytes } = output;
        return { result: { kind, stream, token, rows, bytes, position } };
      }
      case 'position': {
        const position = this.#position(output.stream, output.token);
        interest.next = position;
        interest.isLive = true;
        return { result: { kind: 'position', stream: output.stream, position, isLive: output.isLive } };
      }
      case 'reset': {
        if (interest.next === 'start') {
          interest.startAt = undefined;
          return { result: undefined };
        }
        const error = new PeerError(
          'RESET',
          `stream ${output.stream} started afresh: the primary's history does not reach our position ${describe(interest.next)}`,
        );
        const result = this.#reset(interest, error, this.#position(output.stream, output.token));
        if (interest.onReset !== 'now') return { result };
        interest.asked = 'not-yet';
        return { result, next: 'reconnect' };
      }
      default:
        return assertNever(output);
    }
  }

  /** ERROR: a subscription may have been refused. */
  handlePeerError(text: string): InterestOutput[] {
    const refusal = parseRefusal(text);
    const interest = this.#interests.get(refusal?.stream ?? '');
    if (refusal === undefined || interest === undefined) return [];
    switch (refusal.kind) {
      case 'unknown-stream':
        return [this.#failUnknown(interest)];
      case 'too-far-behind':
        return [this.#handleFarBehind(interest)];
      case 'gap':
        return this.#handleGap(interest, refusal.earliest);
      default:
        return assertNever(refusal);
    }
  }

  #handleGap(interest: Interest, earliest: Token): InterestOutput[] {
    const position = this.#position(interest.stream, Math.max(earliest - 1, 0));
    if (interest.next === 'start') {
      // Whoever wants everything that is kept has missed nothing, however often the start moves before the first row came.
      interest.startAt = position;
      return [];
    }
    const asked = describe(interest.next);
    return [
      this.#reset(
        interest,
        new PeerError(
          'GAP',
          `rows of stream ${interest.stream} after ${asked} are no longer kept: it starts at ${earliest}`,
        ),
        position,
      ),
    ];
  }

  /** Nothing earlier than now can be asked for, so a subscription that does not go on with new rows ends: asked again, it would fail for ever. */
  #handleFarBehind(interest: Interest): InterestOutput {
    const error = tooFarBehind(interest.stream);
    if (interest.onReset === 'now') return this.#reset(interest, error, undefined);
    this.remove(interest.stream);
    return { kind: 'failed', stream: interest.stream, error };
  }

  #checkHistory(interest: Interest, greeting: Greeting): InterestOutput[] {
    const { stream, next } = interest;
    if (greeting.streams !== undefined && !greeting.streams.has(stream)) return [this.#failUnknown(interest)];
    const logId = logIdOf(greeting, stream);
    if (interest.startAt?.logId !== logId) interest.startAt = undefined;
    if (typeof next === 'string' || next.logId === undefined || logId === undefined || next.logId === logId) return [];
    const error = new PeerError(
      'RESET',
      `stream ${stream} has another history: its log id is ${logId}, position ${next.token} is of ${next.logId}`,
    );
    return [this.#reset(interest, error, undefined)];
  }

  /** @param earliest where to go on for `earliest`; undefined: ask for all that is kept */
  #reset(interest: Interest, error: PeerError, earliest: Position | undefined): InterestOutput {
    const { stream } = interest;
    const isVolatile = this.#greeting?.volatileStreams?.has(stream) ?? false;
    const onReset = interest.onReset !== 'by-durability' ? interest.onReset : isVolatile ? 'earliest' : 'fail';
    switch (onReset) {
      case 'fail':
        this.remove(stream);
        return { kind: 'failed', stream, error };
      case 'earliest':
        interest.next = earliest ?? 'start';
        interest.startAt = undefined;
        return { kind: 'reset', stream, position: earliest, error };
      case 'now':
        interest.next = 'now';
        return { kind: 'reset', stream, position: undefined, error };
      default:
        return assertNever(onReset);
    }
  }

  #failUnknown({ stream }: Interest): InterestOutput {
    this.remove(stream);
    return {
      kind: 'failed',
      stream,
      error: new PeerError(
        'UNKNOWN_STREAM',
        `the primary has no stream ${stream}: declare it there, or check the name`,
      ),
    };
  }

  #find(stream: StreamName): Interest | undefined {
    const interest = this.#interests.get(stream);
    if (interest !== undefined || this.#all === undefined || !this.#isAllAsked || this.#ended.has(stream))
      return interest;
    this.add({ ...this.#all, stream });
    const added = this.#interests.get(stream)!;
    added.asked = 'asked';
    return added;
  }

  #position(stream: StreamName, token: Token): Position {
    const logId = this.#greeting === undefined ? undefined : logIdOf(this.#greeting, stream);
    return logId === undefined ? { token } : { token, logId };
  }
}

function requestOf(next: Position | 'start' | 'now'): Token | 'NOW' {
  if (next === 'now') return 'NOW';
  return next === 'start' ? 0 : next.token;
}

function describe(next: Position | 'start' | 'now'): string {
  return typeof next === 'string' ? next : String(next.token);
}
