/** Formats a status report for a terminal. */

import type { Millis } from '../base/clock.ts';
import { quote } from '../core/model/errors.ts';
import { parsePosition } from '../core/model/position.ts';
import type { CountsByCode } from './counters.ts';
import type { ConnectionReport, StatusReport } from './status-report.ts';

/** The text ends with a line end. */
export function formatStatus(report: StatusReport): string {
  return [
    `primary ${report.name}, its log is ${report.log}`,
    ...formatTrouble(report),
    '',
    ...formatStreams(report),
    ...formatHolders(report),
    '',
    ...formatConnections(report),
    ...formatCounts(report),
  ]
    .map((line) => `${line}\n`)
    .join('');
}

/** What is wrong with the log, in words. */
function formatTrouble({ log, logTrouble }: StatusReport): string[] {
  if (logTrouble === null) return [];
  const { since, lastCommitMs, code } = logTrouble;
  const took = lastCommitMs === null ? '' : ` (the last commit took ${lastCommitMs} ms)`;
  if (log === 'failed') return [`it takes no rows until it is opened again: ${code} since ${since}${took}`];
  const what = code === null ? `its last commit took ${lastCommitMs} ms` : `its last commit failed with ${code}${took}`;
  return [`${what}; every commit since ${since} was slow or failed`];
}

function formatStreams({ patterns, streams, next }: StatusReport): string[] {
  const declared = patterns.length === 0 ? [] : [`streams are made by their first row: ${patterns.join(', ')}`, ''];
  if (streams.length === 0) return [...declared, 'no streams'];
  const lines = table(
    ['stream', 'earliest', 'latest', ''],
    streams.map(({ stream, source, earliest, latest, durable }) => [
      stream,
      earliest > latest ? '-' : String(earliest),
      String(latest),
      durable === null ? `of ${source}` : durable ? '' : 'not kept over a restart',
    ]),
  );
  if (next === null) return [...declared, ...lines];
  return [...declared, ...lines, `… and more: --after ${next} shows the next, --all shows all`];
}

/** Who keeps rows from being dropped. Nothing where no stream has `retain.untilSavedBy`. */
function formatHolders({ streams }: StatusReport): string[] {
  const rows = streams.flatMap(({ stream, holders = [], holderCount = 0 }) => {
    const ofStream = holders.map(({ worker, saved, lagRows, connected }) => [
      stream,
      quote(worker),
      saved === null ? '-' : String(parsePosition(saved).token),
      String(lagRows),
      connected ? '' : 'not connected',
    ]);
    const others = holderCount - holders.length;
    return others > 0 ? [...ofStream, [stream, `${others} more`, '', '', 'less far behind']] : ofStream;
  });
  return rows.length === 0 ? [] : ['', ...table(['stream', 'rows held by', 'saved', 'unsaved rows', ''], rows)];
}

function formatConnections({ connections }: StatusReport): string[] {
  if (connections.length === 0) return ['no connections'];
  return table(
    ['connection', 'peer', 'age', 'queue', 'stream', 'sent', 'unsent rows', 'applied', 'unapplied rows', 'state'],
    connections.flatMap(rowsOfConnection),
  );
}

/** One row for each subscription. The first row names the connection. */
function rowsOfConnection(report: ConnectionReport): string[][] {
  const { id, name, peer, ageMs, queueBytes, streams, liveStreams, subscriptions } = report;
  const who = [name === null ? `#${id}` : `#${id} ${quote(name)}`, peer, formatAge(ageMs), formatBytes(queueBytes)];
  if (streams === 0) return [[...who, '-', '', '', '', '', 'no subscription']];
  const rows = subscriptions.map(({ stream, state, sent, sentLagRows, applied, appliedLagRows }) => [
    stream,
    String(sent),
    String(sentLagRows),
    String(applied ?? '-'),
    String(appliedLagRows ?? '-'),
    state,
  ]);
  const others = streams - subscriptions.length;
  if (others > 0) rows.push([`${others} on other pages`, '', '', '', '', `${liveStreams} of ${streams} live`]);
  return rows.map((row, index) => [...(index === 0 ? who : who.map(() => '')), ...row]);
}

function formatCounts({ counts }: StatusReport): string[] {
  const { connectionsMade, slowConsumersCut, trimmedServed, refusals, errors } = counts;
  return [
    '',
    `since the start: ${connectionsMade} ${connectionsMade === 1 ? 'connection' : 'connections'}, ${slowConsumersCut} cut as slow`,
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
