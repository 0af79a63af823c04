/** The codec alone, in one process: bytes to lines and rows to bytes. */
import { Bench } from 'tinybench';
import { encodeChunks } from '../../dist/log/encode-chunks.js';
import { encodeRows } from '../../dist/core/model/row.js';
import { RowDecoder } from '../../dist/core/wire/row-decoder.js';
import { LineCutter } from '../../dist/core/wire/lines.js';
import { pageLines } from '../../dist/core/wire/page-lines.js';
import { makeLines, rows as differentRows } from '../rows.js';
import { rounds } from '../rounds.js';

const ROWS = 10_000;
const ROUND_MS = 400;
const MAX_LINE_BYTES = 1024 * 1024;

export async function* measure() {
  const chunks = makeLines(0, ROWS);
  const bytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  const texts = differentRows.slice(0, ROWS).map((row) => JSON.stringify(row));
  const batches = Array.from({ length: ROWS / 100 }, (_, i) => differentRows.slice(i * 100, (i + 1) * 100));
  const singles = differentRows.slice(0, ROWS).map((row) => [row]);
  const encode = (given) =>
    encodeChunks({
      planned: {
        stream: 'events',
        after: 0,
        batches: given.map((batch) => encodeRows('events', batch)),
        tokens: given.map((_, i) => i + 1),
      },
      rowsUpTo: 0,
      history: '8f3c1d2e4b5a6978.1764281400.a1b2c3d4',
      atMs: 0,
      logMs: 0,
    });
  // New objects each time: the lines of a chunk are made once.
  const toLines = (encoded) => pageLines({ stream: 'events', chunks: encoded.map((chunk) => ({ ...chunk })) }, false);
  const encodedBatches = encode(batches);
  const encodedSingles = encode(singles);
  const subjects = {
    'JSON.parse of lines split before': () => {
      for (const text of texts) JSON.parse(text);
    },
    'decode: bytes to stream, token and row': () => {
      const lines = new LineCutter(MAX_LINE_BYTES);
      const row = new RowDecoder();
      let count = 0;
      for (const chunk of chunks) {
        lines.push(chunk);
        while (lines.advance()) if (row.decode(lines.text, lines.start, lines.end)) count++;
      }
      if (count !== ROWS) throw new Error(`decoded ${count} rows of ${ROWS}`);
    },
    'JSON.stringify of each row': () => {
      for (const row of differentRows) JSON.stringify(row);
    },
    'encode: batches of 100 rows to chunks of bytes': () => encode(batches),
    'encode: single rows to chunks of bytes': () => encode(singles),
    'encode: chunks of batches of 100 rows to lines': () => toLines(encodedBatches),
    'encode: chunks of single rows to lines': () => toLines(encodedSingles),
  };
  const table = Object.keys(subjects).map((name) => ({ name, values: [] }));
  const [parse, decode, stringify, encodeBatches, encodeSingles] = table;
  Object.assign(decode, { base: parse, wanted: { ratioAtLeast: 1 / 1.3 } });
  Object.assign(encodeBatches, { base: stringify });
  Object.assign(encodeSingles, { base: stringify });
  for (let round = 0; round < rounds; round++) {
    const bench = new Bench({ time: ROUND_MS, warmupTime: ROUND_MS / 2 });
    for (const [name, subject] of Object.entries(subjects)) bench.add(name, subject);
    await bench.run();
    // The median of the calls, so that one disturbed call does not outweigh a hundred.
    for (const [i, { result }] of bench.tasks.entries()) table[i].values.push(ROWS / 1_000 / result.latency.p50);
  }
  const inBytes = table.map(({ name, values }) => ({ name, values: values.map((rate) => (rate * bytes) / ROWS) }));
  yield [
    { title: 'Codec', unit: 'million rows a second', rows: table },
    { title: 'Codec', unit: 'MB of wire a second', rows: inBytes },
  ];
}
