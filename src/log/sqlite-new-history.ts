/** Makes a copy of an sqlite log another log, for good: what `rowcast log new-history` does. */

import { resolve } from 'node:path';

import { type Random, randomHex, systemRandom } from '../base/random.ts';
import { LOG_ID_DIGITS } from '../core/model/history.ts';
import { sqliteLogError } from './sqlite-errors.ts';
import { openLogFile } from './sqlite-file.ts';

/** The ids of the log. */
export interface NewHistory {
  readonly before: string;
  readonly after: string;
}

/**
 * Gives the log in a file another id: positions that were made before are RESET from then on, whatever their token.
 * For a copy that is to live beside the log that it was copied from. Rows, tokens and eras stay.
 * @throws LogError LOG_LOCKED while a process has the file open for writing, and as `open` of the log does
 */
export async function newHistory(path: string, random: Random = systemRandom): Promise<NewHistory> {
  const after = randomHex(random, LOG_ID_DIGITS);
  try {
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
