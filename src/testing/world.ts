/**
 * A whole deployment in memory: a primary, its workers, the links between them and all that befalls them, out of one
 * seed and on a clock that nobody waits for. Faults come for a while; then they stop and everyone must reach `latest`.
 */

import type { Millis } from '../base/clock.ts';
import { type Random, randomInteger, seededRandom } from '../base/random.ts';
import type { StreamName } from '../core/model/stream.ts';
import { Follower, type FollowerOptions } from '../core/follow/follower.ts';
import { PrimarySession } from '../core/sessions/primary-session.ts';
import { allCheckers, type Checker } from './checkers.ts';
import { CrashableLog, type CrashableLogOptions } from './crashable-log.ts';
import { FakeNetwork } from './fake-network.ts';
import { endFaults, type FaultTargets, strike } from './faults.ts';
import { describeHappening, type Happening, type WorldRow } from './happening.ts';
import { SimulatedPrimary } from './simulated-primary.ts';
import { SimulatedWorker } from './simulated-worker.ts';
import { Truth } from './truth.ts';
import { VirtualClock } from './virtual-clock.ts';
import { watchDead } from './watch-dead.ts';
import type { WorldFailure, WorldOptions, WorldResult } from './world-result.ts';
import { drawShape, LARGE_ROW_CHARS, type WorldShape } from './world-shape.ts';

export async function runWorld(options: WorldOptions): Promise<WorldResult> {
  return new World(options).run();
}

/** Often enough to find the end soon, seldom enough to cost nothing. */
const LOOK_EVERY_MS: Millis = 25;

class World {
  readonly #options: WorldOptions;
  readonly #shape: WorldShape;
  readonly #random: Random;
  readonly #clock = new VirtualClock();
  readonly #network: FakeNetwork;
  readonly #primary: SimulatedPrimary;
  readonly #workers: readonly SimulatedWorker[];
  readonly #targets: FaultTargets;
  readonly #checkers: readonly Checker[];
  readonly #faults: string[] = [];
  readonly #trace: string[] = [];
  readonly #truth: Truth;
  #failure: WorldFailure | undefined;
  #isPromised = false;
  #batches = 0;
  #appliedBatches = 0;

  constructor(options: WorldOptions) {
    this.#options = options;
    const { seed, parts = {} } = options;
    this.#random = seededRandom(seed);
    this.#shape = { ...drawShape(this.#random), ...options.shape };
    const { network, workers, streams } = this.#shape;
    const [clock, random] = [this.#clock, this.#random];
    const tell = (happening: Happening): void => this.#tell(happening);
    this.#truth = new Truth((stream) => this.#trueNow(stream));
    this.#checkers = allCheckers(this.#truth);
    this.#network = new FakeNetwork({ clock, random, ...network });
    this.#primary = new SimulatedPrimary({
      shape: this.#shape,
      clock,
      network: this.#network,
      durableLog: this.#makeLog('durable', true),
      volatileLog: this.#makeLog('volatile', false),
      truth: this.#truth,
      makeSession: parts.makeSession ?? ((own) => new PrimarySession(own)),
      tell,
      onPromise: () => this.#promise(),
    });
    this.#workers = Array.from({ length: workers }, (_, i) => {
      const makeFollower = parts.makeFollower ?? ((own: FollowerOptions): Follower => new Follower(own));
      const storesEarly = parts.storesEarly ?? false;
      return new SimulatedWorker({
        name: `w${i + 1}`,
        shape: this.#shape,
        clock,
        random,
        network: this.#network,
        makeFollower,
        storesEarly,
        tell,
      });
    });
    this.#targets = {
      random,
      streams,
      network: this.#network,
      primary: this.#primary,
      workers: this.#workers,
      now: () => clock.now(),
      after: (ms, then) => void clock.wakeIn(ms, then),
      startPrimary: () => this.#startPrimary(),
      stopPrimary: () => this.#stopPrimary(),
    };
  }

  async run(): Promise<WorldResult> {
    try {
      await this.#live();
    } catch (thrown) {
      this.#handleThrown(thrown);
    }
    return {
      seed: this.#options.seed,
      failure: this.#failure,
      faults: this.#faults,
      trace: this.#trace,
      appliedBatches: this.#appliedBatches,
      elapsedMs: this.#clock.elapsedMs,
    };
  }

  async #live(): Promise<void> {
    const { batchesBefore, faultsForMs, hasSilence, primaryLimits } = this.#shape;
    this.#startPrimary();
    await this.#pass(0);
    for (let i = 0; i < batchesBefore; i++) for (const { name } of this.#shape.streams) this.#append(name);
    await this.#pass(randomInteger(this.#random, 0, 100));
    for (const worker of this.#workers)
      this.#targets.after(randomInteger(this.#random, 0, 200), () => worker.isUp || worker.start());
    const faultsEndAt = this.#clock.now() + faultsForMs;
    this.#appendUntil(faultsEndAt);
    this.#strikeUntil(faultsEndAt);
    await this.#pass(faultsForMs);
    if (this.#failure !== undefined) return;
    this.#befall('faults stop');
    endFaults(this.#targets);
    for (const { name } of this.#shape.streams)
      this.#targets.after(randomInteger(this.#random, 0, 1_000), () => this.#append(name));
    await this.#pass(1_100);
    await this.#settle();
    if (!hasSilence) return this.#end(faultsEndAt);
    await this.#pass(primaryLimits.idleTimeoutMs * 2.5);
    for (const { name } of this.#shape.streams) this.#append(name);
    await this.#settle();
    this.#end(faultsEndAt);
  }

  /** Waits until everyone has everything, for as long as that may take. */
  async #settle(): Promise<void> {
    const until = this.#clock.now() + this.#shape.calmMs;
    do await this.#pass(LOOK_EVERY_MS);
    while (this.#failure === undefined && this.#clock.now() < until && !this.#isSettled);
  }

  get #isSettled(): boolean {
    return this.#workers.every((worker) =>
      worker.standing().every(({ stream, position, isLive }) => {
        const { logId, latest } = this.#trueNow(stream);
        return isLive && position?.token === latest && position.logId === logId;
      }),
    );
  }

  #end(faultsEndAt: Millis): void {
    this.#primary.tellHeld();
    for (const worker of this.#workers) {
      worker.tellHeld();
      for (const standing of worker.standing()) {
        const { logId, latest } = this.#trueNow(standing.stream);
        this.#tell({
          kind: 'ended',
          ...standing,
          latest: { token: latest, logId },
          calmMs: this.#clock.now() - faultsEndAt,
        });
      }
    }
  }

  /** Lets virtual time pass, with everything that falls into it. */
  async #pass(ms: Millis): Promise<void> {
    const until = this.#clock.now() + ms;
    while (this.#failure === undefined) {
      if (this.#isPromised) {
        this.#isPromised = false;
        // Whatever waits for promises runs before the clock moves on.
        await new Promise((resolve) => void setImmediate(resolve));
      }
      if (!this.#clock.step(until)) {
        if (!this.#isPromised) return;
      }
    }
  }

  #promise(): void {
    this.#isPromised = true;
  }

  #strikeUntil(endAt: Millis): void {
    const ms = randomInteger(this.#random, 1, this.#shape.meanFaultGapMs * 2);
    this.#clock.wakeIn(ms, () => {
      if (this.#clock.now() >= endAt) return;
      const fault = strike(this.#targets);
      if (fault !== undefined) this.#befall(fault);
      for (const link of this.#network.links)
        if (link.diedAt === this.#clock.now())
          watchDead(link, {
            clock: this.#clock,
            limits: this.#shape.workerLimits,
            tell: (happening) => this.#tell(happening),
          });
      this.#strikeUntil(endAt);
    });
  }

  #appendUntil(endAt: Millis): void {
    const ms = randomInteger(this.#random, 0, this.#shape.meanAppendGapMs * 2);
    this.#clock.wakeIn(ms, () => {
      if (this.#clock.now() >= endAt) return;
      const { streams } = this.#shape;
      const count = this.#random.next() < 0.1 ? randomInteger(this.#random, 2, 12) : 1;
      const { name } = streams[randomInteger(this.#random, 0, streams.length - 1)]!;
      for (let i = 0; i < count; i++) this.#append(name);
      if (this.#random.next() < 0.1) this.#workers[randomInteger(this.#random, 0, this.#workers.length - 1)]!.send();
      this.#appendUntil(endAt);
    });
  }

  #append(stream: StreamName): void {
    const { maxRowsOfBatch, largePercent } = this.#shape;
    const of = randomInteger(this.#random, 1, maxRowsOfBatch);
    const batch = ++this.#batches;
    const rows: WorldRow[] = Array.from({ length: of }, (_, index) => {
      const isLarge = this.#random.next() * 100 < largePercent;
      const text = 'ü'.repeat(randomInteger(this.#random, 0, isLarge ? LARGE_ROW_CHARS / 2 : 12));
      return { batch, index, of, text };
    });
    this.#primary.append(stream, rows);
  }

  #makeLog(name: string, isDurable: boolean): CrashableLog {
    const make = this.#options.parts?.makeLog ?? ((own: CrashableLogOptions): CrashableLog => new CrashableLog(own));
    const log: CrashableLog = make({
      name,
      isDurable,
      clock: this.#clock,
      random: this.#random,
      ...this.#shape.log,
      onCommitted: (stream, chunks) => this.#truth.handleCommitted(log.id, stream, chunks),
      onResolved: () => this.#promise(),
      onThrown: (thrown) => this.#handleThrown(thrown),
    });
    return log;
  }

  #startPrimary(): void {
    if (this.#primary.isUp) return;
    this.#promise();
    this.#primary.start().catch((thrown: unknown) => this.#handleThrown(thrown));
  }

  #stopPrimary(): void {
    this.#promise();
    this.#primary.stop().catch((thrown: unknown) => this.#handleThrown(thrown));
  }

  #trueNow(stream: StreamName): { logId: string; earliest: number; latest: number } {
    const log = this.#primary.logOf(stream);
    return { logId: log.id, ...log.bounds(stream) };
  }

  #befall(fault: string): void {
    this.#faults.push(`${this.#clock.elapsedMs} ms: ${fault}`);
    this.#record(`fault ${fault}`);
  }

  #tell(happening: Happening): void {
    // What follows a failure is its consequence.
    if (this.#failure !== undefined) return;
    if (happening.kind === 'applied') this.#appliedBatches++;
    if (this.#options.keepsTrace === true) this.#record(describeHappening(happening));
    const reports = this.#checkers.flatMap((checker) => {
      const saw = checker.see(happening);
      return saw === undefined ? [] : [{ checker: checker.name, saw }];
    });
    if (reports.length === 0) return;
    this.#failure = {
      checkers: reports.map(({ checker }) => checker),
      saw: reports.map(({ saw }) => saw).join('; '),
      atMs: this.#clock.elapsedMs,
    };
  }

  #handleThrown(thrown: unknown): void {
    this.#tell({ kind: 'threw', thrown: thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown) });
  }

  #record(line: string): void {
    if (this.#options.keepsTrace === true) this.#trace.push(`${this.#clock.elapsedMs} ${line}`);
  }
}
