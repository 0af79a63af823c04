/** Limits for talking to real Synapse processes of 1.3 to 1.12 (docs/protocol.md, "Limits"). */

import type { SessionLimits } from '../core/wire/limits.ts';

/**
 * The limits for `createPrimary` and `createWorker` when the peer is a real Synapse: it takes lines
 * of at most 16,384 bytes, and closes after 25 s of silence.
 */
export const synapseLimits: Pick<SessionLimits, 'maxLineBytes' | 'idleTimeoutMs'> = Object.freeze({
  maxLineBytes: 16_384,
  idleTimeoutMs: 25_000,
});
