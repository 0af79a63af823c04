/** `rowcast status`: the positions of a running primary's streams and connections. */

import type { StreamName } from '../core/model/stream.ts';
import { formatStatus } from '../observe/format-status.ts';
import type { StatusReport } from '../observe/status-report.ts';
import type { HostAndPort } from './addresses.ts';
import { askAdmin, errorOf } from './admin-client.ts';
import { print } from './row-output.ts';
import { type ExitCode, exitCodes, say, type Terminal } from './terminal.ts';

export interface StatusOptions {
  readonly admin: HostAndPort;
  readonly json?: true;
  readonly after?: StreamName;
  /** A name or a pattern. */
  readonly match?: string;
  readonly all?: true;
}

/** @throws ConnectionError */
export async function status(options: StatusOptions, terminal: Terminal): Promise<ExitCode> {
  const { admin, json, all } = options;
  let report: StatusReport | undefined;
  do {
    const path = pathOf({ ...options, after: report?.next ?? options.after });
    const answer = await askAdmin({ admin, path, signal: terminal.signal });
    const error = errorOf(answer, admin);
    if (error !== undefined) {
      say(terminal, error.message);
      return exitCodes.failed;
    }
    report = joined(report, answer.body as StatusReport);
  } while (all === true && report.next !== null);
  await print(terminal.stdout, json === true ? `${JSON.stringify(report)}\n` : formatStatus(report));
  return exitCodes.fine;
}

function pathOf({ after, match }: { readonly after?: string | undefined; readonly match?: string }): string {
  const query = new URLSearchParams({ ...(after !== undefined && { after }), ...(match !== undefined && { match }) });
  return query.size === 0 ? '/status' : `/status?${query.toString()}`;
}

/** The pages together. All but the streams is as the last page says. */
function joined(before: StatusReport | undefined, page: StatusReport): StatusReport {
  if (before === undefined) return page;
  const known = new Map(before.connections.map(({ id, subscriptions }) => [id, subscriptions]));
  return {
    ...page,
    streams: [...before.streams, ...page.streams],
    connections: page.connections.map((connection) => ({
      ...connection,
      subscriptions: [...(known.get(connection.id) ?? []), ...connection.subscriptions],
    })),
  };
}
