/**
 * The certain place of a reader: a token and the batches that it may mean. There is more than one
 * batch only until a row decides.
 */

import type { Token } from '../core/model/token.ts';
import type { HistoryNode } from './history-tree.ts';

export interface Known {
  readonly token: Token;
  readonly claims: readonly HistoryNode[];
}
