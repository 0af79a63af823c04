/**
 * A whole deployment in memory: the public Primary and Worker, the links between them and all
 * faults, from one seed and on a virtual clock. Faults come for a while; then they stop, and every
 * worker must reach `latest`.
 */

import type { Millis } from '../base/clock.ts';
import { type Random, randomHex, randomInteger, seededRandom } from '../base/random.ts';
import { LOG_ID_DIGITS } from '../core/model/history.ts';
import { checkOptions } from '../core/model/options.ts';
import type { NamePattern } from '../core/model/pattern.ts';
import type { StreamName } from '../core/model/stream.ts';
import { type Checkers, makeCheckers, PRIMARY } from './checkers.ts';
import { FakeDisk } from './fake-disk.ts';
import type { LinkEnd } from './fake-link.ts';
import { FakeNetwork } from './fake-network.ts';
import { endFaults, type FaultTargets, strike } from './faults.ts';
import { describeHappening, type Happening } from './happening.ts';
import { type HistoryNode, isOn } from './history-tree.ts';
import { type AppendedAt, latestOf } from './public-api.ts';
import { describeThrown, SimulatedPrimary } from './simulated-primary.ts';
import { SimulatedWorker } from './simulated-worker.ts';
import { VirtualClock } from './virtual-clock.ts';
import { watchDead } from './watch-dead.ts';
import {
  realParts,
  type WorldFailure,
  type WorldOptions,
  type WorldParts,
  type WorldResult,
  worldTable,
} from './world-result.ts';
import { CommittedBatches, type WorldRow } from './world-rows.ts';
import { drawShape, LARGE_ROW_CHARS, nameOfPattern, type WorldShape } from './world-shape.ts';

/**
 * Runs the world of a seed to its end or to its first failure.
 * @throws UsageError INVALID_OPTION
 */
export async function runWorld(options: WorldOptions): Promise<WorldResult> {
  return new World(checkOptions('runWorld', options, worldTable)).run();
}

/** Often enough to find the end soon, seldom enough to cost nothing. */
const LOOK_EVERY_MS: Millis = 25;
/**
 * Waits are for the newest batches, this many, so that some were lost, trimmed or of an earlier
 * process.
 */
const APPENDED_REMEMBERED = 40;

/** Names of streams that churn are none of the others. */
const FIRST_OF_CHURN = 100;

class World {
  readonly #options: WorldOptions;
  readonly #shape: WorldShape;
  readonly #random: Random;
  readonly #clock = new VirtualClock();
  readonly #network: FakeNetwork;
  readonly #primary: SimulatedPrimary;
  readonly #copy: SimulatedPrimary;
  readonly #workers: readonly SimulatedWorker[];
  readonly #targets: FaultTargets;
  readonly #committed = new CommittedBatches();
  readonly #checkers: Checkers;
  readonly #patterns: readonly NamePattern[];
  /** Every stream that is appended to. Grows where streams churn. */
  readonly #names: StreamName[];
  readonly #appended: { readonly at: AppendedAt; readonly node: HistoryNode }[] = [];
  readonly #faults: string[] = [];
  readonly #trace: string[] = [];
  #failure: WorldFailure | undefined;
  #batches = 0;
  #churned = 0;
  #appliedBatches = 0;

  constructor(options: WorldOptions) {
    this.#options = options;
    this.#random = seededRandom(options.seed);
    this.#shape = { ...drawShape(this.#random), ...options.shape };
    this.#checkers = makeCheckers(this.#committed, () => this.#clock.now());
    this.#checkers.readers.hasCopies = this.#shape.history.copies;
    const parts: WorldParts = { ...realParts, ...options.parts };
    const [shape, clock, random] = [this.#shape, this.#clock, this.#random];
    this.#network = new FakeNetwork({
      clock,
      random,
      ...shape.network,
      ...(options.keepsTrace === true && { onPiece: (end, piece) => this.#recordPiece(end, piece) }),
    });
    const network = this.#network;
    const tell = (happening: Happening): void => this.#tell(happening);
    const disk = FakeDisk.empty(randomHex(random, LOG_ID_DIGITS));
    const patterns = shape.declarations.flatMap((declared) => ('pattern' in declared ? [declared.pattern] : []));
    this.#patterns = patterns;
    this.#names = [...shape.names];
    const all = { shape, clock, random, network, committed: this.#committed, parts, tell };
    const onAppended = (at: AppendedAt, node: HistoryNode): void => this.#handleAppended(at, node);
    this.#primary = new SimulatedPrimary({ ...all, name: PRIMARY, path: PRIMARY_PATH, disk, onAppended });
    this.#copy = new SimulatedPrimary({
      ...all,
      name: 'copy',
      path: COPY_PATH,
      disk: new FakeDisk(disk.state),
      onAppended,
    });
    this.#workers = Array.from(
      { length: shape.workers },
      (_, i) =>
        new SimulatedWorker({
          ...all,
          name: `w${i + 1}`,
          patterns,
          truth: this.#checkers.readers,
          path: PRIMARY_PATH,
        }),
    );
    network.route = (path) => (this.#copy.isUp && random.next() < 0.4 ? COPY_PATH : path);
    this.#targets = {
      random,
      shape,
      names: this.#names,
      append: (primary, stream) => this.#append(primary, stream),
      network,
      primary: this.#primary,
      copy: this.#copy,
      workers: this.#workers,
      backups: [],
      now: () => clock.now(),
      after: (ms, then) => void clock.wakeIn(ms, then),
    };
  }

  async run(): Promise<WorldResult> {
    const handleThrown = (thrown: unknown): void => this.#tell({ kind: 'threw', thrown: describeThrown(thrown) });
    // A rejected promise of the product that nothing handles is a fault too.
    process.on('unhandledRejection', handleThrown);
    try {
      await this.#live();
    } catch (thrown) {
      handleThrown(thrown);
    } finally {
      process.off('unhandledRejection', handleThrown);
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
    const { batchesBefore, deletes, faultsForMs, hasSilence, primaryLimits } = this.#shape;
    this.#primary.start();
    await this.#pass(0);
    for (let i = 0; i < batchesBefore; i++) this.#appendToAll();
    await this.#pass(randomInteger(this.#random, 0, 100));
    for (const worker of this.#workers) this.#targets.after(randomInteger(this.#random, 0, 200), () => worker.start());
    const faultsEndAt = this.#clock.now() + faultsForMs;
    this.#appendUntil(faultsEndAt);
    this.#strikeUntil(faultsEndAt);
    await this.#pass(faultsForMs);
    if (this.#failure !== undefined) return;
    this.#befall('faults stop');
    endFaults(this.#targets);
    for (const name of this.#names) {
      // What was deleted stays so in some worlds.
      if (deletes && this.#random.next() < 0.3) continue;
      this.#targets.after(randomInteger(this.#random, 0, 300), () => this.#append(this.#primary, name));
    }
    await this.#pass(350);
    await this.#settle();
    if (hasSilence) {
      await this.#pass(primaryLimits.idleTimeoutMs * 2.5);
      this.#appendToAll();
      await this.#settle();
    }
    this.#end(faultsEndAt);
  }

  /** Waits, without a limit, until every worker has everything. */
  async #settle(): Promise<void> {
    const until = this.#clock.now() + this.#shape.calmMs;
    do await this.#pass(LOOK_EVERY_MS);
    while (this.#failure === undefined && this.#clock.now() < until && !this.#isSettled);
  }

  get #isSettled(): boolean {
    const { life } = this.#primary;
    return (
      life?.primary !== undefined &&
      this.#workers.every((worker) => {
        const made = life.made();
        const isThere = ({ reader, isLive }: ReturnType<typeof worker.standing>[number]): boolean =>
          isLive && worker.isAtEnd(life.primary!, reader.stream);
        return (
          worker.isUp &&
          worker.standing(made).every(isThere) &&
          worker.keptInVain(made).length === 0 &&
          [...worker.waits].length === 0
        );
      })
    );
  }

  #end(faultsEndAt: Millis): void {
    const { life } = this.#primary;
    if (life?.primary === undefined) return this.#tell({ kind: 'threw', thrown: 'the primary is down at the end' });
    this.#primary.tellHeld();
    const calmMs = this.#clock.now() - faultsEndAt;
    const made = life.made();
    for (const worker of this.#workers) {
      if (!worker.isUp) this.#tell({ kind: 'threw', thrown: `${worker.name} is down at the end` });
      for (const ofReader of worker.standing(made)) {
        const latest = latestOf(life.primary, ofReader.reader.stream);
        this.#tell({ kind: 'ended', ...ofReader, life, latest, calmMs });
      }
      for (const reader of worker.absent(made)) this.#tell({ kind: 'ended-absent', reader });
      for (const stream of worker.keptInVain(made))
        this.#tell({ kind: 'still-keeps', worker: worker.name, what: `a position of ${stream} in its checkpoint` });
      for (const { node } of worker.waits) {
        const isKept = isOn(node, life.head(node.stream));
        // The era of a running copy may be above the primary's. Then nothing says that its rows are
        // void here.
        if (!isKept && this.#shape.history.copies) continue;
        // Nothing says in which era a stream was deleted that is followed by name.
        const isDeleted = life.ever(node.stream).some(({ head }) => isOn(node, head));
        if (!isKept && isDeleted && worker.follows(node.stream)?.pattern === undefined) continue;
        this.#tell({ kind: 'still-waits', worker: worker.name, node, isKept });
      }
    }
  }

  /** Advances virtual time, with every wake in it. */
  async #pass(ms: Millis): Promise<void> {
    const until = this.#clock.now() + ms;
    do {
      // Code that awaits promises runs before the clock moves on, as within one turn of the event
      // loop.
      await new Promise((resolve) => void setImmediate(resolve));
    } while (this.#failure === undefined && this.#clock.step(until));
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
      const count = this.#random.next() < 0.1 ? randomInteger(this.#random, 2, 12) : 1;
      if (this.#shape.churns && this.#patterns.length > 0) this.#churn();
      const name = this.#pick(this.#names);
      const primary = this.#copy.isUp && this.#random.next() < 0.5 ? this.#copy : this.#primary;
      for (let i = 0; i < count; i++) this.#append(primary, name);
      if (this.#random.next() < 0.1) this.#pick(this.#workers).send();
      this.#appendUntil(endAt);
    });
  }

  #appendToAll(): void {
    for (const name of this.#names) this.#append(this.#primary, name);
  }

  /** Streams that live for a moment, each under a name of its own. */
  #churn(): void {
    const name = nameOfPattern(this.#pick(this.#patterns), FIRST_OF_CHURN + ++this.#churned);
    this.#append(this.#primary, name);
    this.#targets.after(randomInteger(this.#random, 0, 300), () => void this.#primary.delete(name));
  }

  #append(primary: SimulatedPrimary, stream: StreamName): void {
    const { maxRowsOfBatch, largePercent } = this.#shape;
    const of = randomInteger(this.#random, 1, maxRowsOfBatch);
    const batch = ++this.#batches;
    const rows: WorldRow[] = Array.from({ length: of }, (_, index) => {
      const isLarge = this.#random.next() * 100 < largePercent;
      const text = 'ü'.repeat(randomInteger(this.#random, 0, isLarge ? LARGE_ROW_CHARS / 2 : 12));
      return { batch, index, of, text };
    });
    primary.append(stream, rows);
  }

  /** Read your own writes: a worker waits for this batch or for an earlier one. */
  #handleAppended(at: AppendedAt, node: HistoryNode): void {
    this.#appended.push({ at, node });
    if (this.#appended.length > APPENDED_REMEMBERED) this.#appended.shift();
    if (this.#random.next() * 100 >= this.#shape.waitsPercent) return;
    const worker = this.#pick(this.#workers);
    const waited = this.#random.next() < 0.7 ? { at, node } : this.#pick(this.#appended);
    worker.wait(waited.at, waited.node);
  }

  #befall(fault: string): void {
    this.#faults.push(`${this.#clock.elapsedMs} ms: ${fault}`);
    this.#record(`fault ${fault}`);
  }

  #tell(happening: Happening): void {
    // Everything after a failure is a consequence of it.
    if (this.#failure !== undefined) return;
    if (happening.kind === 'applied') this.#appliedBatches++;
    if (this.#options.keepsTrace === true) this.#record(describeHappening(happening));
    for (const checker of this.#checkers.all) {
      const finding = checker.see(happening);
      if (finding === undefined) continue;
      this.#failure = { ...finding, atMs: this.#clock.elapsedMs };
      return;
    }
  }

  #recordPiece({ peer }: LinkEnd, piece: Uint8Array): void {
    const text = Buffer.from(piece).toString('utf8').replaceAll('ü', '').replaceAll(',"text":""', '');
    this.#record(`${peer} gets ${JSON.stringify(text)}`);
  }

  #record(line: string): void {
    if (this.#options.keepsTrace === true) this.#trace.push(`${this.#clock.elapsedMs} ${line}`);
  }

  #pick<Choice>(choices: readonly Choice[]): Choice {
    return choices[randomInteger(this.#random, 0, choices.length - 1)]!;
  }
}

/** The addresses of the primary and of its copy. */
const PRIMARY_PATH = '/primary';
const COPY_PATH = '/copy';
