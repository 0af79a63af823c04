/**
 * One process of a primary, from start to end, and the truth about its streams: one branch of
 * history that never forks, for each stream from its making to its deletion.
 */

import type { Millis } from '../base/clock.ts';
import { type Declaration, Declarations } from '../core/model/declarations.ts';
import { DURABLE_CATALOG, type StreamName, VOLATILE_CATALOG } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { Primary } from '../primary/primary.ts';
import type { FakeLog } from './fake-log.ts';
import { type HistoryNode, nodeAfter, rootNode } from './history-tree.ts';
import { earliestOf } from './public-api.ts';
import type { CommittedBatches } from './world-rows.ts';

export interface TrueStream {
  readonly head: HistoryNode;
  readonly earliest: Token;
  readonly latest: Token;
}

/** A volatile stream from one deletion to the next. */
export interface VolatileStream {
  head: HistoryNode;
  earliest: Token;
  isDeleted: boolean;
}

export class PrimaryLife {
  /** The machine it runs on: the primary, or the copy beside it. */
  readonly machine: string;
  readonly name: string;
  readonly log: FakeLog;
  readonly startedAtMs: Millis;
  readonly #declarations: Declarations;
  /** The volatile streams, which end with the process. The last one of a name is there now. */
  readonly #volatile = new Map<StreamName, VolatileStream[]>();
  #primary: Primary | undefined;

  /** @param declared what this process declares */
  constructor(options: {
    readonly machine: string;
    readonly number: number;
    readonly log: FakeLog;
    readonly declared: readonly Declaration[];
    readonly nowMs: Millis;
  }) {
    const { machine, number, log, declared, nowMs } = options;
    this.machine = machine;
    this.name = `${machine}.${number}`;
    this.log = log;
    this.startedAtMs = nowMs;
    this.#declarations = new Declarations(declared);
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
    for (const stream of this.#volatile.keys()) this.#readEarliest(stream);
    this.#primary = undefined;
  }

  /** The process is gone. Its streams stay as they were. */
  end(): void {
    this.freeze();
    this.log.crash();
  }

  /** The process declares the stream. */
  has(stream: StreamName): boolean {
    return this.#declarations.has(stream);
  }

  isDurable(stream: StreamName): boolean {
    return this.#declarations.find(stream)?.durable ?? stream !== VOLATILE_CATALOG;
  }

  /** The streams that are there. */
  made(): StreamName[] {
    const durable = [...this.log.streams()];
    const volatile = [...this.#volatile.keys()].filter((stream) => this.head(stream).depth > 0);
    return [...durable, ...volatile];
  }

  /** The stream as it is now. One that is not made is empty. */
  stream(stream: StreamName): TrueStream {
    if (stream === VOLATILE_CATALOG) return { head: rootNode(stream), earliest: 1, latest: this.#volatileRows() };
    if (this.isDurable(stream)) return this.log.truth(stream);
    this.#readEarliest(stream);
    const { head, earliest } = this.volatile(stream);
    return { head, latest: head.token, earliest };
  }

  /** The stream as it is now, and those of its name that this process deleted. */
  ever(stream: StreamName): readonly TrueStream[] {
    if (stream === DURABLE_CATALOG || this.isDurable(stream)) return [this.stream(stream), ...this.log.former(stream)];
    const former = (this.#volatile.get(stream) ?? []).slice(0, -1);
    return [this.stream(stream), ...former.map(({ head, earliest }) => ({ head, earliest, latest: head.token }))];
  }

  /** The newest batch. Cheap. */
  head(stream: StreamName): HistoryNode {
    return this.isDurable(stream) ? this.log.truth(stream).head : this.volatile(stream).head;
  }

  /** The volatile stream that an append goes to now. */
  volatile(stream: StreamName): VolatileStream {
    const known = this.#volatile.get(stream);
    if (known !== undefined) return known.at(-1)!;
    const first = { head: rootNode(stream), earliest: 1, isDeleted: false };
    this.#volatile.set(stream, [first]);
    return first;
  }

  /**
   * Adds a batch to a volatile stream. For a durable stream the log has already made the node.
   * @param to where the stream was when the append was called
   */
  handleAppended(
    to: VolatileStream | undefined,
    own: Parameters<typeof nodeAfter>[1],
    committed: CommittedBatches,
  ): HistoryNode | undefined {
    if (to === undefined) return committed.get(own.batch);
    to.head = nodeAfter(to.head, own);
    committed.add(to.head);
    return to.head;
  }

  /** A deletion is called: what was appended before goes with it. */
  handleDeleting(stream: StreamName): void {
    if (this.isDurable(stream)) return;
    this.#readEarliest(stream);
    const deleted = this.volatile(stream);
    deleted.isDeleted = true;
    // Token 0 is on the history of each of them.
    let root = deleted.head;
    while (root.parent !== undefined) root = root.parent;
    this.#volatile.get(stream)!.push({ head: root, earliest: 1, isDeleted: false });
  }

  /** The rows of the catalog of the volatile streams. */
  #volatileRows(): number {
    let rows = 0;
    for (const streams of this.#volatile.values())
      for (const { head, isDeleted } of streams) if (head.depth > 0) rows += isDeleted ? 2 : 1;
    return rows;
  }

  #readEarliest(stream: StreamName): void {
    if (this.#primary !== undefined) this.volatile(stream).earliest = earliestOf(this.#primary, stream);
  }
}
