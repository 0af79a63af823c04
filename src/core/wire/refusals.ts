/**
 * How primaries refuse a stream to a seed peer: an ERROR line of a fixed form, then a close. Knows
 * the forms of a Rowcast primary and of a real Synapse 1.4.0.
 */

import { PeerError } from '../model/errors.ts';
import type { StreamName } from '../model/stream.ts';

export type Refusal =
  | { readonly kind: 'unknown-stream'; readonly stream: StreamName }
  | { readonly kind: 'too-far-behind'; readonly stream: StreamName };

const UNKNOWN = /^unknown stream (\S+)$|^failed to handle replicate: Exception\('unknown stream %s', '([^\s']+)'\)$/;
const FAR_BEHIND = /^failed to handle replicate: Exception\('stream (\S+) has fallen behind'\)$/;

/** Returns undefined when the ERROR is about something else. */
export function parseRefusal(text: string): Refusal | undefined {
  const unknown = UNKNOWN.exec(text);
  if (unknown !== null) return { kind: 'unknown-stream', stream: (unknown[1] ?? unknown[2])! };
  const farBehind = FAR_BEHIND.exec(text);
  if (farBehind !== null) return { kind: 'too-far-behind', stream: farBehind[1]! };
  return undefined;
}

export function tooFarBehind(stream: StreamName): PeerError {
  return new PeerError(
    'TOO_FAR_BEHIND',
    `stream ${stream} is further behind than the primary sends (a real Synapse: 10,000 rows): start at now; what was missed it does not give any more`,
  );
}
