/**
 * The users who are syncing: USER_SYNC of all workers combined, as presence needs it. A lost
 * connection ends the syncs that its worker reported.
 */

import { type Millis, systemClock } from '../base/clock.ts';
import { Emitter } from '../events/emitter.ts';
import { checkArgument } from '../core/model/options.ts';
import type { Primary } from '../primary/primary.ts';
import { type PrimaryEvents, primaryKind } from '../primary/options.ts';

/** The events of `SyncingUsers`. */
export interface SyncingUsersEvents {
  /** The user started on a first worker. */
  started: [SyncingUser];
  /** The user stopped on the last worker, or that worker is gone. */
  stopped: [SyncingUser];
}

/** A user who is syncing. */
export interface SyncingUser {
  readonly userId: string;
  /** The newest sync time of this user, in ms since 1970. */
  readonly lastSyncMs: Millis;
}

/**
 * Follows USER_SYNC from now on. Keeps one entry for each user that a worker reported, until its
 * connection ends.
 * @throws UsageError INVALID_OPTION
 */
export function trackSyncingUsers(primary: Primary): SyncingUsers {
  checkArgument('trackSyncingUsers', 'primary', primary, primaryKind);
  return new SyncingUsers(primary);
}

interface Syncing {
  readonly connections: Set<number>;
  lastSyncMs: Millis;
}

/** The syncing users of a primary. `trackSyncingUsers` makes it. */
export class SyncingUsers extends Emitter<SyncingUsersEvents> {
  readonly #primary: Primary;
  readonly #users = new Map<string, Syncing>();
  /** The users of each connection, by its id. */
  readonly #byConnection = new Map<number, Set<string>>();

  /** @internal Use trackSyncingUsers. */
  constructor(primary: Primary) {
    super(systemClock);
    this.#primary = primary;
    primary.on('command', this.#handleCommand);
    primary.on('disconnected', this.#handleDisconnected);
  }

  /** The users who sync on any worker. */
  users(): SyncingUser[] {
    return [...this.#users].map(([userId, { lastSyncMs }]) => ({ userId, lastSyncMs }));
  }

  /** The users who sync on one connection, by its id. */
  usersOf(connectionId: number): string[] {
    return [...(this.#byConnection.get(connectionId) ?? [])];
  }

  /** Whether the user syncs on any worker. */
  isSyncing(userId: string): boolean {
    return this.#users.has(userId);
  }

  /**
   * The newest sync time of a user who syncs on any worker, in ms since 1970; undefined for other
   * users.
   */
  lastSyncMs(userId: string): Millis | undefined {
    return this.#users.get(userId)?.lastSyncMs;
  }

  /** Stops following, and forgets all users. */
  close(): void {
    this.#primary.off('command', this.#handleCommand);
    this.#primary.off('disconnected', this.#handleDisconnected);
    this.#users.clear();
    this.#byConnection.clear();
  }

  readonly #handleCommand = ({ command, worker }: PrimaryEvents['command'][0]): void => {
    if (command.name !== 'USER_SYNC') return;
    const { userId, state, lastSyncMs } = command;
    if (state === 'start') this.#start(worker.id, userId, lastSyncMs);
    else this.#end(worker.id, userId, lastSyncMs);
  };

  readonly #handleDisconnected = ({ worker }: PrimaryEvents['disconnected'][0]): void => {
    for (const userId of this.usersOf(worker.id)) this.#end(worker.id, userId, 0);
  };

  #start(connection: number, userId: string, lastSyncMs: Millis): void {
    const users = this.#byConnection.get(connection) ?? new Set();
    this.#byConnection.set(connection, users.add(userId));
    const syncing = this.#users.get(userId);
    if (syncing !== undefined) {
      syncing.connections.add(connection);
      syncing.lastSyncMs = Math.max(syncing.lastSyncMs, lastSyncMs);
      return;
    }
    this.#users.set(userId, { connections: new Set([connection]), lastSyncMs });
    this.emit('started', { userId, lastSyncMs });
  }

  #end(connection: number, userId: string, lastSyncMs: Millis): void {
    const users = this.#byConnection.get(connection);
    // An end without a start means nothing.
    if (users?.delete(userId) !== true) return;
    if (users.size === 0) this.#byConnection.delete(connection);
    const syncing = this.#users.get(userId)!;
    syncing.connections.delete(connection);
    syncing.lastSyncMs = Math.max(syncing.lastSyncMs, lastSyncMs);
    if (syncing.connections.size > 0) return;
    this.#users.delete(userId);
    this.emit('stopped', { userId, lastSyncMs: syncing.lastSyncMs });
  }
}
