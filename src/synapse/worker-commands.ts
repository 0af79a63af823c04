/**
 * Commands from a worker to a primary, each as a function. Unreliable, as all commands are: they
 * are lost with the connection.
 */

import { type Clock, type Millis, systemClock } from '../base/clock.ts';
import { UsageError } from '../core/model/errors.ts';
import { abortSignal, anyText, clockKind, msFromZero } from '../core/model/option-kinds.ts';
import { checkArgument, checkOptions, type OptionTable } from '../core/model/options.ts';
import type { Token } from '../core/model/token.ts';
import { encodeCommandWithin } from '../core/wire/codec.ts';
import type { UpstreamCommand } from '../core/wire/command.ts';
import { workerKind } from '../worker/options.ts';
import { federation } from './federation.ts';
import type { Worker } from '../worker/worker.ts';

type FieldsOf<Name extends UpstreamCommand['name']> = Omit<Extract<UpstreamCommand, { name: Name }>, 'name'>;

/** Options of `SynapseCommands.sync`. */
export interface SyncOptions {
  /** Default 5,000. */
  readonly timeoutMs?: Millis;
  readonly signal?: AbortSignal;
}

const syncTable: OptionTable<SyncOptions> = { timeoutMs: msFromZero, signal: abortSignal() };

/** Options of `synapseCommands`. */
export interface SynapseCommandsOptions {
  readonly clock?: Clock;
}

const optionTable: OptionTable<SynapseCommandsOptions> = { clock: clockKind };

const DEFAULT_SYNC_TIMEOUT_MS = 5_000;

/**
 * Returns functions that send commands. Remembers syncing users, and reports them at each
 * connection.
 * @throws UsageError INVALID_OPTION; each function as `worker.send`
 */
export function synapseCommands(worker: Worker, options?: SynapseCommandsOptions): SynapseCommands {
  checkArgument('synapseCommands', 'worker', worker, workerKind);
  const { clock = systemClock } = checkOptions('synapseCommands', options, optionTable);
  return new SynapseCommands(worker, clock);
}

/** Commands of a worker. `synapseCommands` makes it. */
export class SynapseCommands {
  readonly #worker: Worker;
  readonly #clock: Clock;
  /**
   * The users who sync here, with the time last reported. A primary forgets them with the
   * connection.
   */
  readonly #syncing = new Map<string, Millis>();
  /** Waits for a SYNC. They share one listener of the worker. */
  readonly #waits = new Set<(text: string) => void>();
  /**
   * Users whose start was handed to the worker, to be sent now or after a reconnect. An end must
   * follow.
   */
  readonly #told = new Set<string>();

  /** The newest ack that waits until the federation stream is live. */
  #ack: Token | undefined;

  /** @internal Use synapseCommands. */
  constructor(worker: Worker, clock: Clock) {
    this.#worker = worker;
    this.#clock = clock;
    worker.on('live', ({ stream }) => {
      if (stream === federation.name) this.#sendAck();
    });
    worker.on('reset', ({ stream }) => {
      if (stream === federation.name) this.#ack = undefined;
    });
    worker.on('connected', () => {
      for (const [userId, lastSyncMs] of this.#syncing) this.#sendSync(userId, 'start', lastSyncMs);
    });
  }

  /** Reports that a user began to sync here, again after every reconnect until `endSync`. */
  startSync(userId: string): void {
    const now = this.#now;
    // Checked before it is remembered: a command that is too long would fail at every reconnect,
    // where no caller can be told.
    encodeCommandWithin(this.#worker.limits.maxLineBytes, {
      name: 'USER_SYNC',
      userId,
      state: 'start',
      lastSyncMs: now,
    });
    this.#syncing.set(userId, now);
    // While disconnected it is reported with all the others, at the next connection.
    if (this.#worker.isConnected) this.#sendSync(userId, 'start', now);
  }

  /** Reports that a user stopped syncing here. */
  endSync(userId: string): void {
    this.#syncing.delete(userId);
    // Sent while disconnected too: the start may be in a queue that outlives the connection.
    if (this.#told.delete(userId)) this.#sendSync(userId, 'end', this.#now);
  }

  /**
   * Reports that the federation stream was handled up to the token. Where this worker follows that
   * stream, the newest ack waits while it is not live, and is forgotten at a reset: a token of one
   * history says nothing of another.
   */
  federationAck(token: Token): void {
    if (this.#worker.position(federation) === undefined) {
      this.#worker.send({ name: 'FEDERATION_ACK', token }, { whenDisconnected: 'latest' });
    } else {
      this.#ack = token;
      if (this.#worker.isLiveOn(federation)) this.#sendAck();
    }
  }

  /** Asks the primary to remove a pusher. */
  removePusher(fields: FieldsOf<'REMOVE_PUSHER'>): void {
    this.#worker.send({ name: 'REMOVE_PUSHER', ...fields });
  }

  /** Null keys mean the whole cache. */
  invalidateCache(cacheName: string, keys: readonly string[] | null): void {
    this.#worker.send({ name: 'INVALIDATE_CACHE', cacheName, keys });
  }

  /** Reports that a user was seen. Times are ms since 1970. */
  userIp(fields: FieldsOf<'USER_IP'>): void {
    this.#worker.send({ name: 'USER_IP', ...fields });
  }

  /**
   * Resolves when the primary sends SYNC with this text: everything it sent before has then
   * arrived.
   * @throws UsageError INVALID_OPTION, WAIT_TIMEOUT; the signal's reason
   */
  async sync(text: string, options?: SyncOptions): Promise<void> {
    checkArgument('sync', 'the text', text, anyText);
    const { timeoutMs = DEFAULT_SYNC_TIMEOUT_MS, signal } = checkOptions('sync', options, syncTable);
    signal?.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const settle = (how: () => void): void => {
        timer.cancel();
        this.#waits.delete(hear);
        if (this.#waits.size === 0) this.#worker.off('sync', this.#handleSync);
        signal?.removeEventListener('abort', handleAbort);
        how();
      };
      const hear = (heard: string): void => {
        if (heard === text) settle(resolve);
      };
      const handleAbort = (): void => settle(() => reject(signal!.reason as Error));
      const timer = this.#clock.wakeIn(timeoutMs, () =>
        settle(() =>
          reject(
            new UsageError(
              'WAIT_TIMEOUT',
              `the primary did not send SYNC ${JSON.stringify(text)} within ${timeoutMs} ms`,
            ),
          ),
        ),
      );
      if (this.#waits.size === 0) this.#worker.on('sync', this.#handleSync);
      this.#waits.add(hear);
      signal?.addEventListener('abort', handleAbort, { once: true });
    });
  }

  #sendAck(): void {
    if (this.#ack === undefined) return;
    this.#worker.send({ name: 'FEDERATION_ACK', token: this.#ack }, { whenDisconnected: 'drop' });
    this.#ack = undefined;
  }

  readonly #handleSync = ({ text }: { readonly text: string }): void => {
    for (const hear of this.#waits) hear(text);
  };

  get #now(): Millis {
    return Math.floor(this.#clock.now());
  }

  #sendSync(userId: string, state: 'start' | 'end', lastSyncMs: Millis): void {
    if (state === 'start') this.#told.add(userId);
    this.#worker.send({ name: 'USER_SYNC', userId, state, lastSyncMs });
  }
}
