/** Whether a position is on the history that a log has now: one rule for all logs (docs/protocol.md, "Histories"). */

import { type History, logIdOf } from '../core/model/history.ts';
import type { Bounds, Verdict } from '../core/model/page.ts';
import type { Position } from '../core/model/position.ts';
import type { Token } from '../core/model/token.ts';

export interface JudgedStream {
  readonly logId: string;
  readonly bounds: Bounds;
  /** Of the chunk that holds the token. Asked only from `earliest` to below `latest`. */
  readonly historyAt: (token: Token) => History;
}

/** For a log that is its own truth: what is above its latest token was never, or is no longer, a place in it. */
export function judgePosition({ token, history }: Position, { logId, bounds, historyAt }: JudgedStream): Verdict {
  const { earliest, latest } = bounds;
  if (history !== undefined && logIdOf(history) !== logId) return 'reset';
  // Of a stream of which nothing is gone, everyone is at the start who has nothing.
  if (token === 0 && earliest === 1) return 'on';
  if (token < earliest - 1) return 'gap';
  if (token > latest) return 'reset';
  // Who gave no history vouches for the number.
  if (history === undefined) return 'on';
  return history === historyOf(token, bounds, historyAt) ? 'on' : 'reset';
}

function historyOf(token: Token, bounds: Bounds, historyAt: JudgedStream['historyAt']): History {
  // In this order: where nothing is kept they are one place, and both say the same.
  if (token === bounds.latest) return bounds.history;
  if (token === bounds.earliest - 1) return bounds.base;
  return historyAt(token);
}
