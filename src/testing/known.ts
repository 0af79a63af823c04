/** Where a reader certainly stands: a token, and the batches that this may mean. More than one only until a row says which. */

import type { Token } from '../core/model/token.ts';
import type { HistoryNode } from './history-tree.ts';

export interface Known {
  readonly token: Token;
  readonly claims: readonly HistoryNode[];
}
