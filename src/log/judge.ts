/**
 * Decides whether a position is on a log's present history. All logs use this rule
 * (docs/protocol.md, "Histories").
 */

import { type History, logIdOf } from '../core/model/history.ts';
import type { Bounds, Verdict } from '../core/model/page.ts';
import type { Position } from '../core/model/position.ts';
import type { Token } from '../core/model/token.ts';

/** What a log knows of the stream of a position. */
export interface JudgedStream {
  readonly bounds: Bounds;
  /**
   * The history of the chunk that holds the token. Asked only for tokens from `earliest` to below
   * `latest`.
   */
  readonly historyAt: (token: Token) => History;
}

/**
 * For a log without an upstream source: a token above its latest is not, or no longer, a place in
 * it.
 */
export function judgePosition({ token, history }: Position, { bounds, historyAt }: JudgedStream): Verdict {
  const { earliest, latest } = bounds;
  // The stream's own log, which for the rows of a relay is the one that they came from.
  if (history !== undefined && logIdOf(history) !== logIdOf(bounds.history)) return 'reset';
  // While nothing was dropped, token 0 is on every history: a reader without rows has read nothing.
  if (token === 0 && earliest === 1) return 'on';
  if (token < earliest - 1) return 'gap';
  if (token > latest) return 'reset';
  // A position without a history is taken at its word.
  if (history === undefined) return 'on';
  return history === historyOf(token, bounds, historyAt) ? 'on' : 'reset';
}

function historyOf(token: Token, bounds: Bounds, historyAt: JudgedStream['historyAt']): History {
  // Test `latest` first: when nothing is kept, both tokens are the same place and the histories
  // agree.
  if (token === bounds.latest) return bounds.history;
  if (token === bounds.earliest - 1) return bounds.base;
  return historyAt(token);
}
