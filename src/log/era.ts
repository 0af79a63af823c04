/** Eras and catalog rows: what every log writes when it is opened. */

import type { Millis } from '../base/clock.ts';
import { type Random, randomHex } from '../base/random.ts';
import { type Era, ERA_RANDOM_DIGITS } from '../core/model/history.ts';
import type { RowText } from '../core/model/row.ts';
import type { StreamName } from '../core/model/stream.ts';

/**
 * The era of a new open. Its number always rises, and follows the wall clock when it can. So a log
 * restored from a backup gets a number above the eras that the backup does not know.
 */
export function nextEra(highest: number, wallMs: Millis, random: Random): Era {
  const number = Math.max(highest + 1, Math.floor(wallMs / 1_000));
  return { number, random: randomHex(random, ERA_RANDOM_DIGITS) };
}

/** The row of the catalog for a new stream. */
export function madeRow(stream: StreamName, wallMs: Millis): RowText {
  return JSON.stringify({ stream, made: Math.floor(wallMs) });
}

/** The row of the catalog for a stream that is deleted. */
export function deletedRow(stream: StreamName, wallMs: Millis): RowText {
  return JSON.stringify({ stream, deleted: Math.floor(wallMs) });
}
