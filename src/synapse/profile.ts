/** How to be with real Synapse processes of 1.3 to 1.12 (docs/protocol.md, "Limits"). */

import type { SessionLimits } from '../core/wire/limits.ts';

/**
 * The limits of both sides where the other is a real Synapse, for `createPrimary` and
 * `createWorker`: it takes lines of at most 16,384 bytes, and closes after 25 s without a word.
 */
export const synapseLimits: Pick<SessionLimits, 'maxLineBytes' | 'idleTimeoutMs'> = Object.freeze({
  maxLineBytes: 16_384,
  idleTimeoutMs: 25_000,
});
