/** The errors that tell why a stream cannot go on where it was. */

import { PeerError } from '../model/errors.ts';
import { formatPosition, type Position } from '../model/position.ts';
import type { StreamName } from '../model/stream.ts';
import type { RefusalFacts } from '../wire/command.ts';
import type { Resume } from './subscription-state.ts';

/** Names a place for people. */
export function describePlace(next: Resume): string {
  return typeof next === 'object' ? formatPosition(next) : next;
}

/** @param isEnd the subscription ends by it, so the text says how to go on instead */
export function refusalError(
  stream: StreamName,
  code: 'GAP' | 'RESET',
  { wasAt, told, isEnd }: { readonly wasAt: Position; readonly told: RefusalFacts; readonly isEnd: boolean },
): PeerError {
  const facts = { stream, position: wasAt, ...told };
  const { earliest, latest, history, deleted } = told;
  const place = describePlace(wasAt);
  const text =
    code === 'GAP'
      ? `Rows of stream ${stream} after ${place} are no longer kept: it starts at ${earliest ?? 'a later token'}.`
      : deleted === true
        ? `Stream ${stream} was deleted: position ${place} is void.`
        : `Stream ${stream} started afresh: position ${place} is not on its history` +
          (history === undefined ? '.' : `, which reaches to ${latest ?? '?'} of ${history}.`);
  const advice = isEnd ? " Use onReset: 'earliest' or 'now' to go on by itself." : '';
  return new PeerError(code, text + advice, { facts });
}

/** A stream that is followed through a pattern was deleted. */
export function deletedError(stream: StreamName, wasAt: Resume | undefined): PeerError {
  const position = typeof wasAt === 'object' ? wasAt : undefined;
  const text = `Stream ${stream} was deleted. It is followed from its first row when it is made again.`;
  return new PeerError('RESET', text, { facts: { stream, position, deleted: true } });
}

/** The position is of a primary with histories, and this one has none, or the other way round. */
export function foreignError(stream: StreamName, wasAt: Resume): PeerError {
  const text = `Stream ${stream} is followed at a primary of another kind now: position ${describePlace(wasAt)} says nothing there.`;
  return new PeerError('RESET', text, { facts: { stream, position: wasAt } });
}

export function unexpected(stream: StreamName, what: string): PeerError {
  return new PeerError('UNEXPECTED_COMMAND', `stream ${stream}: ${what}`, { facts: { stream } });
}
