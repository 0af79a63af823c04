/**
 * One process of a primary, from start to end, and the truth about its streams: one branch of
 * history that never forks.
 */

import type { Stream, StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { Primary } from '../primary/primary.ts';
import type { FakeLog } from './fake-log.ts';
import { type HistoryNode, nodeAfter, rootNode } from './history-tree.ts';
import type { CommittedBatches } from './world-rows.ts';

export interface TrueStream {
  readonly head: HistoryNode;
  readonly earliest: Token;
  readonly latest: Token;
}

export class PrimaryLife {
  /** The machine it runs on: the primary, or the copy beside it. */
  readonly machine: string;
  readonly name: string;
  readonly log: FakeLog;
  readonly #durable: ReadonlySet<StreamName>;
  /** The newest batches of the volatile streams, which end with the process. */
  readonly #heads = new Map<StreamName, HistoryNode>();
  #earliest = new Map<StreamName, Token>();
  #primary: Primary | undefined;

  /** @param streams those that this process declares */
  constructor(machine: string, number: number, log: FakeLog, streams: readonly Stream[]) {
    this.machine = machine;
    this.name = `${machine}.${number}`;
    this.log = log;
    this.#durable = new Set(streams.filter(({ durable }) => durable).map((stream) => stream.name));
    for (const stream of streams) if (!stream.durable) this.#heads.set(stream.name, rootNode(stream.name));
  }

  /** Undefined before it is open, and after its end. */
  get primary(): Primary | undefined {
    return this.#primary;
  }

  begin(primary: Primary): void {
    this.#primary = primary;
  }

  /** The process closes or is gone: it reports its last answers from now on. */
  freeze(): void {
    if (this.#primary !== undefined) this.#earliest = this.#readEarliest(this.#primary);
    this.#primary = undefined;
  }

  /** The process is gone. Its streams stay as they were. */
  end(): void {
    this.freeze();
    this.log.crash();
  }

  /** The process declares the stream. */
  has(stream: StreamName): boolean {
    return this.#durable.has(stream) || this.#heads.has(stream);
  }

  isDurable(stream: StreamName): boolean {
    return this.#durable.has(stream);
  }

  stream(stream: StreamName): TrueStream {
    if (!this.#heads.has(stream)) return this.log.truth(stream);
    const head = this.#heads.get(stream)!;
    if (this.#primary !== undefined) this.#earliest = this.#readEarliest(this.#primary);
    return { head, latest: head.token, earliest: this.#earliest.get(stream) ?? 1 };
  }

  /** The newest batch. Cheap. */
  head(stream: StreamName): HistoryNode {
    return this.#heads.get(stream) ?? this.log.truth(stream).head;
  }

  /** Adds a batch to a volatile stream. For a durable stream the log has already made the node. */
  handleAppended(
    stream: StreamName,
    own: Parameters<typeof nodeAfter>[1],
    committed: CommittedBatches,
  ): HistoryNode | undefined {
    const head = this.#heads.get(stream);
    if (head === undefined) return committed.get(own.batch);
    const node = nodeAfter(head, own);
    this.#heads.set(stream, node);
    committed.add(node);
    return node;
  }

  #readEarliest(primary: Primary): Map<StreamName, Token> {
    return new Map(primary.status().streams.map(({ stream, earliest }) => [stream, earliest]));
  }
}
