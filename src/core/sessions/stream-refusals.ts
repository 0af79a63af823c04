/** Why a stream is not, or no longer, replicated: what the peer is told, and the application. */

import { LogError, PeerError, quote, type RowcastError } from '../model/errors.ts';
import type { Bounds } from '../model/page.ts';
import { formatPosition, type Position } from '../model/position.ts';
import type { StreamName } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import type { RefusalCode, RefusalFacts } from '../wire/command.ts';
import type { StreamState } from './stream-table.ts';

/** One REFUSED, and the error that the application is told. */
export interface StreamRefusal {
  readonly code: RefusalCode;
  readonly facts: RefusalFacts;
  readonly error: RowcastError;
}

export function unknownStream(stream: StreamName): StreamRefusal {
  const error = new PeerError('UNKNOWN_STREAM', `unknown stream ${quote(stream)}`, { facts: { stream } });
  return { code: 'UNKNOWN_STREAM', facts: {}, error };
}

/** Rows after the token that was asked for are no longer kept. */
export function gap({ stream, bounds }: StreamState, asked: Token): StreamRefusal {
  const { earliest } = bounds;
  const text = `rows of stream ${stream} after ${asked} are no longer kept: it starts at ${earliest}`;
  return refusal('GAP', bounds, new PeerError('GAP', text, { facts: { stream, earliest, asked } }));
}

/** The same for a peer that cannot be refused one stream alone: the text of ERROR. */
export function gapText({ stream, bounds: { earliest } }: StreamState, asked: Token): string {
  return `stream ${stream} starts at ${earliest}, asked for ${asked}`;
}

/** A peer that is not Rowcast gets what is kept. The application is told what that peer has missed. */
export function trimmed(workerName: string, { stream, bounds: { earliest } }: StreamState, asked: Token): PeerError {
  const text = `worker ${workerName} asked for stream ${stream} after ${asked}, which starts at ${earliest}: it gets what is kept`;
  return new PeerError('TRIMMED', text, { facts: { stream, earliest, asked } });
}

/** The position is of another history, or ahead of the rows that are here. */
export function offHistory(verdict: 'reset' | 'ahead', state: StreamState, position: Position): StreamRefusal {
  return verdict === 'reset' ? reset(state, position) : ahead(state, position);
}

function reset(state: StreamState, position: Position): StreamRefusal {
  const { stream, bounds } = state;
  // A stream that has had no row gave no such position, so this one is from before a deletion.
  if (bounds.latest === 0) return deleted(state, position.token);
  const asked = formatPosition(position);
  const text = `position ${asked} is not on the history of stream ${stream}: ${placeOf(bounds)}`;
  return refusal('RESET', bounds, new PeerError('RESET', text, { facts: { stream, ...factsOf(bounds), asked } }));
}

/** The source may get there. */
function ahead({ stream, bounds }: StreamState, position: Position): StreamRefusal {
  const asked = formatPosition(position);
  const text = `position ${asked} of stream ${stream} is not reached yet: ${placeOf(bounds)}`;
  return refusal('AHEAD', bounds, new PeerError('AHEAD', text, { facts: { stream, ...factsOf(bounds), asked } }));
}

/** The stream was deleted under a replication that was sent rows up to the token. */
export function deleted({ stream, bounds }: StreamState, sent: Token | undefined): StreamRefusal {
  const facts = { stream, ...(sent !== undefined && { asked: sent }), deleted: true };
  const error = new PeerError('RESET', `stream ${stream} was deleted`, { facts });
  return { code: 'RESET', facts: { ...factsOf(bounds), deleted: true }, error };
}

/** The log's own text may name our files, so the peer is told only what it can act on. */
export function unavailable({ bounds }: StreamState, error: RowcastError): StreamRefusal {
  return refusal('UNAVAILABLE', bounds, error);
}

/** A read or a verdict has taken longer than sourceTimeoutMs. */
export function sourceTimedOut(stream: StreamName, sourceTimeoutMs: number): LogError {
  const text = `stream ${stream}: its log did not answer for ${sourceTimeoutMs} ms`;
  return new LogError('LOG_UNAVAILABLE', text, { facts: { stream, sourceTimeoutMs } });
}

export function tooManyStreams(maxReplications: number): PeerError {
  const text = `more than ${maxReplications} streams on one connection`;
  return new PeerError('TOO_MANY_STREAMS', text, { facts: { maxReplications } });
}

export function slowConsumer(workerName: string, why: string): PeerError {
  return new PeerError('SLOW_CONSUMER', `worker ${workerName} did not keep up: ${why}`);
}

function refusal(code: RefusalCode, bounds: Bounds, error: RowcastError): StreamRefusal {
  return { code, facts: factsOf(bounds), error };
}

function factsOf({ earliest, latest, history }: Bounds): RefusalFacts {
  return { earliest, latest, history };
}

function placeOf({ earliest, latest, history }: Bounds): string {
  return `here it reaches from ${earliest} to ${latest} of history ${history}`;
}
