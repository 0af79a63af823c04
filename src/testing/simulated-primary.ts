/**
 * The machine of a primary: a disk, and one process after another over it. The process is the real
 * Primary; log, links and clock are simulated.
 */

import type { Clock, Millis } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import { messageOf, type RowcastError } from '../core/model/errors.ts';
import type { Declaration } from '../core/model/declarations.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { Primary } from '../primary/primary.ts';
import type { Transport } from '../transport/transport.ts';
import type { DiskState, FakeDisk } from './fake-disk.ts';
import type { LinkEnd } from './fake-link.ts';
import type { FakeNetwork } from './fake-network.ts';
import type { Happening } from './happening.ts';
import { type HistoryNode, rowsAfter } from './history-tree.ts';
import { Outcry, OutcryClock, PlannedError } from './outcry.ts';
import { PrimaryLife } from './primary-life.ts';
import { append, type AppendedAt, deleteStream, sentTokens } from './public-api.ts';
import type { WorldParts } from './world-result.ts';
import type { CommittedBatches, WorldRow } from './world-rows.ts';
import type { WorldShape } from './world-shape.ts';

export interface SimulatedPrimaryOptions {
  readonly name: string;
  /** The address where it listens. */
  readonly path: string;
  readonly disk: FakeDisk;
  readonly shape: WorldShape;
  readonly clock: Clock;
  readonly random: Random;
  readonly network: FakeNetwork;
  readonly committed: CommittedBatches;
  readonly parts: WorldParts;
  readonly tell: (happening: Happening) => void;
  /** Called when a batch was acknowledged: a worker may wait for it. */
  readonly onAppended: (at: AppendedAt, node: HistoryNode) => void;
}

interface Process {
  readonly clock: OutcryClock;
  readonly outcry: Outcry;
  readonly life: PrimaryLife;
  readonly declared: readonly Declaration[];
  readonly ends: Map<string, LinkEnd>;
}

/** What a primary warns of, and the connection goes on. */
const REFUSALS: ReadonlySet<string> = new Set(['GAP', 'RESET', 'UNKNOWN_STREAM']);
/**
 * The wall clock runs a second in 5 ms, so at least a second passes between two opens. That holds
 * where people restore logs.
 */
const WALL_PACE = 200;
/** What a clean end may take beyond the time that its sessions have. */
const CLOSE_SLACK_MS: Millis = 200;

export class SimulatedPrimary {
  readonly disk: FakeDisk;
  readonly #options: SimulatedPrimaryOptions;
  #process: Process | undefined;
  /** A process that is started from now on has the late streams too. */
  declaresAll: boolean;
  /** While true, questions to its log may fail. */
  #hasFaults = true;
  #isClosing = false;
  #lives = 0;
  #bursts = { atMs: 0, bytes: new Map<StreamName, number>() };
  #largestBurstBytes = 0;

  constructor(options: SimulatedPrimaryOptions) {
    this.#options = options;
    this.disk = options.disk;
    this.declaresAll = options.shape.lateStreams === 0;
  }

  get isUp(): boolean {
    return this.#process !== undefined;
  }

  /** The running process, once it is open. */
  get life(): PrimaryLife | undefined {
    return this.#process?.life.primary === undefined ? undefined : this.#process.life;
  }

  start(): void {
    if (this.isUp) return;
    const { name, shape, clock, random, committed, parts, tell } = this.#options;
    if (random.next() < 0.5) this.declaresAll ||= this.#lives > 0;
    const declared = this.declaresAll ? shape.declarations : shape.declarations.slice(0, -shape.lateStreams);
    const outcry = new Outcry((thrown) => tell({ kind: 'threw', thrown: describeThrown(thrown) }));
    const processClock = new OutcryClock(clock, outcry);
    const log = parts.makeLog({
      name,
      disk: this.disk,
      clock: processClock,
      random,
      committed,
      ...shape.log,
      wallPace: WALL_PACE,
      onThrown: (thrown) => outcry.hear(() => raise(thrown)),
    });
    const life = new PrimaryLife({ machine: name, number: ++this.#lives, log, declared, nowMs: clock.now() });
    if (!this.#hasFaults) log.endFaults();
    const process: Process = { clock: processClock, outcry, life, declared, ends: new Map() };
    this.#process = process;
    this.#isClosing = false;
    this.#open(process).catch((thrown: unknown) => tell({ kind: 'threw', thrown: describeThrown(thrown) }));
  }

  append(stream: StreamName, rows: readonly WorldRow[]): void {
    const { life } = this;
    if (life?.primary === undefined || this.#isClosing || !life.has(stream)) return;
    const { tell, clock, committed, onAppended } = this.#options;
    const { batch } = rows[0]!;
    const to = life.isDurable(stream) ? undefined : life.volatile(stream);
    if (to !== undefined) this.#measureBurst(stream, rows);
    append(life.primary, stream, rows).then(
      (at) => {
        if (life !== this.life) return;
        const own = { token: at.token, batch, rows: rows.length, committedAtMs: clock.now() };
        const node = life.handleAppended(to, own, committed);
        tell({ kind: 'acknowledged', batch, node, life });
        if (node !== undefined) onAppended(at, node);
      },
      (thrown: unknown) => tell({ kind: 'threw', thrown: `append: ${messageOf(thrown)}` }),
    );
  }

  /** @returns whether there was such a stream */
  delete(stream: StreamName): boolean {
    const { life } = this;
    if (life?.primary === undefined || this.#isClosing || !life.has(stream) || life.head(stream).depth === 0) {
      return false;
    }
    const { tell } = this.#options;
    const node = life.head(stream);
    tell({ kind: 'deleting', node, life });
    life.handleDeleting(stream);
    deleteStream(life.primary, stream).then(
      () => tell({ kind: 'deleted', node, life }),
      (thrown: unknown) => tell({ kind: 'threw', thrown: `delete: ${messageOf(thrown)}` }),
    );
    return true;
  }

  /** From now on its log answers every question. */
  endFaults(): void {
    this.#hasFaults = false;
    this.#process?.life.log.endFaults();
  }

  trim(stream: StreamName, upTo: Token): void {
    if (this.#isClosing) return;
    this.life?.primary?.trim(stream, upTo).catch((thrown: unknown) => {
      this.#options.tell({ kind: 'threw', thrown: `trim: ${messageOf(thrown)}` });
    });
  }

  /**
   * Ends in good order: tells every worker, and finishes appends. `then` is called when the process
   * is gone.
   */
  close(then: () => void): void {
    const process = this.#process;
    const primary = process?.life.primary;
    if (process === undefined || primary === undefined || this.#isClosing) return;
    const { clock, shape, tell, path, network } = this.#options;
    this.#isClosing = true;
    process.life.freeze();
    for (const end of process.ends.values()) end.link.excuse ??= 'the primary closes';
    const maxMs = shape.primaryLimits.flushTimeoutMs + shape.primaryLimits.stalledTimeoutMs + CLOSE_SLACK_MS;
    clock.wakeIn(maxMs, () => {
      if (this.#process === process) tell({ kind: 'lingers', who: process.life.name, ms: maxMs });
    });
    primary.close().then(
      () => {
        if (this.#process !== process) return;
        network.refuse(path);
        this.#end(process);
        then();
      },
      (thrown: unknown) => tell({ kind: 'threw', thrown: `close: ${describeThrown(thrown)}` }),
    );
  }

  /**
   * Ends at once, as it is. `isSilent`: its machine ends too, so the other ends are told nothing.
   */
  kill({ isSilent, losesTail = false }: { isSilent: boolean; losesTail?: boolean }): void {
    const process = this.#process;
    if (process === undefined) return;
    const { network, path, random, tell } = this.#options;
    network.refuse(path);
    for (const end of process.ends.values()) this.#tellHeld(end);
    this.#end(process);
    network.kill(process.ends.values(), isSilent);
    if (!losesTail) return;
    this.disk.loseTail(random);
    tell({ kind: 'history-changed' });
  }

  /** An older copy replaces the disk. */
  restore(copy: DiskState): void {
    this.disk.restore(copy);
    this.#options.tell({ kind: 'history-changed' });
  }

  /** Reports the most memory that its sessions held. */
  tellHeld(): void {
    for (const end of this.#process?.ends.values() ?? []) this.#tellHeld(end);
  }

  async #open(process: Process): Promise<void> {
    const { shape, path, parts, tell, name, random } = this.#options;
    const transport = this.#transport(process);
    const primary = await parts.makePrimary({
      name: `${name}.example.com`,
      log: process.life.log,
      streams: process.declared,
      limits: { ...shape.primaryLimits, maxBatchBytes: shape.batchLimits.maxBatchBytes },
      slowConsumer: shape.slowConsumer,
      tailBytes: shape.tailBytes,
      transport,
      clock: process.clock,
      random,
    });
    if (this.#process !== process) return;
    process.life.begin(primary);
    this.#listen(process, primary);
    tell({ kind: 'primary-opened', life: process.life });
    await primary.listen({ path });
  }

  #listen(process: Process, primary: Primary): void {
    const { shape, random, tell } = this.#options;
    const mayThrow = (): void => {
      if (random.next() * 100 < shape.listenersThrowPercent) throw new PlannedError('a listener of the primary throws');
    };
    primary.on('appended', mayThrow);
    primary.on('connected', mayThrow);
    primary.on('named', mayThrow);
    primary.on('command', mayThrow);
    primary.on('warning', ({ worker, error }) => {
      if (this.#process !== process) return;
      this.#handleWarning(process, primary, worker, error);
      mayThrow();
    });
    primary.on('disconnected', mayThrow);
    primary.on('error', (error) => tell({ kind: 'threw', thrown: `${process.life.name}: ${error.message}` }));
  }

  #handleWarning(
    process: Process,
    primary: Primary,
    { id, peer }: { readonly id: number; readonly peer: string },
    error: RowcastError,
  ): void {
    const { tell, shape, clock } = this.#options;
    const end = process.ends.get(peer);
    if (end === undefined) return;
    const { idleTimeoutMs, stalledTimeoutMs, maxLagRows } = shape.primaryLimits;
    const now = clock.now();
    if (error.code === 'IDLE_TIMEOUT') {
      tell({ kind: 'called-silent', who: peer, healthyMs: now - end.link.lastTroubleAt, idleTimeoutMs });
    } else if (error.code === 'SLOW_CONSUMER') {
      const sent = sentTokens(primary, id);
      const tookNoByteMs = now - end.tookAt;
      // Rows of a volatile stream are hinted before their append resolves and reports them here.
      clock.wakeIn(0, () => {
        const lagRows = Math.max(0, ...sent.map(({ stream, token }) => this.#lagRows(process.life, stream, token)));
        tell({ kind: 'called-slow', who: peer, tookNoByteMs, stalledTimeoutMs, lagRows, maxLagRows });
      });
    } else if (REFUSALS.has(error.code) || (error.code === 'LOG_UNAVAILABLE' && shape.log.failsPercent > 0)) {
      return;
    } else {
      tell({ kind: 'threw', thrown: `${peer} failed: ${error.code} ${error.message}` });
    }
    end.link.excuse ??= error.code;
  }

  /** The largest lag that the primary may have seen. */
  #lagRows(life: PrimaryLife, stream: StreamName, token: Token): number {
    // Rows read before their hint comes count as lag once it has come.
    if (this.#options.shape.log.maxHintMs > 0) return Infinity;
    // When a hint brought no rows, tokens are counted instead. Rows may be gone by now.
    const lags = life.ever(stream).map(({ head, latest }) => latest - token + rowsAfter(head, token));
    return Math.max(...lags);
  }

  #transport(process: Process): Transport {
    const { network, parts } = this.#options;
    return {
      connect: () => raise(new Error('a primary does not connect')),
      listen: async (address, accept) => {
        const { path } = address as { path: string };
        return network.listen(path, (end) => {
          process.ends.set(end.peer, end);
          end.link.life = process.life;
          const handler = accept(parts.connection(end, 'primary'));
          const tellHeld = (): void => {
            process.ends.delete(end.peer);
            this.#tellHeld(end);
          };
          return process.outcry.handler({
            handleOpen: () => handler.handleOpen(),
            handleBytes: (chunk) => handler.handleBytes(chunk),
            handleDrained: () => handler.handleDrained(),
            handleClosed: (error) => {
              tellHeld();
              handler.handleClosed(error);
            },
          });
        });
      },
    };
  }

  #end(process: Process): void {
    this.#process = undefined;
    process.clock.kill();
    process.life.end();
  }

  /** Appends to a volatile stream in one turn become one chunk. */
  #measureBurst(stream: StreamName, rows: readonly WorldRow[]): void {
    const now = this.#options.clock.now();
    if (this.#bursts.atMs !== now) this.#bursts = { atMs: now, bytes: new Map() };
    let bytes = this.#bursts.bytes.get(stream) ?? 0;
    for (const row of rows) bytes += Buffer.byteLength(JSON.stringify(row)) + LINE_HEAD_BYTES;
    this.#bursts.bytes.set(stream, bytes);
    this.#largestBurstBytes = Math.max(this.#largestBurstBytes, bytes);
  }

  #tellHeld(end: LinkEnd): void {
    const { shape, tell } = this.#options;
    const largestChunkBytes = Math.max(end.link.life!.log.largestChunkBytes, this.#largestBurstBytes);
    const shortLinesBytes = SHORT_LINES_BYTES + shape.names.length * SHORT_LINES_BYTES_PER_STREAM;
    // One page of each log, which ends with the chunk that reaches pageBytes, and the short lines
    // sent meanwhile. Both logs are read at once where they take their time.
    const maxPages = shape.log.maxReadMs > 0 ? 2 : 1;
    const maxBytes = maxPages * (shape.primaryLimits.pageBytes + largestChunkBytes) + shortLinesBytes;
    tell({
      kind: 'held',
      who: end.peer,
      what: 'bytes that the socket had not taken',
      bytes: end.peakUnsentBytes,
      maxBytes,
    });
  }
}

const LINE_HEAD_BYTES = 60;
const SHORT_LINES_BYTES = 600;
/** REFUSED, the answer to the next request, and what moves without rows. */
const SHORT_LINES_BYTES_PER_STREAM = 400;

export function raise(error: unknown): never {
  throw error;
}

export function describeThrown(thrown: unknown): string {
  return thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
}
