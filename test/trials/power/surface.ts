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
  const page = await log.read(CATALOG, { after: 0, maxBytes: PAGE_BYTES });
  return parseBatches(page).flatMap(({ rows }) => rows.map((row) => (JSON.parse(row) as { stream: string }).stream));
}

/** All kept rows of a stream, or those after a token. */
export async function readStream(log: Log, stream: string, from?: number): Promise<StoredStream> {
  const { earliest, latest } = log.bounds(stream);
  const batches = new Map<number, StoredBatch>();
  for (let after = from ?? earliest - 1; ; ) {
    const page = await log.read(stream, { after, maxBytes: PAGE_BYTES });
    for (const { token, rows } of parseBatches(page)) {
      batches.set(token, { history: page.history, rows: rows.map((row) => JSON.parse(row) as StoredRow) });
    }
    if (!page.hasMore) break;
    after = page.upTo;
  }
  return { earliest, latest, batches };
}
