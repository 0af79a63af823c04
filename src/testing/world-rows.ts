/** The rows that a world appends. Each says which batch it is of, so a row that was delivered leads to its node. */

import type { StreamName } from '../core/model/stream.ts';
import { type HistoryNode, rootNode } from './history-tree.ts';

/** Which row, of how many, of which batch. Batches of all streams are numbered together. */
export interface WorldRow {
  readonly batch: number;
  readonly index: number;
  readonly of: number;
  readonly text: string;
}

/** Every batch that was committed, by its number: each was appended once. */
export class CommittedBatches {
  readonly #nodes = new Map<number, HistoryNode>();
  readonly #roots = new Map<StreamName, HistoryNode>();

  add(node: HistoryNode): void {
    this.#nodes.set(node.batch, node);
  }

  /** Before the first batch of a durable stream: whoever has nothing of it is there, in every branch of its history. */
  root(stream: StreamName): HistoryNode {
    const root = this.#roots.get(stream) ?? rootNode(stream);
    this.#roots.set(stream, root);
    return root;
  }

  get(batch: number): HistoryNode | undefined {
    return this.#nodes.get(batch);
  }
}

/** Why these are not the rows of one whole batch; undefined when they are. */
export function batchFault(rows: readonly WorldRow[]): string | undefined {
  const [first] = rows;
  if (first === undefined) return 'no rows';
  const isWhole = rows.length === first.of && rows.every((row) => row.batch === first.batch && row.of === first.of);
  if (isWhole) return undefined;
  return rows.map(({ batch, index, of }) => `row ${index} of ${of} of batch ${batch}`).join(', ');
}
