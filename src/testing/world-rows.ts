/** The rows that a world appends. Each names its batch, so a delivered row leads to its node. */

import type { StreamName } from '../core/model/stream.ts';
import { type HistoryNode, rootNode } from './history-tree.ts';

/** The number of the row, of how many, in which batch. All streams share the batch numbers. */
export interface WorldRow {
  readonly batch: number;
  readonly index: number;
  readonly of: number;
  readonly text: string;
}

/** Every committed batch by its number. Each was appended once. */
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
