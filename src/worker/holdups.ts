/** What holds a worker up on its way to be live, for events, errors and people. Decides nothing. */

import type { Millis } from '../base/clock.ts';
import type { Follower } from '../core/follow/follower.ts';
import type { RowcastError } from '../core/model/errors.ts';
import { formatPosition } from '../core/model/position.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Runner } from './subscription.ts';

/**
 * One thing that a start waits for: the checkpoint to be read, a connection, the primary's list of
 * its streams, or a stream. A stream waits for the primary's answer, for rows that are still to
 * come, for rows or a log that the primary lacks now, for its own handler, or for handlers of
 * others, while too many rows wait for them.
 */
export interface Holdup {
  readonly what:
    | 'checkpoint'
    | 'connection'
    | 'list'
    | 'answer'
    | 'catching-up'
    | 'ahead'
    | 'unavailable'
    | 'handler'
    | 'other-handlers';
  readonly stream: StreamName | undefined;
  /** For people. */
  readonly text: string;
}

export interface HoldupsOptions {
  readonly follower: Follower;
  readonly runners: Iterable<Runner>;
  readonly now: Millis;
  /** The checkpoint is being read. */
  readonly isLoading: boolean;
  /** Why the last connection ended. */
  readonly lastEnd: RowcastError | undefined;
}

/** Everything that holds the worker up. One at least, unless the worker is live. */
export function holdupsOf({ follower, runners, now, isLoading, lastEnd }: HoldupsOptions): Holdup[] {
  if (isLoading) return [{ what: 'checkpoint', stream: undefined, text: 'the checkpoint is still being read' }];
  if (!follower.isConnected) {
    const why = lastEnd === undefined ? '' : `: ${lastEnd.message}`;
    return [{ what: 'connection', stream: undefined, text: `the worker is not connected${why}` }];
  }
  const found: Holdup[] = [];
  for (const runner of runners) {
    if (runner.isEnded || runner.isLive) continue;
    found.push({ stream: runner.stream, ...holdupOf(runner, follower, now) });
  }
  if (found.length > 0 || follower.isApplied) return found;
  return [{ what: 'list', stream: undefined, text: "the primary's list of its streams has not come whole" }];
}

function holdupOf(runner: Runner, follower: Follower, now: Millis): Pick<Holdup, 'what' | 'text'> {
  const { stream, busySince, failing, machine } = runner;
  if (machine === undefined) {
    return { what: 'handler', text: `the handler that stream ${stream} had before is still busy with its last batch` };
  }
  if (busySince !== undefined) {
    const forMs = Math.round(now - busySince);
    if (failing !== undefined) {
      const text = `a batch of stream ${stream} fails and is tried again, for ${forMs} ms now: ${failing.message}`;
      return { what: 'handler', text };
    }
    return { what: 'handler', text: `the handler of stream ${stream} has been busy with a batch for ${forMs} ms` };
  }
  if (follower.isPaused) {
    const text = `stream ${stream} is not read on: too many rows wait for the handlers of other streams`;
    return { what: 'other-handlers', text };
  }
  const { state } = machine;
  switch (state.kind) {
    case 'ahead':
      return state.why === 'UNAVAILABLE'
        ? { what: 'unavailable', text: `stream ${stream} cannot be read by the primary now, and is asked for again` }
        : { what: 'ahead', text: `the primary has not reached the position of stream ${stream}, and is asked again` };
    case 'catching-up':
    case 'live': {
      const at = runner.position === undefined ? '' : `, at ${formatPosition(runner.position)}`;
      return { what: 'catching-up', text: `stream ${stream} is catching up${at}` };
    }
    default:
      return { what: 'answer', text: `the primary has not answered for stream ${stream}` };
  }
}
