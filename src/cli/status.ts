/** `rowcast status`: the positions of a running primary's streams and connections. */

import { formatStatus } from '../observe/format-status.ts';
import type { StatusReport } from '../observe/status-report.ts';
import type { HostAndPort } from './addresses.ts';
import { askAdmin, errorOf } from './admin-client.ts';
import { print } from './row-output.ts';
import { type ExitCode, exitCodes, say, type Terminal } from './terminal.ts';

export interface StatusOptions {
  readonly admin: HostAndPort;
  readonly json?: true;
}

/** @throws ConnectionError */
export async function status({ admin, json }: StatusOptions, terminal: Terminal): Promise<ExitCode> {
  const answer = await askAdmin({ admin, path: '/status', signal: terminal.signal });
  const error = errorOf(answer, admin);
  if (error !== undefined) {
    say(terminal, error.message);
    return exitCodes.failed;
  }
  const report = answer.body as StatusReport;
  await print(terminal.stdout, json === true ? `${JSON.stringify(report)}\n` : formatStatus(report));
  return exitCodes.fine;
}
