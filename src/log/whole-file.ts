/** A file that has its name only when it is whole, whenever the process that writes it is killed. */

import { randomBytes } from 'node:crypto';
import { link, lstat, rename, rm } from 'node:fs/promises';
import { systemCode } from '../core/model/errors.ts';

const RANDOM_BYTES = 8;

/** Where a file is written before it has its name. */
export function partPath(path: string): string {
  return `${path}.${randomBytes(RANDOM_BYTES).toString('hex')}.part`;
}

/** @throws an Error with the code EEXIST when something has that name; errors of the system */
export async function refuseExisting(path: string): Promise<void> {
  const found = await lstat(path).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (found !== undefined) throw Object.assign(new Error(`EEXIST: file already exists, '${path}'`), { code: 'EEXIST' });
}

/**
 * Gives a part its name. A file that exists is never touched. Sync the directory afterwards.
 * @throws an Error with the code EEXIST when something has that name; errors of the system
 */
export async function nameWhole(part: string, path: string): Promise<void> {
  try {
    await link(part, path);
  } catch (error) {
    if (systemCode(error) === 'EEXIST') throw error;
    // Some file systems have no links.
    await refuseExisting(path);
    await rename(part, path);
    return;
  }
  await rm(part);
}
