/** `rowcast forget`: a worker that is gone for good holds no rows back any more. */

import type { Forgotten } from '../admin/answers.ts';
import { quote } from '../core/model/errors.ts';
import type { WorkerName } from '../core/model/stream.ts';
import type { HostAndPort } from './addresses.ts';
import { askAdmin, bodyOf, notOurs } from './admin-client.ts';
import { print } from './row-output.ts';
import { type ExitCode, exitCodes, type Terminal } from './terminal.ts';

export interface ForgetOptions {
  readonly admin: HostAndPort;
  readonly json?: true;
}

/** The most streams that are named. `--json` names all. */
const MOST_NAMED = 10;

/** @throws RowcastError of the answer; ConnectionError */
export async function forget(
  worker: WorkerName,
  { admin, json }: ForgetOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  const path = `/workers/${encodeURIComponent(worker)}`;
  const answer = await askAdmin({ admin, path, method: 'DELETE', signal: terminal.signal });
  const forgotten = bodyOf(answer, admin) as Forgotten | null;
  if (typeof forgotten?.worker !== 'string' || !Array.isArray(forgotten.streams)) throw notOurs(admin);
  await print(terminal.stdout, json === true ? `${JSON.stringify(forgotten)}\n` : `${describe(forgotten)}\n`);
  return exitCodes.fine;
}

function describe({ worker, streams }: Forgotten): string {
  const name = quote(worker);
  if (streams.length === 0) return `worker ${name} held no rows back`;
  const others = streams.length - MOST_NAMED;
  const named = streams.slice(0, MOST_NAMED).join(', ');
  return `worker ${name} is forgotten, and holds no rows any more of ${named}${others > 0 ? ` and ${others} more streams` : ''}`;
}
