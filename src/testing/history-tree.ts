/**
 * The true commits. Each batch is a node, and its parent is the batch before it in its branch of
 * history. A node stands for everything up to it. Knows no eras, so it cannot share the product's
 * mistakes about them.
 *
 *   root ◀── 1 ◀── 2 ◀── 3 ◀── 4        a log that lost its tail after 2 …
 *                   ◀── 3' ◀── 4'       … or was restored from a copy, and went on
 */

import type { Millis } from '../base/clock.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';

export interface HistoryNode {
  readonly stream: StreamName;
  readonly parent: HistoryNode | undefined;
  /** How many batches come before it. */
  readonly depth: number;
  readonly token: Token;
  /** The world's number for the batch; 0 for a root. */
  readonly batch: number;
  readonly rows: number;
  readonly committedAtMs: Millis;
  /** When the first batch of its branch was committed: the stream was made with it. 0 for a root. */
  readonly madeAtMs: Millis;
}

/**
 * The node before the first batch of a stream. Another root is another stream, even with the same
 * name. A stream that was deleted and made again has the same root, because a reader of nothing is
 * on either.
 */
export function rootNode(stream: StreamName): HistoryNode {
  return { stream, parent: undefined, depth: 0, token: 0, batch: 0, rows: 0, committedAtMs: 0, madeAtMs: 0 };
}

export function nodeAfter(
  parent: HistoryNode,
  own: Pick<HistoryNode, 'token' | 'batch' | 'rows' | 'committedAtMs'>,
): HistoryNode {
  const madeAtMs = parent.parent === undefined ? own.committedAtMs : parent.madeAtMs;
  return { stream: parent.stream, parent, depth: parent.depth + 1, madeAtMs, ...own };
}

/** The newest batch at or below the token, in the branch that ends at `head`. */
export function nodeAt(head: HistoryNode, token: Token): HistoryNode {
  let node = head;
  while (node.parent !== undefined && node.token > token) node = node.parent;
  return node;
}

/** Whether the branch that ends at `head` goes through the node. */
export function isOn(node: HistoryNode, head: HistoryNode): boolean {
  let at: HistoryNode | undefined = head;
  while (at !== undefined && at.depth > node.depth) at = at.parent;
  return at === node;
}

/** How many rows the branch has after the token. */
export function rowsAfter(head: HistoryNode, token: Token): number {
  let rows = 0;
  for (let at = head; at.parent !== undefined && at.token > token; at = at.parent) rows += at.rows;
  return rows;
}
