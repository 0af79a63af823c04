/**
 * A chunk as a record of the table `chunks`: what its columns hold, and the checksum over them.
 * SQLite has no checksums: a flipped bit in the texts would go out to every worker.
 */

import { crc32 } from 'node:zlib';

import type { Millis } from '../base/clock.ts';
import type { BatchAttributes, Chunk } from '../core/model/chunk.ts';
import { eraTextOf, type History, logIdOf, parseEra, parseHistory } from '../core/model/history.ts';
import type { Token } from '../core/model/token.ts';

/** The columns of a chunk but its id and its stream, in the order of CHUNK_COLUMNS. */
export type ChunkRecord = [
  upTo: Token,
  after: Token,
  rows: number,
  rowsUpTo: number,
  sizes: string,
  tokens: string | null,
  era: string,
  atMs: Millis,
  logMs: Millis,
  crc: number,
  attributes: string | null,
  texts: Uint8Array,
];

export const CHUNK_COLUMNS =
  'up_to, after, rows, rows_up_to, sizes, tokens, era, at_ms, log_ms, crc32, attributes, texts';

/** What SQLite gives, which may be anything. */
export type UncheckedRecord = unknown[];

export function recordOf(streamId: number, chunk: Chunk, eras: EraTexts): ChunkRecord {
  const { upTo, after, rows, rowsUpTo, atMs, logMs, texts } = chunk;
  const sizes = sizesText(chunk.sizes);
  const tokens = chunk.tokens === undefined ? null : chunk.tokens.join(',');
  const attributes = attributesText(chunk.attributes);
  const era = eras.textOf(chunk.history);
  const record: ChunkRecord = [upTo, after, rows, rowsUpTo, sizes, tokens, era, atMs, logMs, 0, attributes, texts];
  record[9] = checksumOf(streamId, record);
  return record;
}

/** Undefined when the record is not what was written. */
export function chunkOf(streamId: number, record: UncheckedRecord, eras: EraTexts): Chunk | undefined {
  if (!isRecord(record) || checksumOf(streamId, record) !== record[9]) return undefined;
  const [upTo, after, rows, rowsUpTo, sizes, tokens, era, atMs, logMs, , attributes, texts] = record;
  const history = eras.historyOf(era);
  if (history === undefined) return undefined;
  return {
    after,
    upTo,
    rows,
    rowsUpTo,
    history,
    atMs,
    logMs,
    texts,
    sizes: parseSizes(sizes),
    tokens: tokens === null ? undefined : tokens.split(',').map(Number),
    attributes: attributes === null ? undefined : parseAttributes(attributes),
  };
}

function isRecord(record: UncheckedRecord): record is UncheckedRecord & ChunkRecord {
  const [upTo, after, rows, rowsUpTo, sizes, tokens, era, atMs, logMs, , attributes, texts] = record;
  return (
    typeof upTo === 'number' &&
    typeof after === 'number' &&
    typeof rows === 'number' &&
    typeof rowsUpTo === 'number' &&
    typeof sizes === 'string' &&
    (tokens === null || typeof tokens === 'string') &&
    typeof era === 'string' &&
    typeof atMs === 'number' &&
    typeof logMs === 'number' &&
    (attributes === null || typeof attributes === 'string') &&
    texts instanceof Uint8Array
  );
}

/** Over everything, the id of the stream too: a chunk that came to another stream is damage. */
function checksumOf(
  streamId: number,
  [upTo, after, rows, rowsUpTo, sizes, tokens, era, atMs, logMs, , attributes, texts]: ChunkRecord,
): number {
  const head = `${streamId} ${after} ${upTo} ${rows} ${rowsUpTo} ${sizes} ${tokens} ${era} ${atMs} ${logMs}`;
  return crc32(`${head} ${attributes}`, crc32(texts));
}

/** The sizes of batches, in order. `1*1000,3`: 1,000 batches of one row, then one of three. */
function sizesText(sizes: readonly number[]): string {
  if (sizes.length === 1) return String(sizes[0]);
  const runs: string[] = [];
  for (let i = 0; i < sizes.length; ) {
    const size = sizes[i]!;
    const start = i;
    while (sizes[i] === size) i++;
    runs.push(i - start === 1 ? String(size) : `${size}*${i - start}`);
  }
  return runs.join(',');
}

function parseSizes(text: string): number[] {
  const sizes: number[] = [];
  if (text === '') return sizes;
  for (const run of text.split(',')) {
    const [size, count = 1] = run.split('*').map(Number);
    for (let i = 0; i < count; i++) sizes.push(size!);
  }
  return sizes;
}

/** The tokens and texts of a chunk's attributes as one JSON text, readable in the shell. */
function attributesText(attributes: readonly BatchAttributes[] | undefined): string | null {
  return attributes === undefined ? null : JSON.stringify(attributes.map(({ token, json }) => [token, json]));
}

function parseAttributes(text: string): BatchAttributes[] {
  return (JSON.parse(text) as [token: Token, json: string][]).map(([token, json]) => ({ token, json }));
}

/** Few eras are read at a time. More would only take memory. */
const MAX_HISTORIES = 1_000;

/**
 * Histories as they are stored: without the id of the log where it is the log's own, because
 * `new-history` changes that. Streams share the strings.
 */
export class EraTexts {
  readonly #logId: string;
  readonly #histories = new Map<string, History>();
  #lastHistory: History = '';
  #lastText = '';

  constructor(logId: string) {
    this.#logId = logId;
  }

  textOf(history: History): string {
    if (history === this.#lastHistory) return this.#lastText;
    this.#lastHistory = history;
    this.#lastText = logIdOf(history) === this.#logId ? eraTextOf(history) : history;
    return this.#lastText;
  }

  /** Undefined when it is none. */
  historyOf(text: unknown): History | undefined {
    if (typeof text !== 'string') return undefined;
    const known = this.#histories.get(text);
    if (known !== undefined) return known;
    const history = parseEra(text) !== undefined ? `${this.#logId}.${text}` : text;
    if (parseHistory(history) === undefined) return undefined;
    if (this.#histories.size >= MAX_HISTORIES) this.#histories.clear();
    this.#histories.set(text, history);
    return history;
  }
}
