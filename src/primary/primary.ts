/**
 * The public class of the process that appends: streams, listeners, connections. Knows nothing of
 * lines.
 */

import { type Clock, type Millis, systemClock } from '../base/clock.ts';
import { within } from '../base/deadline.ts';
import { resolvable } from '../base/resolvable.ts';
import { systemRandom } from '../base/random.ts';
import type { LogTrouble } from '../log/commit-watch.ts';
import {
  type AppendOptions,
  type BackupOptions,
  backupTable,
  type CuttingEvent,
  type Log,
  type LogHealth,
} from '../log/log.ts';
import { memoryLog } from '../log/memory.ts';
import { type BatchLimits, defaultBatchLimits } from '../core/model/batch.ts';
import type { Declaration, DeclaredOnce } from '../core/model/declarations.ts';
import { LogError, quote, RowcastError, UsageError } from '../core/model/errors.ts';
import { guardLogger, type LogFields, type Logger, PeerLogger, silentLogger } from '../core/model/logger.ts';
import { anyText, filePath, oneLine } from '../core/model/option-kinds.ts';
import { checkArgument, checkOptions } from '../core/model/options.ts';
import { nameOf, type Stream, type StreamName, type WorkerName } from '../core/model/stream.ts';
import type { Position } from '../core/model/position.ts';
import { encodeAttributes } from '../core/model/attributes.ts';
import { encodeRows, keepTexts, type RowText } from '../core/model/row.ts';
import { type Token, token } from '../core/model/token.ts';
import { encodeCommand } from '../core/wire/codec.ts';
import { defaultPrimaryLimits, mergeLimits, type PrimaryLimits } from '../core/wire/limits.ts';
import { PrimarySession, type PrimarySessionEvent } from '../core/sessions/primary-session.ts';
import { Emitter } from '../events/emitter.ts';
import { tcpTransport } from '../transport/tcp.ts';
import {
  type Address,
  formatAddress,
  type ListenAddress,
  type Listener,
  type Transport,
} from '../transport/transport.ts';
import { Acknowledgements } from './acknowledgements.ts';
import { Appended, type AppendedTexts } from './appended.ts';
import {
  type BatchOptions,
  batchTable,
  type CloseOptions,
  closeTable,
  type ConnectedWorker,
  type ConnectionStatus,
  type PrimaryEvents,
  type PrimaryOptions,
  type PrimaryStatus,
  primaryTable,
  type StreamStatus,
} from './options.ts';
import { noBackup } from './temporary-backup.ts';
import { SessionPump } from './session-pump.ts';
import { pageOfNames, type StatusOptions, statusTable } from './status-page.ts';
import { StreamCatalog } from './stream-catalog.ts';

const defaultLimits: PrimaryLimits & { readonly maxBatchBytes: number } = Object.freeze({
  ...defaultPrimaryLimits,
  maxBatchBytes: defaultBatchLimits.maxBatchBytes,
});
const DEFAULT_TAIL_BYTES = 64 * 1024 * 1024;

/** The most holders of one stream that a status lists. */
const MAX_STATUS_HOLDERS = 20;
/** How many connections an error names. */
const MOST_NAMED = 5;

/**
 * Opens the log and makes a primary. `listen` lets workers in.
 * @throws UsageError DUPLICATE_STREAM, INVALID_OPTION; LogError
 * @example
 * const primary = await createPrimary({ name: 'main', log: memoryLog(), streams: [orders] });
 * await primary.listen({ host: '127.0.0.1', port: 9092 });
 */
export async function createPrimary<const Streams extends readonly (Declaration | StreamName)[]>(
  options: PrimaryOptions & { readonly streams: Streams & DeclaredOnce<Streams> },
): Promise<Primary> {
  const primary = new Primary(options);
  await primary.open();
  return primary;
}

/** The options as a log takes them. Undefined where there are none, which is the usual case. */
function storedOptions(stream: StreamName, options: BatchOptions | undefined): AppendOptions | undefined {
  if (options === undefined) return undefined;
  const { attributes, id, token: given } = checkOptions('append', options, batchTable);
  if (attributes === undefined && id === undefined && given === undefined) return undefined;
  return {
    ...(attributes !== undefined && { attributes: encodeAttributes(stream, attributes) }),
    ...(id !== undefined && { id }),
    ...(given !== undefined && { token: token(given) }),
  };
}

class OpenConnection implements ConnectedWorker {
  readonly id: number;
  readonly connectedAtMs: Millis;
  readonly pump: SessionPump;
  readonly logger: PeerLogger;

  constructor(id: number, connectedAtMs: Millis, pump: SessionPump, logger: PeerLogger) {
    this.id = id;
    this.connectedAtMs = connectedAtMs;
    this.pump = pump;
    this.logger = logger;
  }

  get name(): string | undefined {
    return this.pump.session.workerName;
  }

  get peer(): string {
    return this.pump.connection.peer;
  }
}

/** The process that appends rows and serves workers. Made by createPrimary. */
export class Primary extends Emitter<PrimaryEvents> {
  readonly name: string;
  readonly #options: PrimaryOptions;
  readonly #limits: typeof defaultLimits;
  readonly #catalog: StreamCatalog;
  readonly #transport: Transport;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #listeners = new Set<Listener>();
  /** Listeners that are being opened. */
  readonly #opening = new Set<Promise<Address>>();
  readonly #connections = new Set<OpenConnection>();
  readonly #acknowledgements: Acknowledgements<OpenConnection>;
  readonly #appended = new Appended({
    hasListeners: () => this.listenerCount('appended') > 0,
    emit: (batch) => this.emit('appended', batch),
    boundsOf: (stream) => this.#catalog.find(stream).bounds,
  });
  #lastId = 0;
  #closing: Promise<void> | undefined;
  /** Rejects when a close gives up. */
  readonly #abandoned = resolvable<void>();
  /** What a close waits for. */
  #phase: 'listeners' | 'connections' | 'log' = 'listeners';
  #handleAllClosed: (() => void) | undefined;

  /** @internal Use createPrimary. */
  constructor(given: PrimaryOptions) {
    // Checked here, before the log is open, so that nothing stays open after a bad option.
    const options = checkOptions('createPrimary', given, primaryTable);
    const clock = options.clock ?? systemClock;
    super(clock);
    const { tailBytes = DEFAULT_TAIL_BYTES, idRetentionMs } = options;
    this.name = options.name;
    this.#options = options;
    this.#limits = mergeLimits('createPrimary', defaultLimits, options.limits);
    this.#transport = options.transport ?? tcpTransport;
    this.#clock = clock;
    this.#logger = guardLogger(options.logger ?? silentLogger, clock);
    this.#catalog = new StreamCatalog({
      streams: options.streams,
      log: options.log,
      ...(options.sources && { sources: options.sources }),
      volatileLog: memoryLog({ clock: this.#clock, random: options.random ?? systemRandom }),
      limits: this.#limits,
      tailBytes,
      sourceTimeoutMs: this.#limits.sourceTimeoutMs,
      clock: this.#clock,
      idRetentionMs,
    });
    this.#acknowledgements = new Acknowledgements<OpenConnection>({
      sessionOf: ({ pump }) => pump.session,
      holdersOf: (stream) => this.#catalog.holdersOf(stream),
      onRefused: (worker, error) => this.#warn(worker, error),
    });
    this.#catalog.watch({
      handleRows: (stream) => {
        for (const { pump } of this.#connections) pump.handleHint(stream);
      },
      handleMade: (stream) => {
        this.#acknowledgements.handleMade(stream);
        for (const { pump } of this.#connections) pump.handleMade(stream);
      },
      handleDeleted: (stream) => {
        for (const { pump } of this.#connections) pump.handleDeleted(stream);
      },
      handleRebased: (stream) => {
        for (const { pump } of this.#connections) pump.handleRebased(stream);
      },
      handleEra: (era) => {
        for (const { pump } of this.#connections) pump.handleEra(era);
      },
      handleCutting: (event) => this.#handleCutting(event),
    });
  }

  /** @internal Use createPrimary. */
  async open(): Promise<void> {
    await this.#catalog.open();
  }

  /** The log of the durable streams. */
  get log(): Log {
    return this.#options.log;
  }

  /**
   * Writes a copy of the durable log into a new file, while appends go on. The copy begins an era
   * of its own when it is opened.
   * @throws UsageError NOT_SUPPORTED, CLOSED; LogError; the signal's reason
   * @example
   * await primary.backup('/backups/2026-12-01.db');
   */
  async backup(path: string, options?: BackupOptions): Promise<void> {
    this.#checkOpen();
    const { log } = this;
    checkArgument('backup', 'path', path, filePath);
    const checked = checkOptions('backup', options, backupTable);
    if (log.backup === undefined) throw noBackup(log);
    await log.backup(path, checked);
  }

  /** The limits of rows and batches. Anything over them is refused. */
  get limits(): BatchLimits {
    return this.#limits;
  }

  /**
   * The definition of a stream: the one that was declared by this name, or that of the pattern that
   * matches it. Undefined when there is none.
   */
  stream(name: StreamName): Stream | undefined {
    return this.#catalog.declared(name);
  }

  /**
   * Lets workers in at one more address. Resolves to that address, with the real port in place of
   * port 0.
   * @throws UsageError ADDRESS_IN_USE, ADDRESS_UNAVAILABLE, PLAINTEXT_REFUSED, INVALID_OPTION,
   *   CLOSED
   */
  async listen(address: ListenAddress): Promise<Address> {
    this.#checkOpen();
    const opening = this.#openListener(address);
    this.#opening.add(opening);
    try {
      return await opening;
    } finally {
      this.#opening.delete(opening);
    }
  }

  async #openListener(address: ListenAddress): Promise<Address> {
    const listener = await this.#transport.listen(address, (connection) => {
      const id = ++this.#lastId;
      const session = new PrimarySession({
        serverName: this.name,
        streams: this.#catalog,
        limits: this.#limits,
        slowConsumer: this.#options.slowConsumer ?? 'disconnect',
        trimmed: this.#options.trimmed ?? 'serve',
      });
      const pump = new SessionPump({
        connection,
        session,
        catalog: this.#catalog,
        clock: this.#clock,
        onEvent: (event) => this.#handleEvent(open, event),
        onClosed: ({ reason, error }) => this.#handleClosed(open, reason ?? error),
      });
      const logger = new PeerLogger(this.#logger, () => this.#clock.now());
      const open = new OpenConnection(id, Math.round(this.#clock.now()), pump, logger);
      this.#connections.add(open);
      logger.info({ worker: id, peer: connection.peer }, 'worker connected');
      this.emit('connected', { worker: open });
      return pump;
    });
    if (this.#closing !== undefined) {
      await listener.close();
      this.#checkOpen();
    }
    this.#listeners.add(listener);
    this.#logger.info({ address: formatAddress(listener.address) }, 'listening');
    return listener.address;
  }

  /**
   * Appends rows as one batch. Resolves to its position when it is durable. A worker gets the whole
   * batch or nothing.
   * @throws UsageError NO_SUCH_STREAM, DUPLICATE_STREAM (another definition than the declared one),
   *   INVALID_ROW, INVALID_ATTRIBUTES, INVALID_OPTION, ROW_TOO_LARGE, BATCH_TOO_LARGE, ID_REUSED,
   *   TOKEN_FELL, CLOSED; LogError
   * @example
   * const position = await primary.append('orders', [{ id: 7, state: 'paid' }]);
   */
  append<In>(
    stream: Stream<In, unknown> | StreamName,
    rows: readonly NoInfer<In>[],
    options?: BatchOptions,
  ): Promise<Position> {
    try {
      this.#checkOpen();
      const name = this.#declaredName(stream);
      // Encoded before anything is awaited, so that later changes to the rows do not reach the
      // batch.
      return this.#append(name, encodeRows(name, rows), options, rows);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Appends rows that are JSON texts as one batch, and keeps each text as it is: `1.10`,
   * `9007199254740993`, `{"a":1,"a":2}` and `"\u00e9"` reach the workers unchanged. Each text is
   * one JSON value with at most 500 arrays and objects within each other. White space around it is
   * cut off, and tabs and line ends between its tokens become spaces. A validator of the stream and
   * `appended` listeners get the parsed values. Otherwise the same as `append`.
   * @throws the errors of `append`
   * @example
   * await primary.appendTexts('prices', ['{"amount":1.10}']);
   */
  appendTexts(stream: Stream | StreamName, texts: readonly string[], options?: BatchOptions): Promise<Position> {
    try {
      return this.appendKeptTexts(stream, keepTexts(nameOf(stream), texts), options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** @internal For texts that keepText has made. */
  appendKeptTexts(stream: Stream | StreamName, texts: readonly RowText[], options?: BatchOptions): Promise<Position> {
    try {
      this.#checkOpen();
      const name = this.#declaredName(stream);
      return this.#append(name, texts, options, undefined);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * @internal Tells of each batch that was appended here and is durable, before any listener of
   * `appended` is called. Caches hear of invalidations by it.
   */
  watchAppended(watcher: (batch: AppendedTexts) => void): void {
    this.#appended.watch(watcher);
  }

  /**
   * Drops the rows with token <= upTo. A worker that still needs them gets GAP.
   * @throws UsageError NO_SUCH_STREAM, READ_ONLY_STREAM, DUPLICATE_STREAM, INVALID_TOKEN, CLOSED; LogError
   */
  async trim(stream: Stream | StreamName, upTo: Token): Promise<void> {
    this.#checkOpen();
    await this.#catalog.trim(this.#declaredName(stream), token(upTo));
  }

  /**
   * Deletes a stream: its rows, and the ids of its appends. Its workers are told, as `onReset` of
   * their subscriptions says, and others that look for it find it empty. The next append makes the
   * stream again, with tokens from 1, in another history. Resolves when the deletion is durable;
   * the rows are cleared away after that. A stream that is not made stays as it is.
   * @throws UsageError NO_SUCH_STREAM, READ_ONLY_STREAM, DUPLICATE_STREAM, CLOSED; LogError
   * @example
   * await primary.delete('room:42');
   */
  async delete(stream: Stream | StreamName): Promise<void> {
    this.#checkOpen();
    await this.#catalog.delete(this.#declaredName(stream));
  }

  /**
   * Lets go of what a worker holds of all streams (`retain.untilSavedBy`), for one that is gone for
   * good. Resolves to the names of the streams that it held back. It holds rows again when it
   * follows again. A name of no worker holds nothing, and nothing happens.
   * @throws UsageError INVALID_OPTION, CLOSED; LogError
   * @example
   * await primary.forgetWorker('reader-7');
   */
  async forgetWorker(name: WorkerName): Promise<readonly StreamName[]> {
    this.#checkOpen();
    checkArgument('forgetWorker', 'name', name, oneLine);
    const streams = await this.#catalog.forgetWorker(name);
    this.#logger.info({ workerName: name, streams: streams.length }, `worker ${quote(name)} is forgotten`);
    return streams;
  }

  /**
   * Sends SYNC to every connected worker, and each emits `sync`. A test aid: what was sent before
   * has come by then.
   * @throws UsageError INVALID_OPTION, INVALID_COMMAND (an empty text, a line end), CLOSED
   */
  sync(text: string): void {
    this.#checkOpen();
    checkArgument('sync', 'text', text, anyText);
    // Refused also while nobody is connected.
    encodeCommand({ name: 'SYNC', text });
    for (const { pump } of this.#connections) pump.handleSync(text);
  }

  /**
   * The position of the newest settled row of a stream. A worker that has reached it has seen
   * everything appended so far. Token 0 for a stream that is not made yet.
   * @throws UsageError NO_SUCH_STREAM
   */
  position(stream: Stream | StreamName): Position {
    const name = nameOf(stream);
    const { latest, history } = this.#catalog.find(name).bounds;
    return { stream: name, token: latest, history };
  }

  /** Health of the durable log. */
  get health(): LogHealth {
    return this.#options.log.health;
  }

  /**
   * What is wrong with the durable log when its last commit failed or took over a second, or when
   * it has failed.
   */
  get logTrouble(): LogTrouble | undefined {
    return this.#options.log.trouble;
  }

  /**
   * The present state of the log, the connections, and a page of the streams.
   * @throws UsageError INVALID_OPTION for a limit that is no positive integer
   * @example
   * let page = primary.status();
   * while (page.next !== undefined) page = primary.status({ after: page.next });
   */
  status(given?: StatusOptions): PrimaryStatus {
    const options = checkOptions('status', given, statusTable);
    const { names, hasMore } = pageOfNames(this.#catalog.listed(), options);
    const logsOwn = options.after === undefined && options.match === undefined ? this.#catalog.catalogs : [];
    return {
      name: this.name,
      log: this.health,
      logTrouble: this.logTrouble,
      patterns: this.#catalog.patterns,
      streams: names.map((name) => this.#statusOf(name)),
      next: hasMore ? names[names.length - 1] : undefined,
      connections: Array.from(this.#connections, (open) => connectionStatus(open, [...logsOwn, ...names])),
    };
  }

  #statusOf(stream: StreamName): StreamStatus {
    const { source, declaration, bounds } = this.#catalog.find(stream);
    const { earliest, latest, history } = bounds;
    const status = { stream, source: source.name, durable: declaration?.durable, earliest, latest, history };
    const holders = this.#catalog.holdersOf(stream);
    if (holders === undefined) return status;
    try {
      const listed = holders.of(stream, MAX_STATUS_HOLDERS).map((holder) => ({
        ...holder,
        connected: this.#acknowledgements.isFollowing(holder.worker, stream),
      }));
      return { ...status, holders: listed, holderCount: holders.count(stream) };
    } catch (error) {
      // A stream that is damaged, or a log that has stopped, must not hide what else there is.
      if (error instanceof RowcastError) return status;
      throw error;
    }
  }

  /**
   * Stops listening, ends all connections, finishes pending appends and closes the log. With
   * `timeoutMs`, what has not ended by then is abandoned.
   * @throws LogError STOP_TIMEOUT (it names what did not end), and those of the log; UsageError
   *   INVALID_OPTION
   */
  async close(options?: CloseOptions): Promise<void> {
    const { timeoutMs } = checkOptions('close', options, closeTable);
    this.#closing ??= Promise.race([this.#close(), this.#abandoned.promise]);
    await within(this.#clock, timeoutMs, this.#closing, (afterMs) => this.#abandon(afterMs));
  }

  /** For `await using`: closes or stops it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Goes on without what has not ended. */
  #abandon(timeoutMs: Millis): LogError {
    const peers = Array.from(this.#connections, ({ name, peer }) => name ?? peer);
    const named = peers.slice(0, MOST_NAMED);
    const what = {
      listeners: { text: 'a listener has not closed', unfinished: [{ what: 'listener' }] },
      connections: {
        text: `${peers.length === 1 ? 'a connection has' : `${peers.length} connections have`} not ended (${quote(named.join(', '))})`,
        unfinished: named.map((peer) => ({ what: 'connection', peer })),
      },
      log: { text: `log ${this.log.name} has not closed`, unfinished: [{ what: 'log' }] },
    };
    const { text: reason, unfinished } = what[this.#phase];
    const text = `primary ${this.name} did not close within ${timeoutMs} ms: ${reason}`;
    const error = new LogError('STOP_TIMEOUT', text, { facts: { timeoutMs, unfinished } });
    this.#logger.error({ code: error.code }, text);
    this.#abandoned.reject(error);
    for (const { pump } of this.#connections) pump.connection.abort();
    return error;
  }

  async #close(): Promise<void> {
    // What comes later is ended in any case, so that the log is closed.
    const abandoned = this.#abandoned.promise.catch(() => {});
    const closing = [...this.#listeners].map(async (listener) => listener.close());
    // One that is still being opened closes itself.
    await Promise.race([Promise.all([...closing, Promise.allSettled(this.#opening)]), abandoned]);
    this.#phase = 'connections';
    try {
      // Sessions end before the log closes: a session that reads from a closed log would blame the
      // log.
      await Promise.race([this.#stopSessions(), abandoned]);
    } finally {
      this.#phase = 'log';
      await this.#catalog.close();
    }
  }

  async #stopSessions(): Promise<void> {
    if (this.#connections.size === 0) return;
    const allClosed = new Promise<void>((resolve) => {
      this.#handleAllClosed = resolve;
    });
    for (const { pump } of this.#connections) pump.handleStop();
    await allClosed;
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw this.#closedError();
  }

  /**
   * Refuses a definition whose rows are others than those of the declared one.
   * @throws UsageError DUPLICATE_STREAM
   */
  #declaredName(stream: Stream | StreamName): StreamName {
    if (typeof stream === 'string') return stream;
    const name = nameOf(stream);
    const { row } = stream;
    const declared = this.#catalog.declared(name);
    // A stream that is not declared is refused where it is looked for.
    if (declared === undefined || declared.row === row) return name;
    throw new UsageError(
      'DUPLICATE_STREAM',
      `stream ${name} is declared with another validator than this definition has: ` +
        'use the definition that createPrimary was given',
      { facts: { stream: name } },
    );
  }

  /** @param values of the texts, where they are known */
  #append(
    stream: StreamName,
    texts: readonly RowText[],
    options: BatchOptions | undefined,
    values: readonly unknown[] | undefined,
  ): Promise<Position> {
    const stored = storedOptions(stream, options);
    if (!this.#appended.isWatched) return this.#catalog.append(stream, texts, { values, options: stored });
    const { attributes, id } = stored ?? {};
    return this.#appended.append({ stream, texts, attributes, id, given: values ?? texts }, () =>
      this.#catalog.append(stream, texts, { values, options: stored }),
    );
  }

  #closedError(): UsageError {
    return new UsageError('CLOSED', `primary ${this.name} is closed`);
  }

  #handleEvent(worker: OpenConnection, event: PrimarySessionEvent): void {
    const fields = fieldsOf(worker);
    const { logger } = worker;
    switch (event.kind) {
      case 'command':
        this.emit('command', { command: event.command, worker });
        return;
      case 'refused':
      case 'failed':
        return this.#warn(worker, event.error);
      case 'peer-error':
        logger.warn(fields, `the worker sent ERROR ${quote(event.text)}`);
        this.emit('peer-error', { worker, text: event.text });
        return;
      case 'named':
        logger.debug(fields, event.kind);
        this.#acknowledgements.handleNamed(worker, event.workerName);
        this.emit('named', { worker, name: event.workerName });
        return;
      case 'acknowledged':
        return this.#acknowledgements.handleAcknowledged(worker, event.stream);
      case 'subscribed':
        logger.debug({ ...fields, stream: event.stream, from: event.from }, event.kind);
        this.#acknowledgements.handleSubscribed(worker, event.stream, event.from);
        return;
      case 'live':
        logger.debug({ ...fields, stream: event.stream, token: event.token }, event.kind);
        return;
    }
  }

  #warn(worker: OpenConnection, error: RowcastError): void {
    worker.logger.warn({ ...fieldsOf(worker), code: error.code }, error.message);
    this.emit('warning', { worker, error });
  }

  #handleCutting({ stream, holder, upTo }: CuttingEvent): void {
    const { worker, saved, lagRows } = holder;
    const has = saved === undefined ? 'has saved nothing of it' : `has saved it up to ${saved.token}`;
    const text = `rows of stream ${stream} up to ${upTo} are about to be dropped: worker ${quote(worker)} ${has} and is ${lagRows} rows behind`;
    this.#logger.warn({ stream, workerName: worker, saved: saved?.token, lagRows, upTo }, text);
    this.emit('cutting', { stream, ...holder, upTo });
  }

  #handleClosed(worker: OpenConnection, error: Error | undefined): void {
    this.#connections.delete(worker);
    this.#acknowledgements.handleClosed(worker);
    worker.logger.end({ ...fieldsOf(worker), ...(error && { reason: error.message }) }, 'worker disconnected');
    this.emit('disconnected', { worker, error });
    if (this.#connections.size === 0) this.#handleAllClosed?.();
  }
}

function fieldsOf({ id, name, peer }: OpenConnection): LogFields {
  return { worker: id, workerName: name, peer };
}

function connectionStatus(
  { id, name, peer, connectedAtMs, pump }: OpenConnection,
  streams: readonly StreamName[],
): ConnectionStatus {
  const { connection, session } = pump;
  const { count, live } = session.replications;
  const subscriptions = count === 0 ? [] : streams.flatMap((stream) => session.subscription(stream) ?? []);
  return {
    id,
    name,
    peer,
    connectedAtMs,
    queueBytes: connection.unsentBytes,
    streams: count,
    liveStreams: live,
    subscriptions,
  };
}
