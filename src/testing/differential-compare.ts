/**
 * What the differential test compares between a log and its oracle, and what it does not. The
 * promises of a log (log/log.ts) leave room, and only the promise is compared:
 *
 * - A log gives which tokens it likes; they rise. It begins eras when it likes; they rise, and a
 *   stream that is made again is of another era than the one of its deletion.
 * - A page ends where the log likes, with a whole batch, before another history, and with the chunk
 *   that reaches `maxBytes`.
 * - Retention drops whole batches from the front, never one that it must keep. What it need not keep
 *   is dropped within IN_TIME commits, or later, up to the end of the batches of one turn.
 * - Rows are counted exactly between turns, and between 0 and all within the batches of one turn.
 * - A hint may come twice, or early for its stream's neighbour. The latest token of each append is
 *   told before it resolves, with its rows or without.
 * - `streams()` is a set. The catalog lists streams of one turn in any order.
 * - Times in the catalog are the log's own.
 */

import assert from 'node:assert/strict';

import type { Millis } from '../base/clock.ts';
import { chunkBytes } from '../core/model/chunk.ts';
import { eraNumberOf, type History, logIdOf } from '../core/model/history.ts';
import type { Page } from '../core/model/page.ts';
import type { Retention, StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { Log, ReadOptions } from '../log/log.ts';
import { countRows, type Oracle, type OracleBatch, type OracleStream } from './differential-oracle.ts';
import { attributesOf, parseBatches } from './log-suite-place.ts';

/** After this many commits a log has dropped what its retention does not need, whole chunks aside. */
const IN_TIME = 20;

/** A page that is the answer to a read after a token from `earliest - 1`. */
export function comparePage(
  page: Page,
  kept: OracleStream,
  stream: StreamName,
  { after, maxBytes }: ReadOptions,
): void {
  const { bounds } = kept;
  assert.equal(page.stream, stream, 'the stream of the page');
  if (after >= bounds.latest) {
    const empty = { stream, chunks: [], rows: 0, upTo: bounds.latest, hasMore: false, history: bounds.history };
    assert.deepEqual(page, empty, 'a page of nothing');
    return;
  }
  assert.ok(page.upTo > after && page.upTo <= bounds.latest, `a page after ${after} to go on, not to ${page.upTo}`);
  assert.equal(page.hasMore, page.upTo < bounds.latest, 'whether a page says that more follows');
  assert.equal(page.chunks[0]?.after, after, 'where the first chunk joins on');
  assert.equal(page.chunks.at(-1)?.upTo, page.upTo, 'where the last chunk ends');
  const expected = kept.between(after, page.upTo);
  compareBatches(parseBatches(page), expected, 'the batches of a page');
  assert.deepEqual(
    attributesOf(page),
    expected.flatMap(({ token, attributes }) => (attributes === undefined ? [] : [{ token, json: attributes }])),
    'the attributes of a page',
  );
  assert.equal(page.rows, countRows(expected), 'the rows that a page counts');
  for (const { token, history } of [...expected, { token: page.upTo, history: kept.historyAt(page.upTo) }])
    assert.equal(page.history, history, `the history of a page, which holds token ${token}`);
  let bytes = 0;
  for (const [i, chunk] of page.chunks.entries()) {
    assert.ok(bytes < maxBytes, `a page of ${maxBytes} bytes to end with the chunk that reaches them`);
    bytes += chunkBytes(chunk);
    const before = page.chunks[i - 1];
    if (before !== undefined) assert.equal(chunk.rowsUpTo - before.rowsUpTo, chunk.rows, 'what rowsUpTo counts');
  }
}

export function compareBatches(
  found: readonly { readonly token: Token; readonly rows: readonly string[] }[],
  expected: readonly OracleBatch[],
  what: string,
): void {
  assert.deepEqual(
    found,
    expected.map(({ token, rows }) => ({ token, rows })),
    what,
  );
}

/** @returns whether the count had to be exact */
export function compareRowsAfter(rows: number, kept: OracleStream, after: Token): boolean {
  const from = Math.max(after, kept.earliest - 1);
  const turn = kept.batches.find(({ token }) => token > from)?.turn;
  const following = kept.between(from, kept.latest);
  if (turn === undefined || from <= turn.after) {
    assert.equal(rows, countRows(following), `the rows after ${after}`);
    return true;
  }
  const least = countRows(following.filter((batch) => batch.turn !== turn));
  const most = least + turn.rows;
  assert.ok(rows >= least && rows <= most, `the rows after ${after} to be from ${least} to ${most}, not ${rows}`);
  return false;
}

interface Retained {
  readonly stream: StreamName;
  readonly kept: OracleStream;
  readonly retain: Retention;
  readonly now: Millis;
}

/**
 * Takes over what retention has dropped, if it was allowed to.
 * @returns the batches that were dropped
 */
export function adoptRetention({ log, stream, kept, retain, now }: Retained & { readonly log: Log }): OracleBatch[] {
  const { earliest } = log.bounds(stream);
  if (earliest <= kept.earliest) return [];
  const end = kept.batches.findLast(({ token }) => token < earliest);
  assert.equal(end?.token, earliest - 1, `stream ${stream}: retention to drop whole batches, to begin at ${earliest}`);
  const dropped = kept.drop(earliest - 1);
  const { rows, ageMs } = retain;
  assert.ok(rows !== undefined || ageMs !== undefined, `stream ${stream}, which keeps all, to drop nothing`);
  const left = countRows(kept.batches);
  assert.ok(rows === undefined || left >= rows, `stream ${stream} to keep the newest ${rows} rows, not ${left}`);
  for (const { token, atMs } of dropped) {
    const isOld = ageMs === undefined || atMs <= now - ageMs;
    assert.ok(isOld, `stream ${stream} to keep token ${token}, which is ${now - atMs} ms old`);
  }
  return dropped;
}

/** Checks that retention drops in time. Call it after each turn of appends to the stream. */
export function checkOverdue({ stream, kept, retain: { rows, ageMs }, now }: Retained): void {
  const oldest = kept.batches[0];
  if (oldest === undefined || (rows === undefined && ageMs === undefined)) return;
  const others = kept.batches.filter(({ turn }) => turn !== oldest.turn);
  const isNeeded =
    (rows !== undefined && countRows(others) < rows) || (ageMs !== undefined && oldest.atMs > now - ageMs);
  kept.overdue = isNeeded ? 0 : kept.overdue + 1;
  assert.ok(kept.overdue <= IN_TIME, `stream ${stream} to have dropped token ${oldest.token}, which it need not keep`);
}

/** Compares the streams that are there, and the bounds of each. */
export function compareBounds(log: Log, oracle: Oracle, served: readonly StreamName[]): void {
  assert.deepEqual([...log.streams()].sort(), [...oracle.streams.keys()].sort(), 'the streams that are made');
  assert.deepEqual(log.bounds(log.catalog), oracle.catalog.bounds, 'the bounds of the catalog');
  for (const stream of served) {
    assert.equal(log.serves(stream), true, `stream ${stream} to be served`);
    assert.deepEqual(log.bounds(stream), oracle.at(stream).bounds, `the bounds of stream ${stream}`);
  }
}

/** Checks that an era follows on another of the same log. */
export function checkLaterEra(era: History, before: History): void {
  assert.equal(logIdOf(era), logIdOf(before), 'the log id of an era');
  assert.ok(eraNumberOf(era) > eraNumberOf(before), `era ${era} to have a higher number than ${before}`);
}
