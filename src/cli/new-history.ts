/** `rowcast log new-history`: gives a copy of a log its own identity. */

import { newHistory as renew } from '../log/sqlite-new-history.ts';
import { print } from './row-output.ts';
import { type ExitCode, exitCodes, say, type Terminal } from './terminal.ts';

/** @throws LogError */
export async function newHistory(path: string, terminal: Terminal): Promise<ExitCode> {
  const { before, after } = await renew(path);
  say(terminal, `${path} was log ${before} and is another one now: positions of the old one are reset here`);
  await print(terminal.stdout, `${after}\n`);
  return exitCodes.fine;
}
