/**
 * The machine of a worker: a checkpoint, and one process after another beside it. The process is
 * the real Worker.
 */

import type { Clock, Millis } from '../base/clock.ts';
import { type Random } from '../base/random.ts';
import { RowcastError } from '../core/model/errors.ts';
import type { NamePattern } from '../core/model/pattern.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Primary } from '../primary/primary.ts';
import type { ConnectionHandler, Transport } from '../transport/transport.ts';
import type { Worker } from '../worker/worker.ts';
import { FakeCheckpoint, NOTHING } from './fake-checkpoint.ts';
import type { LinkEnd } from './fake-link.ts';
import type { FakeNetwork } from './fake-network.ts';
import type { Happening, Reader } from './happening.ts';
import type { HistoryNode } from './history-tree.ts';
import type { Known } from './known.ts';
import { Outcry, OutcryClock } from './outcry.ts';
import { type AppendedAt, savedTokens } from './public-api.ts';
import type { ReaderCheckers } from './reader-checkers.ts';
import { drawReadingPlan, planOf, type ReadingPlan } from './reading-plan.ts';
import { RowMeter } from './row-meter.ts';
import { SimulatedApplication, type Wait } from './simulated-application.ts';
import { describeThrown, raise } from './simulated-primary.ts';
import { ProcessClock } from './virtual-clock.ts';
import type { WorldParts } from './world-result.ts';
import type { WorldShape } from './world-shape.ts';

export interface SimulatedWorkerOptions {
  readonly name: string;
  readonly shape: WorldShape;
  /** The patterns that the primary declares. */
  readonly patterns: readonly NamePattern[];
  readonly clock: Clock;
  readonly random: Random;
  readonly network: FakeNetwork;
  readonly parts: WorldParts;
  readonly truth: ReaderCheckers;
  /** The address it connects to. */
  readonly path: string;
  readonly tell: (happening: Happening) => void;
}

interface Process {
  readonly clock: OutcryClock;
  readonly applicationClock: ProcessClock;
  readonly worker: Worker;
  readonly application: SimulatedApplication;
  isStopping: boolean;
}

/** How connections may end in a world of faults. Any other end is a bug of ours. */
const DUE_ENDINGS: ReadonlySet<string> = new Set(['CONNECTION_LOST', 'PEER_ERROR', 'IDLE_TIMEOUT']);
/** The longest stop: the slowest handler, the slowest save, and the flush of a connection. */
const MAX_STOP_MS: Millis = 3_000;

export class SimulatedWorker {
  readonly name: string;
  readonly plan: ReadingPlan;
  readonly #options: SimulatedWorkerOptions;
  readonly #checkpoint: FakeCheckpoint;
  readonly #meter = new RowMeter();
  #process: Process | undefined;
  #end: LinkEnd | undefined;
  #readers = 0;
  /** Its handlers are slow until this time. */
  slowUntil: Millis = 0;
  /** While true, handlers and listeners may throw and saves may fail. */
  hasFaults = true;

  constructor(options: SimulatedWorkerOptions) {
    this.#options = options;
    this.name = options.name;
    this.plan = drawReadingPlan(options.random, { names: options.shape.names, patterns: options.patterns });
    const { random, shape, tell, truth, name } = options;
    this.#checkpoint = new FakeCheckpoint({
      random,
      ...shape.checkpoint,
      onSave: (positions) => {
        tell({ kind: 'saved', worker: name, positions });
        const known = new Map<StreamName, Known>();
        for (const [stream, token] of savedTokens(positions)) {
          const at = truth.knownAt(name, stream, token);
          if (at !== undefined) known.set(stream, at);
        }
        return { known, boundaries: truth.boundariesOf(name, positions.keys()) };
      },
    });
  }

  get isUp(): boolean {
    return this.#process !== undefined;
  }

  get waits(): Iterable<Wait> {
    return this.#process?.application.waits ?? [];
  }

  start(): void {
    if (this.isUp) return;
    const { clock, random, shape, tell, truth, parts, path } = this.#options;
    const outcry = new Outcry((thrown) => tell({ kind: 'threw', thrown: describeThrown(thrown) }));
    const processClock = new OutcryClock(clock, outcry);
    const applicationClock = new ProcessClock(clock);
    const { known: loaded, boundaries } = this.plan.hasCheckpoint ? this.#checkpoint.stored : NOTHING;
    tell({ kind: 'worker-started', worker: this.name, loaded, boundaries });
    const checkpoint = this.#checkpoint.open(processClock);
    const worker = parts.makeWorker({
      name: this.name,
      connect: { path },
      ...(this.plan.hasCheckpoint && { checkpoint: parts.checkpoint(checkpoint) }),
      limits: shape.workerLimits,
      transport: this.#transport(outcry),
      clock: processClock,
      random,
    });
    worker.on('disconnected', ({ error }) => {
      if (this.#process === process) this.#handleDisconnected(error);
    });
    worker.on('connected', ({ isRowcast }) => {
      // A greeting that is late makes the primary another one until it comes; then the worker connects again.
      if (process === this.#process && !isRowcast && this.#end !== undefined) this.#end.link.excuse ??= 'greeted late';
    });
    const application = new SimulatedApplication({
      worker,
      workerName: this.name,
      plan: this.plan,
      shape,
      clock: applicationClock,
      random,
      meter: this.#meter,
      truth,
      isStopping: () => process.isStopping || process !== this.#process,
      slowUntil: () => this.slowUntil,
      mayThrow: () => this.hasFaults,
      nextReader: (stream, pattern): Reader => {
        const name = `${this.name}.${++this.#readers} ${stream}`;
        return { worker: this.name, stream, name, pattern };
      },
      tell: (happening) => {
        if (process === this.#process) tell(happening);
      },
    });
    const process: Process = { clock: processClock, applicationClock, worker, application, isStopping: false };
    this.#process = process;
    application.begin(loaded);
    worker.start().catch((thrown: unknown) => {
      if (thrown instanceof RowcastError) return application.handleNotStarted(thrown);
      tell({ kind: 'threw', thrown: `${this.name} starts: ${describeThrown(thrown)}` });
    });
  }

  /**
   * Ends in good order: finishes handlers, saves, says goodbye. `then` is called when the process
   * is gone.
   */
  stop(then: () => void): void {
    const process = this.#process;
    if (process === undefined || process.isStopping) return;
    const { clock, tell } = this.#options;
    process.isStopping = true;
    if (this.#end !== undefined) this.#end.link.excuse ??= 'the worker stops';
    clock.wakeIn(MAX_STOP_MS, () => {
      if (this.#process === process) tell({ kind: 'lingers', who: this.name, ms: MAX_STOP_MS });
    });
    process.worker.stop().then(
      () => {
        if (this.#process !== process) return;
        this.kill(false);
        then();
      },
      (thrown: unknown) => tell({ kind: 'threw', thrown: `stop: ${describeThrown(thrown)}` }),
    );
  }

  /** Ends at once, as it is. `isSilent`: its machine ends too, so the other end is told nothing. */
  kill(isSilent: boolean): void {
    const process = this.#process;
    if (process === undefined) return;
    this.#process = undefined;
    process.clock.kill();
    process.applicationClock.kill();
    this.#checkpoint.crash();
    if (this.#end !== undefined) this.#options.network.kill([this.#end], isSilent);
    this.#end = undefined;
  }

  /** Restores an older checkpoint. The process must be down. False when there is none. */
  goBack(): boolean {
    return this.#checkpoint.goBack();
  }

  /** From now on saves succeed and nothing throws. */
  endFaults(): void {
    this.hasFaults = false;
    this.#checkpoint.fails = false;
  }

  resubscribe(stream: StreamName, how: Parameters<SimulatedApplication['resubscribe']>[1]): void {
    this.#process?.application.resubscribe(stream, how);
  }

  wait(at: AppendedAt, node: HistoryNode): void {
    const process = this.#process;
    if (process !== undefined && !process.isStopping) process.application.wait(at, node);
  }

  send(): void {
    const process = this.#process;
    if (process !== undefined && !process.isStopping) process.worker.send({ name: 'FEDERATION_ACK', token: 7 });
  }

  isAtEnd(primary: Primary, stream: StreamName): boolean {
    return this.#process?.application.isAtEnd(primary, stream) ?? false;
  }

  standing(made: readonly StreamName[]): ReturnType<SimulatedApplication['standing']> {
    return this.#process?.application.standing(made) ?? [];
  }

  /** How it follows a stream now. */
  follows(stream: StreamName): Reader | undefined {
    return this.#process?.application.follows(stream);
  }

  absent(made: readonly StreamName[]): Reader[] {
    return this.#process?.application.absent(made) ?? [];
  }

  /** The streams in its checkpoint that it follows through a pattern, and that are not there. */
  keptInVain(made: readonly StreamName[]): StreamName[] {
    if (!this.plan.hasCheckpoint) return [];
    const names = [...savedTokens(this.#checkpoint.stored.positions).keys()];
    return names.filter((name) => {
      const { pattern } = this.follows(name) ?? planOf(this.plan, name) ?? {};
      return pattern !== undefined && !made.includes(name);
    });
  }

  #transport(outcry: Outcry): Transport {
    const { parts, network } = this.#options;
    return {
      connect: (address, handler) => {
        const end = network.connect(
          this.name,
          (address as { path: string }).path,
          this.#measured(outcry.handler(handler)),
        );
        this.#end = end;
        return parts.connection(end, 'worker');
      },
      listen: () => raise(new Error('a worker does not listen')),
    };
  }

  /** Watches the bytes on their way to the worker. */
  #measured(handler: ConnectionHandler): ConnectionHandler {
    const { tell, shape } = this.#options;
    return {
      ...handler,
      handleOpen: () => {
        this.#meter.handleConnect();
        if (this.#end?.link.life !== undefined) tell({ kind: 'linked', worker: this.name, life: this.#end.link.life });
        handler.handleOpen();
      },
      handleBytes: (chunk) => {
        this.#meter.handleBytes(chunk);
        const { heldBytes, largestBatchBytes } = this.#meter;
        const maxBytes = shape.workerLimits.maxQueuedBytes + largestBatchBytes + chunk.length;
        if (heldBytes > maxBytes)
          tell({ kind: 'held', who: this.name, what: 'rows that wait for its handlers', bytes: heldBytes, maxBytes });
        handler.handleBytes(chunk);
      },
    };
  }

  #handleDisconnected({ code, message }: RowcastError): void {
    const { tell, shape, clock } = this.#options;
    const end = this.#end;
    this.#end = undefined;
    if (end === undefined) return;
    const { link } = end;
    if (code === 'IDLE_TIMEOUT') {
      const { idleTimeoutMs, flushTimeoutMs } = shape.workerLimits;
      const healthyMs = clock.now() - link.lastTroubleAt;
      tell({ kind: 'called-silent', who: end.peer, healthyMs, idleTimeoutMs: idleTimeoutMs + flushTimeoutMs });
    } else if (!DUE_ENDINGS.has(code)) {
      tell({ kind: 'threw', thrown: `${this.name} was disconnected: ${code} ${message}` });
    } else if (link.life !== undefined && link.excuse === undefined) {
      tell({ kind: 'cut-off', who: end.peer, why: `${code} ${message}` });
    }
    // The error that the other end reports for this end is justified.
    link.excuse ??= code;
  }
}
