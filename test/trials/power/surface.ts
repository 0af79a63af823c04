/** What the trials use of Rowcast in this process: reading a log whole. A change of the interface of logs changes this file. */

import { defaultBatchLimits } from '../../../src/core/model/batch.ts';
import { defineStream } from '../../../src/core/model/stream.ts';
import type { Log } from '../../../src/log/log.ts';
import { sqliteLog } from '../../../src/log/sqlite.ts';
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
  readonly batches: ReadonlyMap<number, readonly StoredRow[]>;
}

const streams = streamNames.map((name) => defineStream(name, name === 'kept' ? { retain: { rows: KEPT_ROWS } } : {}));

/** @throws what the log throws: LOG_DAMAGED, say */
export async function openLog(path: string): Promise<Log> {
  const log = sqliteLog({ path });
  await log.open({ streams, limits: defaultBatchLimits });
  return log;
}

export async function appendTo(log: Log, stream: string, rows: readonly StoredRow[]): Promise<number> {
  return log.append(
    stream,
    rows.map((row) => JSON.stringify(row)),
  );
}

/** All that is kept of it, or what follows a token. */
export async function readStream(log: Log, stream: string, from?: number): Promise<StoredStream> {
  const { earliest, latest } = log.bounds(stream);
  const batches = new Map<number, StoredRow[]>();
  let rows: StoredRow[] = [];
  for (let after = from ?? earliest - 1; ; ) {
    const page = await log.read(stream, { after, maxBytes: PAGE_BYTES });
    for (const line of Buffer.from(page.lines).toString().split('\n')) {
      if (line === '') continue;
      // RDATA <stream> <token|batch> <row>: the last row of a batch has its token.
      const [, token, row] = /^RDATA \S+ (\S+) (.*)$/.exec(line)!;
      rows.push(JSON.parse(row!) as StoredRow);
      if (token === 'batch') continue;
      batches.set(Number(token), rows);
      rows = [];
    }
    if (!page.hasMore) break;
    after = page.upTo;
  }
  if (rows.length > 0) throw new Error(`the last batch of ${stream} has no end`);
  return { earliest, latest, batches };
}
