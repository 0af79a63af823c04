/**
 * What a worker makes of RDATA and POSITION on one connection: rows collected into batches, positions, resets.
 *
 * A primary that speaks Rowcast promises rising tokens and `batch` also in catch-up; toward any other one the lenient
 * rules hold (docs/protocol.md, "A connection's life"). What is unfinished when the connection ends is dropped with it.
 */

import { PeerError } from '../model/errors.ts';
import type { StreamName } from '../model/stream.ts';
import type { Token } from '../model/token.ts';

export type RowsOutput =
  | {
      readonly kind: 'batch';
      readonly stream: StreamName;
      readonly token: Token;
      readonly rows: readonly unknown[];
      /** About what the rows took on the wire. */
      readonly bytes: number;
      /** Where the worker stands once these rows are applied; undefined where the batch does not tell. */
      readonly position: Token | undefined;
    }
  /** The position moved without rows. `isLive`: with this, for the first time, nothing older is left to come. */
  | { readonly kind: 'position'; readonly stream: StreamName; readonly token: Token; readonly isLive: boolean }
  /** The history under the worker's position is gone: what follows starts after `token`. */
  | { readonly kind: 'reset'; readonly stream: StreamName; readonly token: Token };

/** Where they go: read in the same order. */
export interface RowsOutputs {
  push(output: RowsOutput): unknown;
}

export interface Incoming {
  subscribe(stream: StreamName, from: Token | 'NOW'): void;
  /** @throws PeerError BATCH_TOO_LARGE, TOKEN_FELL */
  takeRow(stream: StreamName, token: Token | undefined, row: unknown, lineBytes: number): void;
  takePosition(stream: StreamName, token: Token): void;
  /** A line came that is neither a row nor a POSITION. */
  endRun(): void;
}

/** The rows of one stream on their way to a whole batch. */
interface Collecting {
  readonly stream: StreamName;
  rows: unknown[];
  bytes: number;
}

function collect(batch: Collecting, row: unknown, lineBytes: number, maxBatchBytes: number): void {
  // Most batches are one row: no room is made for more.
  if (batch.rows.length === 0) batch.rows = [row];
  else batch.rows.push(row);
  batch.bytes += lineBytes;
  if (batch.bytes > maxBatchBytes)
    throw new PeerError('BATCH_TOO_LARGE', `a batch of stream ${batch.stream} is over ${maxBatchBytes} bytes`);
}

function takeCollected(batch: Collecting): { rows: unknown[]; bytes: number } {
  const { rows, bytes } = batch;
  batch.rows = [];
  batch.bytes = 0;
  return { rows, bytes };
}

interface StrictSubscription extends Collecting {
  position: Token | undefined;
  /** The last token that came on this connection: what follows is higher. */
  lastToken: Token | undefined;
  isLive: boolean;
}

export class StrictIncoming implements Incoming {
  readonly #maxBatchBytes: number;
  readonly #outputs: RowsOutputs;
  readonly #subscriptions = new Map<StreamName, StrictSubscription>();

  constructor(maxBatchBytes: number, outputs: RowsOutputs) {
    this.#maxBatchBytes = maxBatchBytes;
    this.#outputs = outputs;
  }

  subscribe(stream: StreamName, from: Token | 'NOW'): void {
    const position = from === 'NOW' ? undefined : from;
    this.#subscriptions.set(stream, { stream, position, lastToken: undefined, isLive: false, rows: [], bytes: 0 });
  }

  takeRow(stream: StreamName, token: Token | undefined, row: unknown, lineBytes: number): void {
    const subscription = this.#subscriptions.get(stream);
    if (subscription === undefined) return;
    collect(subscription, row, lineBytes, this.#maxBatchBytes);
    if (token === undefined) return;
    const { lastToken, position } = subscription;
    if (lastToken !== undefined && token < lastToken) {
      throw new PeerError(
        'TOKEN_FELL',
        `stream ${stream} went from token ${lastToken} to ${token}, expected a higher one`,
      );
    }
    const { rows, bytes } = takeCollected(subscription);
    subscription.lastToken = token;
    if (position !== undefined && token <= position) return;
    subscription.position = token;
    this.#outputs.push({ kind: 'batch', stream, token, rows, bytes, position: token });
  }

  takePosition(stream: StreamName, token: Token): void {
    const subscription = this.#subscriptions.get(stream);
    if (subscription === undefined) return;
    const { position, isLive } = subscription;
    subscription.position = token;
    if (position !== undefined && token < position) {
      // The primary rewound us: its own history ends before our position. What is unfinished belongs to the old one.
      takeCollected(subscription);
      subscription.lastToken = undefined;
      this.#outputs.push({ kind: 'reset', stream, token });
      return;
    }
    subscription.isLive = true;
    this.#outputs.push({ kind: 'position', stream, token, isLive: !isLive });
  }

  /** Every batch has told its position already. */
  endRun(): void {}
}

interface LenientSubscription extends Collecting {
  /** Known to be complete: nothing at or below it will come that we still need. */
  position: Token | undefined;
  isLive: boolean;
  /** The highest token of the run that is coming in. */
  highest: Token | undefined;
}

/**
 * A real Synapse gives the rows of one stream that came up together in one run of lines, and in any order: `backfill 67, 66, … 53, 46, 47, …`.
 * The next run has higher tokens only. So a live position may move once a line comes that is not of the run, and not before: a cut
 * within it, even between two lines, would lose the rows that had yet to come. A PING is such a line, so it moves within 10 s.
 */
export class LenientIncoming implements Incoming {
  readonly #maxBatchBytes: number;
  readonly #outputs: RowsOutputs;
  readonly #subscriptions = new Map<StreamName, LenientSubscription>();
  /** The live subscription whose rows are coming in. */
  #run: LenientSubscription | undefined;
  #isAll = false;

  constructor(maxBatchBytes: number, outputs: RowsOutputs) {
    this.#maxBatchBytes = maxBatchBytes;
    this.#outputs = outputs;
  }

  subscribe(stream: StreamName, from: Token | 'NOW'): void {
    // Rows of a request before this one say nothing about where this one stands.
    if (this.#run?.stream === stream) this.#run = undefined;
    this.#add(stream, from === 'NOW' ? undefined : from);
  }

  /** Takes every stream that comes, asked for by name or not. */
  subscribeAll(): void {
    this.#isAll = true;
  }

  takeRow(stream: StreamName, token: Token | undefined, row: unknown, lineBytes: number): void {
    if (this.#run?.stream !== stream) this.endRun();
    const subscription = this.#find(stream);
    if (subscription === undefined) return;
    collect(subscription, row, lineBytes, this.#maxBatchBytes);
    if (token === undefined) return;
    const { rows, bytes } = takeCollected(subscription);
    if (subscription.isLive) {
      this.#run = subscription;
      subscription.highest = Math.max(token, subscription.highest ?? 0);
    } else if (!this.#isAll && subscription.position !== undefined && token <= subscription.position) {
      // We asked for rows after our position and got an older one: the stream started afresh. Beside ALL it may be a live one.
      subscription.position = undefined;
      this.#outputs.push({ kind: 'reset', stream, token: 0 });
    }
    this.#outputs.push({ kind: 'batch', stream, token, rows, bytes, position: undefined });
  }

  takePosition(stream: StreamName, token: Token): void {
    if (this.#run?.stream !== stream) this.endRun();
    const subscription = this.#find(stream);
    if (subscription === undefined) return;
    const { position, isLive } = subscription;
    subscription.position = token;
    subscription.isLive = true;
    // It says where the stream stands, whatever the run before it came to.
    subscription.highest = undefined;
    if (position !== undefined && token < position) {
      // What is unfinished belongs to the history that ended.
      takeCollected(subscription);
      this.#outputs.push({ kind: 'reset', stream, token });
    }
    this.#outputs.push({ kind: 'position', stream, token, isLive: !isLive });
  }

  endRun(): void {
    const run = this.#run;
    if (run === undefined) return;
    this.#run = undefined;
    const { stream, highest, position } = run;
    run.highest = undefined;
    if (highest === undefined || (position !== undefined && highest <= position)) return;
    run.position = highest;
    this.#outputs.push({ kind: 'position', stream, token: highest, isLive: false });
  }

  #find(stream: StreamName): LenientSubscription | undefined {
    return this.#subscriptions.get(stream) ?? (this.#isAll ? this.#add(stream, undefined) : undefined);
  }

  #add(stream: StreamName, position: Token | undefined): LenientSubscription {
    const subscription: LenientSubscription = {
      stream,
      position,
      isLive: false,
      highest: undefined,
      rows: [],
      bytes: 0,
    };
    this.#subscriptions.set(stream, subscription);
    return subscription;
  }
}
