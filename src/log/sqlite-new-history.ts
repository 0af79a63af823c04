/** Gives a copy of an sqlite log an identity of its own, for good: `rowcast log new-history`. */

import { resolve } from 'node:path';

import { type Random, randomHex, systemRandom } from '../base/random.ts';
import { LOG_ID_DIGITS } from '../core/model/history.ts';
import { sqliteLogError } from './sqlite-errors.ts';

/** The old and the new id of the log. */
export interface NewHistory {
  readonly before: string;
  readonly after: string;
}

/**
 * Gives the log in a file another id. Every earlier position is then RESET, whatever its token. Use
 * it for a copy that will run beside the original. Rows, tokens and eras stay.
 * @throws LogError LOG_LOCKED while a process has the file open for writing, and as `open` of the
 * log does
 */
export async function newHistory(path: string, random: Random = systemRandom): Promise<NewHistory> {
  const after = randomHex(random, LOG_ID_DIGITS);
  try {
    const { openLogFile } = await import('./sqlite-file.ts');
    const file = await openLogFile({ path: resolve(path), synchronous: 'full', mustExist: true });
    try {
      file.rename(after);
      return { before: file.id, after };
    } finally {
      await file.close();
    }
  } catch (error) {
    throw sqliteLogError(path, 'open', error);
  }
}
