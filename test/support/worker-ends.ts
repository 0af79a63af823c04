/**
 * The worker's end of a connection without a connection: records the outputs of a session or a
 * follower. Time is an argument.
 */

import type { Millis } from '../../src/base/clock.ts';
import { seededRandom } from '../../src/base/random.ts';
import type { Item } from '../../src/core/follow/delivery.ts';
import { Follower, type FollowerOutput } from '../../src/core/follow/follower.ts';
import type { Subscription } from '../../src/core/follow/subscription.ts';
import type { SubscriptionSpec } from '../../src/core/follow/subscription-spec.ts';
import type { Resume } from '../../src/core/follow/subscription-state.ts';
import type { Batch } from '../../src/core/model/batch.ts';
import { EVERY_NAME, type NamePattern } from '../../src/core/model/pattern.ts';
import { formatHistory, type History, originOf } from '../../src/core/model/history.ts';
import type { Position } from '../../src/core/model/position.ts';
import type { StreamName } from '../../src/core/model/stream.ts';
import type { Token } from '../../src/core/model/token.ts';
import {
  type StreamCommand,
  type StreamLines,
  type WorkerOutput,
  WorkerSession,
} from '../../src/core/sessions/worker-session.ts';
import { defaultWorkerLimits, type WorkerLimits } from '../../src/core/wire/limits.ts';
import { bytesOf, SessionOutputs, T0, takeTurn, wakeUntil } from './session-outputs.ts';

export { bytesOf, T0 } from './session-outputs.ts';

const LOG_ID = '8f3c1d2e4b5a6978';
const MEMORY_ID = '0123456789abcdef';

/** The history of rows that the durable log wrote in the era of this number. */
export function era(number: number, random = 'a1b2c3d4'): History {
  return formatHistory({ logId: LOG_ID, number, random });
}

/** The same for the volatile log. */
export function memoryEra(number: number, logId: string = MEMORY_ID): History {
  return formatHistory({ logId, number, random: '00c0ffee' });
}

/** The present era of the durable log. */
export const ERA: History = era(7);
/** The present era of the volatile log. */
export const MEMORY: History = memoryEra(7);
/** The history of token 0 of a durable stream. */
export const ORIGIN: History = originOf(LOG_ID);

/** The first PING of a Rowcast primary. */
export function rowcast(durable: History = ERA, volatile: History = MEMORY): string {
  return `1 rowcast/2 log=${durable} mem=${volatile}`;
}

export const ROWCAST: string = rowcast();
/** The first PING of any other primary. */
export const SYNAPSE = '1490197665618';

export function at(stream: StreamName, token: Token, history: History = ERA): Position {
  return { stream, token, history };
}

export interface WorkerEndOptions {
  readonly workerName?: string;
  readonly serverName?: string;
  readonly isObserver?: boolean;
  readonly wantsAttributes?: boolean;
  readonly limits?: Partial<WorkerLimits>;
}

/** A session alone. Lines about streams are recorded as text. */
export class WorkerEnd implements StreamLines {
  readonly session: WorkerSession;
  readonly outputs: SessionOutputs<WorkerOutput> = new SessionOutputs<WorkerOutput>();
  /** `events 54 [1]`, `events batch 1`, commands by their name, `end of run`. */
  #taken: string[] = [];
  readonly commands: StreamCommand[] = [];
  now: Millis = T0;

  constructor({
    workerName = 'reader-1',
    serverName,
    isObserver = false,
    wantsAttributes = false,
    limits,
  }: WorkerEndOptions = {}) {
    this.session = new WorkerSession({
      workerName,
      isObserver,
      wantsAttributes,
      limits: { ...defaultWorkerLimits, ...limits },
      lines: this,
      ...(serverName !== undefined && { serverName }),
    });
  }

  /** Opened and greeted by a primary. */
  static greeted(options: WorkerEndOptions = {}, greeting: string = ROWCAST): WorkerEnd {
    const end = new WorkerEnd(options);
    end.open();
    end.hear('SERVER example.com', `PING ${greeting}`);
    end.takeLines();
    return end;
  }

  takeRow(stream: StreamName, token: Token | undefined, row: unknown): void {
    this.#taken.push(`${stream} ${token ?? 'batch'} ${JSON.stringify(row)}`);
  }

  takeCommand(_now: Millis, command: StreamCommand): void {
    this.commands.push(command);
    this.#taken.push(command.name);
  }

  endRun(): void {
    this.#taken.push('end of run');
  }

  /** Lines about streams since the last call. */
  takeLines(): string[] {
    const taken = this.#taken;
    this.#taken = [];
    return taken;
  }

  open(): string[] {
    this.session.handleOpen(this.now);
    return this.drain();
  }

  hear(...lines: readonly string[]): string[] {
    return this.hearBytes(bytesOf(...lines));
  }

  hearBytes(bytes: Uint8Array): string[] {
    this.session.handleBytes(this.now, bytes);
    return this.drain();
  }

  passTime(ms: Millis): string[] {
    wakeUntil(this, this.session, this.now + ms);
    return this.drain();
  }

  drain(): string[] {
    this.poll();
    return this.outputs.takeLines();
  }

  poll(): void {
    do this.#pollOnce();
    while (takeTurn(this.session, this.now));
  }

  #pollOnce(): void {
    do {
      for (let output = this.session.pollOutput(); output !== undefined; output = this.session.pollOutput())
        this.outputs.keep(output);
    } while (this.session.takeLine());
  }
}

export interface FollowerEndOptions extends WorkerEndOptions {
  readonly seed?: number;
}

type Applied = Extract<Item, { kind: 'batch' }>;

/** A follower, and an application that applies rows at once or when the test says so. */
export class FollowerEnd {
  readonly follower: Follower;
  readonly outputs: SessionOutputs<FollowerOutput> = new SessionOutputs<FollowerOutput>();
  now: Millis = T0;
  /** False: transmitted lines wait until the test calls handleDrained. */
  isWriting = true;
  /** False: batches wait until the test calls `apply`. */
  isApplying = true;
  /** Everything that was applied. */
  readonly batches: Batch[] = [];
  readonly #live = new Set<Subscription>();
  readonly #subscriptions = new Map<StreamName, Subscription>();
  #waiting: Subscription[] = [];
  #told: string[] = [];

  constructor({ workerName = 'reader-1', limits, seed = 1, ...options }: FollowerEndOptions = {}) {
    this.follower = new Follower({
      workerName,
      limits: { ...defaultWorkerLimits, ...limits },
      random: seededRandom(seed),
      ...options,
    });
  }

  /** @param from a number is a token without a history */
  subscribe(
    stream: StreamName,
    from: Resume | Token,
    onReset: SubscriptionSpec['onReset'] = 'fail',
    more: Partial<SubscriptionSpec> = {},
  ): string[] {
    const resume = typeof from === 'number' ? { stream, token: from, history: undefined } : from;
    const subscription = this.follower.handleSubscribe(this.now, { stream, from: resume, onReset, ...more });
    this.#subscriptions.set(stream, subscription);
    return this.drain();
  }

  unsubscribe(stream: StreamName): string[] {
    this.follower.handleUnsubscribe(this.now, this.subscription(stream));
    return this.drain();
  }

  subscribeAll(
    from: 'start' | 'now',
    onReset: SubscriptionSpec['onReset'] = 'fail',
    positions: readonly Position[] = [],
  ): string[] {
    return this.subscribeMatching(EVERY_NAME, from, onReset, positions);
  }

  /** @param positions what a checkpoint holds; `anew`: it does not matter */
  subscribeMatching(
    pattern: NamePattern,
    from: 'start' | 'now',
    onReset: SubscriptionSpec['onReset'] = 'fail',
    positions: readonly Position[] | 'anew' = [],
  ): string[] {
    const held = positions === 'anew' ? [] : positions;
    this.follower.handleStored(held);
    this.follower.handlePattern(this.now, {
      pattern,
      from,
      onReset,
      readWithinMs: undefined,
      positions: positions === 'anew' ? undefined : new Map(held.map((position) => [position.stream, position])),
    });
    return this.drain();
  }

  unsubscribeMatching(pattern: NamePattern): string[] {
    this.follower.handlePatternGivenUp(this.now, pattern);
    return this.drain();
  }

  /** The last subscription of the stream, made by name or by following every stream. */
  subscription(stream: StreamName): Subscription {
    return this.#subscriptions.get(stream)!;
  }

  isLive(stream: StreamName): boolean {
    return this.subscription(stream).isLive;
  }

  start(): this {
    this.follower.handleStart(this.now);
    this.drain();
    return this;
  }

  /** The connection opens. */
  open(): string[] {
    this.follower.handleOpen(this.now);
    return this.drain();
  }

  hear(...lines: readonly string[]): string[] {
    return this.hearBytes(bytesOf(...lines));
  }

  hearBytes(bytes: Uint8Array): string[] {
    this.follower.handleBytes(this.now, bytes);
    return this.drain();
  }

  /** Starts and is greeted by a primary. Returns its requests. */
  greetedBy(ping: string): string[] {
    this.start().open();
    return this.hear('SERVER example.com', `PING ${ping}`);
  }

  /**
   * The connection ends, the wait passes, and the next one opens and is greeted. Returns its
   * requests.
   */
  regreetedBy(ping: string): string[] {
    this.reconnect();
    return this.hear('SERVER example.com', `PING ${ping}`);
  }

  /** The connection ends, the wait passes, and the next one opens. */
  reconnect(): this {
    this.close();
    this.wait();
    this.open();
    return this;
  }

  /** The wait before it connects again passes. */
  wait(): void {
    this.passTime(this.disconnected.retryInMs);
  }

  close(error?: Error): void {
    this.follower.handleClosed(this.now, error);
    this.drain();
  }

  stop(): string[] {
    this.follower.handleStop(this.now);
    return this.drain();
  }

  passTime(ms: Millis): string[] {
    wakeUntil(this, this.follower, this.now + ms);
    return this.drain();
  }

  drain(): string[] {
    this.poll();
    return this.outputs.takeLines();
  }

  /** What waits is applied, as many items as there are or as many as are said. */
  apply(most: number = Infinity): string[] {
    let left = most;
    while (left > 0 && this.#waiting.length > 0) {
      const subscription = this.#waiting[0]!;
      if (this.#applyOne(subscription)) left--;
      else this.#waiting.shift();
    }
    return this.drain();
  }

  /** A checkpoint holds now what was applied of the stream. */
  saved(stream: StreamName): void {
    const { delivery } = this.subscription(stream);
    const { applied, lineage } = delivery;
    this.follower.handleSaved(this.now, this.subscription(stream), applied!, lineage);
    this.drain();
  }

  /**
   * Batches, positions and resets since the last call, as short text: `events 54 [1,2] @54`,
   * `events @54 live`.
   */
  takeRows(): string[] {
    const told = this.#told;
    this.#told = [];
    return told;
  }

  /** Where each batch that was applied stands. */
  get positions(): Position[] {
    return this.batches.map(({ position }) => position);
  }

  get events(): string[] {
    return this.outputs.of('event').map(({ event }) => event.kind);
  }

  /** The last disconnected event. */
  get disconnected(): { readonly code: string; readonly text: string; readonly retryInMs: Millis } {
    for (const { event } of this.outputs.of('event').toReversed()) {
      if (event.kind === 'disconnected')
        return { code: event.error.code, text: event.error.message, retryInMs: event.retryInMs };
    }
    throw new Error('it was never disconnected');
  }

  poll(): void {
    do this.#pollOnce();
    while (takeTurn(this.follower, this.now));
  }

  #pollOnce(): void {
    for (
      let output = this.follower.pollOutput(this.now);
      output !== undefined;
      output = this.follower.pollOutput(this.now)
    ) {
      this.outputs.keep(output);
      if (output.kind === 'transmit' && !this.isWriting) this.follower.handleBlocked(this.now, output.bytes.length);
      if (output.kind === 'discovered') this.#subscriptions.set(output.subscription.stream, output.subscription);
      if (output.kind === 'ready' || output.kind === 'discovered') this.#handleReady(output.subscription);
    }
  }

  #handleReady(subscription: Subscription): void {
    if (!subscription.isLive) this.#live.delete(subscription);
    if (!this.isApplying) {
      this.#waiting.push(subscription);
      return;
    }
    while (this.#applyOne(subscription));
  }

  #applyOne(subscription: Subscription): boolean {
    const { delivery, stream } = subscription;
    const item = delivery.take();
    if (item === undefined) return false;
    subscription.finish(item, true);
    if (item.kind === 'batch') this.batches.push(item.batch);
    this.follower.handleApplied(this.now, subscription, item.cost);
    const becameLive = subscription.isLive && !this.#live.has(subscription);
    if (becameLive) this.#live.add(subscription);
    this.#told.push(`${describeItem(stream, item)}${becameLive ? ' live' : ''}`);
    return true;
  }
}

/** `events 54 [1,2] @54`, `events @54`, `events reset`; `@` is the subscription's token then. */
function describeItem(stream: StreamName, item: Item): string {
  switch (item.kind) {
    case 'batch':
      return describeBatch(stream, item);
    case 'position':
      return `${stream} @${item.position.token}`;
    case 'failed':
      return `${stream} failed ${item.error.code}`;
    case 'trimmed':
      return `${stream} trimmed ${item.earliest}`;
    case 'reset':
      return `${stream} reset`;
    case 'deleted':
      return `${stream} ${item.isVoid ? 'deleted' : 'forgotten'}`;
  }
}

function describeBatch(stream: StreamName, { batch, position }: Applied): string {
  const place = position === undefined ? '' : ` @${position.token}`;
  return `${stream} ${batch.token} ${JSON.stringify(batch.rows)}${place}`;
}
