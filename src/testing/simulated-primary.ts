/** A primary process in a world: catalog, tails, sessions and their pumps are the real ones; logs, links and clock are not. */

import type { Clock } from '../base/clock.ts';
import { messageOf, type RowcastError } from '../core/model/errors.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import { SessionPump } from '../primary/session-pump.ts';
import { StreamCatalog } from '../primary/stream-catalog.ts';
import type { PrimarySession, PrimarySessionOptions } from '../core/sessions/primary-session.ts';
import type { CrashableLog } from './crashable-log.ts';
import type { LinkEnd } from './fake-link.ts';
import type { FakeNetwork } from './fake-network.ts';
import type { Happening, WorldRow } from './happening.ts';
import { batchesOf, type Truth } from './truth.ts';
import { ProcessClock } from './virtual-clock.ts';
import type { WorldShape } from './world-shape.ts';

export interface SimulatedPrimaryOptions {
  readonly shape: WorldShape;
  readonly clock: Clock;
  readonly network: FakeNetwork;
  readonly durableLog: CrashableLog;
  readonly volatileLog: CrashableLog;
  readonly truth: Truth;
  readonly makeSession: (options: PrimarySessionOptions) => PrimarySession;
  readonly tell: (happening: Happening) => void;
  /** Something asynchronous was begun: it runs before the clock moves on. */
  readonly onPromise: () => void;
}

export const SERVER_NAME = 'example.com';

interface Process {
  readonly clock: ProcessClock;
  readonly catalog: StreamCatalog;
  readonly connections: Map<LinkEnd, SessionPump>;
}

export class SimulatedPrimary {
  readonly #options: SimulatedPrimaryOptions;
  #process: Process | undefined;
  #isStopping = false;

  constructor(options: SimulatedPrimaryOptions) {
    this.#options = options;
  }

  get isUp(): boolean {
    return this.#process !== undefined;
  }

  logOf(stream: StreamName): CrashableLog {
    const { shape, durableLog, volatileLog } = this.#options;
    return shape.streams.find(({ name }) => name === stream)!.durable ? durableLog : volatileLog;
  }

  async start(): Promise<void> {
    const { shape, clock, network, durableLog, volatileLog } = this.#options;
    const catalog = new StreamCatalog({
      streams: shape.streams,
      log: durableLog,
      volatileLog,
      limits: shape.batchLimits,
      tailBytes: shape.tailBytes,
    });
    const process: Process = { clock: new ProcessClock(clock), catalog, connections: new Map() };
    await catalog.open();
    this.#process = process;
    this.#isStopping = false;
    for (const { name } of shape.streams) this.#tellRecovered(name);
    catalog.watch((stream) => {
      for (const connection of process.connections.values()) connection.handleHint(stream);
    });
    network.listen((end) => this.#accept(process, end));
  }

  append(stream: StreamName, rows: readonly WorldRow[]): void {
    const process = this.#process;
    if (process === undefined || this.#isStopping) return;
    this.#options.onPromise();
    process.catalog.append(stream, rows).then(
      () => {
        if (process === this.#process) this.#options.tell({ kind: 'acknowledged', batch: rows[0]!.batch });
      },
      (thrown: unknown) => this.#options.tell({ kind: 'threw', thrown: `append: ${messageOf(thrown)}` }),
    );
  }

  /** Ends in good order: says so to everyone, and lets them go. */
  async stop(): Promise<void> {
    const process = this.#process;
    if (process === undefined) return;
    this.#isStopping = true;
    this.#options.network.refuse();
    for (const connection of process.connections.values()) connection.handleStop();
    await process.catalog.close();
  }

  /** Dies at once, as it stands. */
  kill(isSilent: boolean): void {
    const process = this.#process;
    if (process === undefined) return;
    const { network, durableLog, volatileLog } = this.#options;
    this.#process = undefined;
    network.refuse();
    process.clock.kill();
    for (const end of process.connections.keys()) this.#tellHeld(end);
    network.kill(process.connections.keys(), isSilent);
    durableLog.crash();
    volatileLog.crash();
  }

  /** What the sessions held at most. */
  tellHeld(): void {
    for (const end of this.#process?.connections.keys() ?? []) this.#tellHeld(end);
  }

  #accept(process: Process, connection: LinkEnd): SessionPump {
    const { shape, makeSession } = this.#options;
    const session = makeSession({
      serverName: SERVER_NAME,
      streams: process.catalog,
      limits: shape.primaryLimits,
      slowConsumer: shape.slowConsumer,
    });
    const pump = new SessionPump({
      connection,
      session,
      catalog: process.catalog,
      clock: process.clock,
      onEvent: (event) => {
        if (event.kind === 'failed') this.#handleFailed(connection, session, event.error);
      },
      onClosed: () => {
        process.connections.delete(connection);
        this.#tellHeld(connection);
      },
    });
    process.connections.set(connection, pump);
    return pump;
  }

  #handleFailed(end: LinkEnd, session: PrimarySession, error: RowcastError): void {
    const { clock, shape, tell } = this.#options;
    const now = clock.now();
    if (error.code === 'IDLE_TIMEOUT') {
      tell({
        kind: 'called-silent',
        who: end.peer,
        healthyMs: now - end.link.lastTroubleAt,
        idleTimeoutMs: shape.primaryLimits.idleTimeoutMs,
      });
    } else if (error.code === 'SLOW_CONSUMER') {
      const lags = session.subscriptions.map(({ stream, position }) => this.#lagRows(stream, position));
      const { maxLagRows, stalledTimeoutMs } = shape.primaryLimits;
      tell({
        kind: 'called-slow',
        who: end.peer,
        tookNoByteMs: now - end.tookAt,
        stalledTimeoutMs,
        lagRows: Math.max(0, ...lags),
        maxLagRows,
      });
    } else if (error.code !== 'GAP') {
      tell({ kind: 'threw', thrown: `${end.peer} failed: ${error.code} ${error.message}` });
    }
  }

  /** The largest lag that the primary may have seen. */
  #lagRows(stream: StreamName, position: Token): number {
    const { shape, truth } = this.#options;
    // Rows that are read before their hint comes are counted as lag once it has come.
    if (shape.log.maxHintMs > 0) return Infinity;
    const { logId, latest } = truth.now(stream);
    // Where a hint brought no rows, tokens are counted in their place.
    return latest - position + truth.rowsAfter(logId, stream, position);
  }

  #tellRecovered(stream: StreamName): void {
    const log = this.logOf(stream);
    const { earliest, latest } = log.bounds(stream);
    const rows: WorldRow[] = [];
    for (let after = earliest - 1; after < latest; ) {
      // A page ends where an era does.
      const { lines, upTo } = log.readNow(stream, { after, maxBytes: Infinity });
      for (const batch of batchesOf(lines)) rows.push(...batch.rows);
      after = upTo;
    }
    this.#options.tell({ kind: 'recovered', stream, logId: log.id, earliest, rows });
  }

  #tellHeld(end: LinkEnd): void {
    const { durableLog, volatileLog, shape, tell } = this.#options;
    const largestChunkBytes = Math.max(durableLog.largestChunkBytes, volatileLog.largestChunkBytes);
    // One page, which ends with the chunk that reaches pageBytes, and the short lines that are sent meanwhile.
    const maxBytes = shape.primaryLimits.pageBytes + largestChunkBytes + SHORT_LINES_BYTES;
    tell({
      kind: 'held',
      who: end.peer,
      what: 'rows that the socket had not taken',
      bytes: end.peakUnsentBytes,
      maxBytes,
    });
  }
}

const SHORT_LINES_BYTES = 600;
