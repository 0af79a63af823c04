/** Formats a status report for a terminal. */

import type { Millis } from '../base/clock.ts';
import { quote } from '../core/model/errors.ts';
import type { CountsByCode } from './counters.ts';
import type { ConnectionReport, StatusReport } from './status-report.ts';

/** The text ends with a line end. */
export function formatStatus(report: StatusReport): string {
  return [
    `primary ${report.name}, its log is ${report.log}`,
    '',
    ...formatStreams(report),
    '',
    ...formatConnections(report),
    ...formatCounts(report),
  ]
    .map((line) => `${line}\n`)
    .join('');
}

function formatStreams({ streams }: StatusReport): string[] {
  if (streams.length === 0) return ['no streams'];
  return table(
    ['stream', 'earliest', 'latest', ''],
    streams.map(({ stream, earliest, latest, durable }) => [
      stream,
      earliest > latest ? '-' : String(earliest),
      String(latest),
      durable ? '' : 'not kept over a restart',
    ]),
  );
}

function formatConnections({ connections }: StatusReport): string[] {
  if (connections.length === 0) return ['no connections'];
  return table(
    ['connection', 'peer', 'age', 'queue', 'stream', 'sent', 'unsent rows', 'applied', 'unapplied rows', 'state'],
    connections.flatMap(rowsOfConnection),
  );
}

/** One row for each subscription. The first row names the connection. */
function rowsOfConnection({ id, name, peer, ageMs, queueBytes, subscriptions }: ConnectionReport): string[][] {
  const who = [name === null ? `#${id}` : `#${id} ${quote(name)}`, peer, formatAge(ageMs), formatBytes(queueBytes)];
  if (subscriptions.length === 0) return [[...who, '-', '', '', '', '', 'no subscription']];
  return subscriptions.map(({ stream, state, sent, sentLagRows, applied, appliedLagRows }, index) => [
    ...(index === 0 ? who : who.map(() => '')),
    stream,
    String(sent),
    String(sentLagRows),
    String(applied ?? '-'),
    String(appliedLagRows ?? '-'),
    state,
  ]);
}

function formatCounts({ counts }: StatusReport): string[] {
  const { connectionsMade, slowConsumersCut, trimmedServed, refusals, errors } = counts;
  return [
    '',
    `since the start: ${connectionsMade} connections, ${slowConsumersCut} cut as slow`,
    ...(trimmedServed === 0 ? [] : [`asked for rows that were dropped, and served the rest: ${trimmedServed}`]),
    ...formatByCode('streams refused', refusals),
    ...formatByCode('connections ended and commands failed', errors),
  ];
}

function formatByCode(title: string, counts: CountsByCode): string[] {
  const texts = Object.entries(counts).map(([code, count]) => `${code} ${count}`);
  return texts.length === 0 ? [] : [`${title}: ${texts.join(', ')}`];
}

/** Columns are as wide as their widest cell. Numbers are right-aligned. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]!.length)));
  const isNumeric = head.map((_, column) => rows.every((row) => /^(\d+|-?)$/.test(row[column]!)));
  return [head, ...rows].map((row) => {
    const cells = row.map((cell, column) =>
      isNumeric[column] ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!),
    );
    return cells.join('  ').trimEnd();
  });
}

const SECOND_MS: Millis = 1_000;

export function formatAge(ageMs: Millis): string {
  const seconds = Math.floor(ageMs / SECOND_MS);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 2 * 86_400) return `${Math.floor(seconds / 3_600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

export function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1024 * 1024) return `${(bytes / 1024).toFixed(1)} KiB`;
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}
