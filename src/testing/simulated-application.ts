/**
 * The application in one process of a worker. It follows streams by name and by patterns. Its
 * handlers take time and sometimes throw, as its listeners do. It drops streams and follows them
 * again, starts over after a failure, and waits for its own writes.
 */

import type { Millis } from '../base/clock.ts';
import { type Random, randomInteger } from '../base/random.ts';
import type { Batch } from '../core/model/batch.ts';
import { RowcastError } from '../core/model/errors.ts';
import type { NamePattern } from '../core/model/pattern.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Primary } from '../primary/primary.ts';
import type { SubscribeOptions } from '../worker/options.ts';
import type { Subscription } from '../worker/subscription.ts';
import type { Worker } from '../worker/worker.ts';
import type { Begin, Happening, Reader } from './happening.ts';
import type { HistoryNode } from './history-tree.ts';
import type { Known } from './known.ts';
import { PlannedError } from './outcry.ts';
import {
  type AppendedAt,
  isAtEnd,
  isDeletion,
  resumeAfter,
  subscribeMatching,
  tokenOf,
  waitFor,
} from './public-api.ts';
import type { ReaderCheckers } from './reader-checkers.ts';
import { type PatternPlan, planOf, planOfPattern, type ReadingPlan, type StreamPlan } from './reading-plan.ts';
import type { RowMeter } from './row-meter.ts';
import type { WorldRow } from './world-rows.ts';
import type { WorldShape } from './world-shape.ts';
import type { ProcessClock } from './virtual-clock.ts';

export interface SimulatedApplicationOptions {
  readonly worker: Worker;
  readonly workerName: string;
  readonly plan: ReadingPlan;
  readonly shape: WorldShape;
  readonly clock: ProcessClock;
  readonly random: Random;
  readonly meter: RowMeter;
  readonly truth: ReaderCheckers;
  readonly isStopping: () => boolean;
  /** Handlers are slow until this time. */
  readonly slowUntil: () => Millis;
  /** Whether handlers and listeners may throw now. */
  readonly mayThrow: () => boolean;
  readonly nextReader: (stream: StreamName, pattern: NamePattern | undefined) => Reader;
  readonly tell: (happening: Happening) => void;
}

interface Reading {
  readonly reader: Reader;
  readonly plan: StreamPlan;
  /** Undefined for a stream that is followed through a pattern. */
  subscription: Subscription | undefined;
  isLive: boolean;
  isBusy: boolean;
  /** It begins where a handler that is at work will have saved: that is told once it has. */
  isPending: boolean;
}

export interface Wait {
  readonly node: HistoryNode;
}

/** Longer than any world, so that no wait times out. */
const WAIT_MS: Millis = 10_000_000;
/**
 * How a wait may be refused: the position cannot be reached any more, or the stream is not
 * followed.
 */
const DUE_REFUSALS: ReadonlySet<string> = new Set([
  'CLOSED',
  'NOT_SUBSCRIBED',
  'OTHER_LOG',
  'GAP',
  'RESET',
  'HANDLER_FAILED',
  'UNKNOWN_STREAM',
]);

export class SimulatedApplication {
  readonly #options: SimulatedApplicationOptions;
  /** Those of streams that are followed by name, or that the worker has told of. */
  readonly #readings = new Map<StreamName, Reading>();
  /** Streams that were given up: a pattern brings them back only once they are made again. */
  readonly #givenUp = new Set<StreamName>();
  #loaded: ReadonlyMap<StreamName, Known> = new Map();
  #begunAtMs: Millis = 0;
  readonly #waits = new Set<Wait>();

  constructor(options: SimulatedApplicationOptions) {
    this.#options = options;
    this.#listen(options.worker);
  }

  get waits(): Iterable<Wait> {
    return this.#waits;
  }

  /** Subscribes to everything of the plan. */
  begin(loaded: ReadonlyMap<StreamName, Known>): void {
    const { plan, worker, clock } = this.#options;
    this.#loaded = loaded;
    this.#begunAtMs = clock.now();
    for (const ofStream of plan.streams) {
      const reading = this.#open(ofStream);
      this.#tellBegin(reading, loaded.get(ofStream.stream) ?? ofStream.fallback);
      this.#subscribe(reading, this.#beginOptions(ofStream));
    }
    for (const ofPattern of plan.patterns) {
      const handle = (batch: Batch): void | Promise<void> => {
        const reading = this.#toldOf(batch.stream);
        if (reading?.plan.pattern === ofPattern.pattern) return this.#handle(reading, batch);
        this.#options.tell({ kind: 'threw', thrown: `${ofPattern.pattern} was given a batch of ${batch.stream}` });
      };
      subscribeMatching(worker, ofPattern.pattern, this.#beginOptions(ofPattern), handle);
    }
    // The worker must tell what became of these, whether they are still there or not.
    for (const stream of loaded.keys()) this.#reading(stream);
  }

  /** Drops a stream and follows it again, from its place or from the start or from now. */
  resubscribe(stream: StreamName, { from, afterMs }: { from: 'there' | 'start' | 'now'; afterMs: Millis }): void {
    const { worker, clock, isStopping, meter } = this.#options;
    const reading = this.#reading(stream);
    if (reading === undefined || reading.isPending || isStopping()) return;
    this.#tellEnd(reading);
    const left = worker.unsubscribe(stream);
    this.#readings.delete(stream);
    this.#givenUp.add(stream);
    meter.mute(stream);
    const again = (): void => {
      if (!isStopping()) this.#readAgain(reading, from, left);
    };
    if (afterMs === 0) again();
    else clock.wakeIn(afterMs, again);
  }

  wait(at: AppendedAt, node: HistoryNode): void {
    const { worker, tell, workerName } = this.#options;
    const wait: Wait = { node };
    // Also a stream that the worker has not heard of, where a pattern matches it.
    const isFollowed = this.#reading(node.stream) !== undefined;
    this.#waits.add(wait);
    waitFor(worker, at, WAIT_MS).then(
      () => {
        this.#waits.delete(wait);
        tell({ kind: 'waited', worker: workerName, node });
      },
      (thrown: unknown) => {
        this.#waits.delete(wait);
        const isUndue =
          thrown instanceof RowcastError &&
          thrown.code === 'NOT_SUBSCRIBED' &&
          isFollowed &&
          this.#reading(node.stream) !== undefined;
        if (thrown instanceof RowcastError && DUE_REFUSALS.has(thrown.code) && !isUndue) return;
        tell({ kind: 'threw', thrown: `${workerName} waited: ${String(thrown)}` });
      },
    );
  }

  isAtEnd(primary: Primary, stream: StreamName): boolean {
    return isAtEnd(this.#options.worker, primary, stream);
  }

  /**
   * What the worker says of each stream that it follows. Also reported to the checkers.
   * @param made the streams that are there
   */
  standing(made: readonly StreamName[]): { reader: Reader; token: number | undefined; isLive: boolean }[] {
    const { worker, plan, tell, workerName } = this.#options;
    const names = new Set(plan.streams.map(({ stream }) => stream));
    for (const stream of made) if (planOf(plan, stream) !== undefined) names.add(stream);
    for (const [stream, { plan: ofStream }] of this.#readings) if (ofStream.pattern === undefined) names.add(stream);
    return [...names].map((stream) => {
      const reading = this.#readings.get(stream);
      if (reading === undefined)
        return {
          reader: { worker: workerName, stream, name: `${workerName} (away) ${stream}`, pattern: undefined },
          token: undefined,
          isLive: false,
        };
      const token = tokenOf(worker, stream);
      if (token !== undefined && !reading.isBusy)
        tell({ kind: 'positioned', reader: reading.reader, token, isLive: reading.isLive });
      return { reader: reading.reader, token, isLive: reading.isLive && worker.isLive && !reading.isBusy };
    });
  }

  follows(stream: StreamName): Reader | undefined {
    return this.#readings.get(stream)?.reader;
  }

  /** Readers through a pattern of streams that are not there. */
  absent(made: readonly StreamName[]): Reader[] {
    const absent = [...this.#readings.values()].filter(({ plan }) => plan.pattern !== undefined);
    return absent.map(({ reader }) => reader).filter(({ stream }) => !made.includes(stream));
  }

  #beginOptions({ fallback, onReset }: PatternPlan | StreamPlan): SubscribeOptions {
    if (this.#options.plan.hasCheckpoint) return { from: 'checkpoint', fallback, onReset };
    return { from: fallback, onReset };
  }

  /** The worker tells of a stream. It may have been given up, and be made again since. */
  #toldOf(stream: StreamName): Reading | undefined {
    const known = this.#reading(stream);
    const ofPattern = planOfPattern(this.#options.plan, stream);
    if (known !== undefined || ofPattern === undefined) return known;
    this.#givenUp.delete(stream);
    const reading = this.#open(ofPattern);
    this.#tellBegin(reading, 'first');
    return reading;
  }

  /** The reading of a stream. Of one that a pattern matches, from the first question about it. */
  #reading(stream: StreamName): Reading | undefined {
    const known = this.#readings.get(stream);
    const { plan } = this.#options;
    const ofStream = planOf(plan, stream);
    if (known !== undefined || ofStream?.pattern === undefined || this.#givenUp.has(stream)) return known;
    const reading = this.#open(ofStream);
    this.#tellBegin(reading, this.#loaded.get(stream) ?? ofStream.fallback, this.#begunAtMs);
    return reading;
  }

  #open(plan: StreamPlan): Reading {
    const { nextReader, meter } = this.#options;
    const reader = nextReader(plan.stream, plan.pattern);
    const reading: Reading = { reader, plan, subscription: undefined, isLive: false, isBusy: false, isPending: false };
    this.#readings.set(plan.stream, reading);
    meter.mute(plan.stream);
    return reading;
  }

  #tellBegin({ reader }: Reading, begin: Begin, sinceMs: Millis = this.#options.clock.now()): void {
    this.#options.tell({ kind: 'subscribed', reader, begin, sinceMs });
  }

  #subscribe(reading: Reading, options: SubscribeOptions): void {
    const { worker } = this.#options;
    reading.subscription = worker.subscribe(reading.plan.stream, options, (batch) => this.#handle(reading, batch));
  }

  /**
   * Subscribes again to a stream whose last subscription has ended.
   * @param left resolves when its handler is finished, which moves the place where this one begins
   */
  #readAgain({ plan, subscription, isBusy }: Reading, from: 'there' | 'start' | 'now', left?: Promise<void>): void {
    const { stream, fallback, onReset } = plan;
    const { truth, worker, workerName, plan: all, meter, clock } = this.#options;
    const there = all.hasCheckpoint ? 'checkpoint' : subscription && resumeAfter(subscription);
    const resumes = from === 'there' ? (there ?? 'start') : from;
    const reading = this.#open({ ...plan, pattern: undefined });
    try {
      this.#subscribe(reading, { from: resumes, ...(resumes === 'checkpoint' && { fallback }), onReset });
    } catch (thrown) {
      if (!(thrown instanceof RowcastError) || thrown.code !== 'DUPLICATE_STREAM') throw thrown;
      // It was made again meanwhile, and its pattern has it.
      this.#readings.delete(stream);
      meter.mute(stream);
      this.#toldOf(stream);
      return;
    }
    if (resumes === 'start' || resumes === 'now') return this.#tellBegin(reading, resumes);
    const tell = (): void => {
      reading.isPending = false;
      const token = tokenOf(worker, stream);
      this.#tellBegin(reading, (token === undefined ? undefined : truth.onceAt(workerName, stream, token)) ?? fallback);
    };
    if (left === undefined || !isBusy || resumes !== 'checkpoint') return tell();
    reading.isPending = true;
    void left.then(() => clock.wakeIn(0, tell));
  }

  #listen(worker: Worker): void {
    const { tell } = this.#options;
    worker.on('live', ({ stream }) => {
      const reading = this.#toldOf(stream);
      if (reading !== undefined) {
        reading.isLive = true;
        const token = tokenOf(worker, stream);
        if (token !== undefined) tell({ kind: 'positioned', reader: reading.reader, token, isLive: true });
      }
      this.#throwSometimes();
    });
    worker.on('not-live', ({ stream }) => {
      const reading = this.#readings.get(stream);
      if (reading !== undefined) reading.isLive = false;
      this.#throwSometimes();
    });
    worker.on('reset', ({ stream, error }) => {
      this.#handleReset(stream, error);
      this.#throwSometimes();
    });
    worker.on('error', (error) => this.#handleError(error));
    worker.on('connected', () => this.#throwSometimes());
    worker.on('disconnected', () => this.#throwSometimes());
  }

  #handleReset(stream: StreamName, error: RowcastError): void {
    const { tell, meter } = this.#options;
    const reading = this.#toldOf(stream);
    if (reading === undefined) return;
    meter.mute(stream);
    const { onReset, pattern } = reading.plan;
    const from = onReset === 'now' ? 'now' : 'start';
    const next = pattern !== undefined && isDeletion(error) ? 'first' : from;
    tell({ kind: 'reset', reader: reading.reader, code: error.code, next });
  }

  /** The start was rejected. With the error of a subscription, that error is told nowhere else. */
  handleNotStarted(error: RowcastError): void {
    const isOfSubscription = [...this.#readings.values()].some(({ subscription }) => subscription?.error === error);
    if (isOfSubscription) this.#handleError(error);
  }

  /** A subscription ended by itself, or a save failed. The application notes it and starts over. */
  #handleError(error: RowcastError): void {
    const { tell, workerName } = this.#options;
    if (error.code === 'CHECKPOINT_FAILED') return;
    const ended = [...this.#readings.values()].find(({ subscription }) => subscription?.error === error);
    // The last batch of a dropped subscription may fail: then it is already removed.
    if (ended === undefined) {
      if (error.code === 'HANDLER_FAILED') return;
      return tell({ kind: 'threw', thrown: `${workerName}: ${error.code} ${error.message}` });
    }
    if (error.code === 'HANDLER_FAILED') {
      this.#tellEnd(ended);
      return this.#comeBack(ended, 'there');
    }
    tell({ kind: 'reset', reader: ended.reader, code: error.code, next: 'ended' });
    this.#comeBack(ended, error.code === 'UNKNOWN_STREAM' ? 'there' : 'start');
  }

  /** Reports the end of a reader at its place. */
  #tellEnd(reading: Reading): void {
    const { worker, tell } = this.#options;
    const token = tokenOf(worker, reading.plan.stream);
    if (token !== undefined) tell({ kind: 'positioned', reader: reading.reader, token, isLive: false });
    tell({ kind: 'unsubscribed', reader: reading.reader });
  }

  #comeBack(ended: Reading, from: 'there' | 'start'): void {
    const { clock, random, isStopping, meter } = this.#options;
    meter.mute(ended.plan.stream);
    this.#readings.delete(ended.plan.stream);
    this.#givenUp.add(ended.plan.stream);
    clock.wakeIn(randomInteger(random, 5, 80), () => {
      if (!isStopping() && !this.#readings.has(ended.plan.stream)) this.#readAgain(ended, from);
    });
  }

  #handle(reading: Reading, { stream, token, rows }: Batch): void | Promise<void> {
    const { tell, meter, random, shape, clock, mayThrow } = this.#options;
    const ofWorld = rows as readonly WorldRow[];
    meter.handleDelivered(stream);
    tell({ kind: 'delivered', reader: reading.reader, token, rows: ofWorld });
    const throws = reading.plan.pattern === undefined && mayThrow() && random.next() * 100 < shape.handlersThrowPercent;
    const finish = (): void => {
      reading.isBusy = false;
      meter.handleApplied(stream);
      if (throws) {
        tell({ kind: 'gave-up', reader: reading.reader });
        throw new PlannedError('a handler throws');
      }
      tell({ kind: 'applied', reader: reading.reader, batch: ofWorld[0]!.batch });
    };
    const ms = this.#applyMs();
    if (ms === 0) return finish();
    reading.isBusy = true;
    return new Promise<void>((resolve) => void clock.wakeIn(ms, resolve)).then(finish);
  }

  #applyMs(): Millis {
    const { random, shape, clock, slowUntil } = this.#options;
    if (clock.now() < slowUntil()) return randomInteger(random, 30, 200);
    return shape.maxApplyMs === 0 ? 0 : randomInteger(random, 0, shape.maxApplyMs);
  }

  #throwSometimes(): void {
    const { random, shape, mayThrow } = this.#options;
    if (!mayThrow() || random.next() * 100 >= shape.listenersThrowPercent) return;
    throw new PlannedError('a listener of the worker throws');
  }
}
