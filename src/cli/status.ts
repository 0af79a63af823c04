/** `rowcast status`: the positions of a running primary's streams and connections. */

import { ConnectionError } from '../core/model/errors.ts';
import type { StreamName } from '../core/model/stream.ts';
import { formatStatus } from '../observe/format-status.ts';
import type { StatusReport } from '../observe/status-report.ts';
import type { HostAndPort } from './addresses.ts';
import { type AdminAnswer, askAdmin, bodyOf, notOurs } from './admin-client.ts';
import { isReaderGone, RowOutput, print } from './row-output.ts';
import { type ExitCode, exitCodes, slept, type Terminal } from './terminal.ts';

export interface StatusOptions {
  readonly admin: HostAndPort;
  readonly json?: true;
  readonly after?: StreamName;
  /** A name or a pattern. */
  readonly match?: string;
  readonly all?: true;
  /** Show it again and again until a signal. */
  readonly watch?: true;
  /** Seconds between two of them. */
  readonly interval: number;
}

/** The most streams of `--all`: all of them are held in memory. */
const MAX_STREAMS = 1_000_000;

/** @throws RowcastError of the answer; ConnectionError */
export async function status(options: StatusOptions, terminal: Terminal): Promise<ExitCode> {
  if (options.watch === true) return watch(options, terminal);
  await print(terminal.stdout, format(await ask(options, terminal), options));
  return exitCodes.fine;
}

// Home, and clear to the end of the screen: what stays the same does not flicker.
const REDRAW = '\u001b[H\u001b[J';

/**
 * Shows the status again and again until a signal: redrawn on a terminal, one after another
 * elsewhere. A primary that is away is told, and asked again.
 * @throws RowcastError of the answer
 */
async function watch(options: StatusOptions, terminal: Terminal): Promise<ExitCode> {
  const { stdout, signal } = terminal;
  const output = new RowOutput(stdout, () => {});
  const isScreen = stdout.isTTY === true && options.json !== true;
  try {
    for (let isFirst = true; !signal.aborted; isFirst = false) {
      const text = await nextText(options, terminal);
      if (text === undefined) break;
      if (isScreen) await output.write(`${REDRAW}${text}`);
      else await output.write(isFirst || options.json === true ? text : `\n${text}`);
      await output.flushed();
      await slept(options.interval * 1_000, terminal);
    }
  } catch (error) {
    if (!isReaderGone(output.failure)) throw error;
  }
  return exitCodes.fine;
}

/** Undefined when a signal came. */
async function nextText(options: StatusOptions, terminal: Terminal): Promise<string | undefined> {
  try {
    return format(await ask(options, terminal), options);
  } catch (error) {
    if (terminal.signal.aborted) return undefined;
    if (!(error instanceof ConnectionError)) throw error;
    const { code, message } = error;
    if (options.json === true) return `${JSON.stringify({ error: { code, message } })}\n`;
    return `${code}: ${message}\nasking again every ${options.interval} s\n`;
  }
}

function format(report: StatusReport, { json }: StatusOptions): string {
  return json === true ? `${JSON.stringify(report)}\n` : formatStatus(report);
}

async function ask(options: StatusOptions, { signal }: Terminal): Promise<StatusReport> {
  const { admin, all } = options;
  let report: StatusReport | undefined;
  do {
    const path = pathOf({ ...options, after: report?.next ?? options.after });
    const page = reportIn(await askAdmin({ admin, path, signal }), admin);
    // Names rise from page to page, so that the pages end.
    if (report !== undefined && page.next !== null && !(page.next > report.next!)) throw notOurs(admin);
    report = joined(report, page);
  } while (all === true && report.next !== null && report.streams.length < MAX_STREAMS);
  return report;
}

function reportIn(answer: AdminAnswer, admin: HostAndPort): StatusReport {
  const body = bodyOf(answer, admin) as Partial<StatusReport> | null;
  if (!Array.isArray(body?.streams) || !Array.isArray(body.connections)) throw notOurs(admin);
  if (typeof body.name !== 'string' || body.logTrouble === undefined || body.counts === undefined) throw notOurs(admin);
  return body as StatusReport;
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
