/**
 * How primaries refuse a stream in the seed's dialect: by an ERROR line of a fixed form, then a close. Reads
 * Rowcast's forms and those of a real Synapse 1.4.0.
 */

import { PeerError } from '../model/errors.ts';
import type { StreamName } from '../model/stream.ts';
import { parseToken, type Token } from '../model/token.ts';

export type Refusal =
  | { readonly kind: 'gap'; readonly stream: StreamName; readonly earliest: Token }
  | { readonly kind: 'unknown-stream'; readonly stream: StreamName }
  | { readonly kind: 'too-far-behind'; readonly stream: StreamName };

const GAP = /^stream (\S+) starts at ([0-9]{1,16}), asked for [0-9]{1,16}$/;
const UNKNOWN = /^unknown stream (\S+)$|^failed to handle replicate: Exception\('unknown stream %s', '([^\s']+)'\)$/;
const FAR_BEHIND = /^failed to handle replicate: Exception\('stream (\S+) has fallen behind'\)$/;

/** Undefined: the ERROR is about something else. */
export function parseRefusal(text: string): Refusal | undefined {
  const unknown = UNKNOWN.exec(text);
  if (unknown !== null) return { kind: 'unknown-stream', stream: (unknown[1] ?? unknown[2])! };
  const farBehind = FAR_BEHIND.exec(text);
  if (farBehind !== null) return { kind: 'too-far-behind', stream: farBehind[1]! };
  const gap = GAP.exec(text);
  const earliest = gap === null ? undefined : parseToken(gap[2]!);
  return earliest === undefined ? undefined : { kind: 'gap', stream: gap![1]!, earliest };
}

export function tooFarBehind(stream: StreamName): PeerError {
  return new PeerError(
    'TOO_FAR_BEHIND',
    `stream ${stream} is further behind than the primary sends (a real Synapse: 10,000 rows): start at now; what was missed it does not give any more`,
  );
}
