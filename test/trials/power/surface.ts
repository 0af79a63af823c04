/**
 * The trials use Rowcast in this process only here, to read a whole log. A change of the log
 * interface changes this file.
 */

import { defineStream } from '../../../src/core/model/stream.ts';
import type { Log } from '../../../src/log/log.ts';
import { sqliteLog } from '../../../src/log/sqlite.ts';
import { CATALOG, openOptions, parseBatches } from '../../../src/testing/log-suite-place.ts';
import { KEPT_ROWS, streamNames } from './facts.ts';

const PAGE_BYTES = 256 * 1024;

export interface StoredRow {
  readonly batch: string;
  readonly i: number;
  readonly of: number;
}

export interface StoredStream {
  readonly earliest: number;
  readonly latest: number;
  /** By token. */
  readonly batches: ReadonlyMap<number, StoredBatch>;
}

export interface StoredBatch {
  readonly history: string;
  readonly rows: readonly StoredRow[];
}

const streams = streamNames.map((name) => defineStream(name, name === 'kept' ? { retain: { rows: KEPT_ROWS } } : {}));

/** @throws errors of the log, such as LOG_DAMAGED */
export async function openLog(path: string): Promise<Log> {
  const log = sqliteLog({ path });
  await log.open(openOptions(streams));
  return log;
}

export async function appendTo(log: Log, stream: string, rows: readonly StoredRow[]): Promise<number> {
  const texts = rows.map((row) => JSON.stringify(row));
  const { token } = await log.append(stream, texts);
  return token;
}

/** The names in the log's catalog, duplicates included. */
export async function readCatalog(log: Log): Promise<string[]> {
  const names: string[] = [];
  for await (const { rows } of batchesOf(log, CATALOG, 0))
    names.push(...rows.map((row) => (JSON.parse(row) as { stream: string }).stream));
  return names;
}

/** All kept rows of a stream, or those after a token. */
export async function readStream(log: Log, stream: string, from?: number): Promise<StoredStream> {
  const { earliest, latest } = log.bounds(stream);
  const batches = new Map<number, StoredBatch>();
  for await (const { token, history, rows } of batchesOf(log, stream, from ?? earliest - 1))
    batches.set(token, { history, rows: rows.map((row) => JSON.parse(row) as StoredRow) });
  return { earliest, latest, batches };
}

/** All batches after a token. A page ends where an era does, so one read may not be all. */
async function* batchesOf(log: Log, stream: string, from: number) {
  for (let after = from; ; ) {
    const page = await log.read(stream, { after, maxBytes: PAGE_BYTES });
    for (const { token, rows } of parseBatches(page)) yield { token, history: page.history, rows };
    if (!page.hasMore) return;
    after = page.upTo;
  }
}
