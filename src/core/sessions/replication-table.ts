/** The replications of one connection, by their streams. */

import type { StreamName } from '../model/stream.ts';
import { Replication, type ReplicationInput, type ReplicationState } from './replication.ts';
import type { StreamState, StreamTable } from './stream-table.ts';
import { describeReplication, type SubscriptionStatus } from './subscription-status.ts';

export class ReplicationTable {
  readonly #streams: StreamTable;
  readonly #replications = new Map<StreamName, Replication>();
  #liveCount = 0;

  constructor(streams: StreamTable) {
    this.#streams = streams;
  }

  get count(): number {
    return this.#replications.size;
  }

  get liveCount(): number {
    return this.#liveCount;
  }

  get(stream: StreamName): Replication | undefined {
    return this.#replications.get(stream);
  }

  has(stream: StreamName): boolean {
    return this.#replications.has(stream);
  }

  names(): Iterable<StreamName> {
    return this.#replications.keys();
  }

  values(): Iterable<Replication> {
    return this.#replications.values();
  }

  /** Begins a replication, which is idle. */
  add(served: StreamState): Replication {
    const replication = new Replication(served);
    this.#replications.set(served.stream, replication);
    return replication;
  }

  /** @throws PeerError UNEXPECTED_COMMAND */
  move(replication: Replication, input: ReplicationInput, state: ReplicationState): void {
    const wasLive = replication.isLive;
    replication.move(input, state);
    this.#liveCount += Number(replication.isLive) - Number(wasLive);
  }

  remove(replication: Replication, input: 'refused' | 'release'): void {
    this.move(replication, input, { kind: 'idle' });
    this.#replications.delete(replication.stream);
    this.#streams.leave(replication.served);
  }

  clear(): void {
    for (const { served } of this.#replications.values()) this.#streams.leave(served);
    this.#replications.clear();
    this.#liveCount = 0;
  }

  describe(stream: StreamName): SubscriptionStatus | undefined {
    const replication = this.#replications.get(stream);
    return replication && describeReplication(replication);
  }

  describeAll(): SubscriptionStatus[] {
    return Array.from(this.#replications.values(), describeReplication);
  }
}
