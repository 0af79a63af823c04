/** The logs of this folder keep what every log promises, and the journal knows a damaged or stolen file. */
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { createMemoryTransport, createPrimary, createWorker, Declarations, defineStream } from 'rowcast';
import { differentialTest, logSuite } from 'rowcast/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { foreignLog } from './foreign-log.js';
import { journalLog } from './journal-log.js';

const offers = { ids: true, explicitTokens: true, relays: true, acknowledgements: true, backup: false };

const journal = {
  name: 'journal log',
  create: ({ directory, clock }) => journalLog({ path: path.join(directory, 'rows.jsonl'), clock }),
  supports: { ...offers, durable: true, foreignHints: false },
  writer: (directory) => [process.execPath, fileURLToPath(new URL('writer.js', import.meta.url)), directory],
};
const foreign = {
  name: 'foreign log',
  create: ({ clock }) => foreignLog({ clock }),
  supports: { ...offers, durable: false, foreignHints: true },
};

for (const tested of [journal, foreign]) {
  logSuite(test, tested);
  differentialTest(test, tested);
}

const notes = defineStream('notes');
const limits = { maxLineBytes: 1024 * 1024, maxBatchBytes: 1024 * 1024 };
const options = { declarations: new Declarations([notes]), limits, catalog: '$streams' };
let folder = '';
let file = '';

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'rowcast-own-log-'));
  file = path.join(folder, 'rows.jsonl');
});

afterEach(async () => rm(folder, { recursive: true }));

/** A journal with three rows, as a kill leaves it. */
async function written() {
  const log = journalLog({ path: file });
  await log.open(options);
  for (const row of ['1', '2', '3']) await log.append('notes', [row]);
  const bytes = await readFile(file);
  await log.close();
  return bytes;
}

test('a last line that was not finished is cut off, wherever it ends', async () => {
  const bytes = await written();
  const start = bytes.lastIndexOf(0x0a, bytes.length - 2) + 1;
  for (const length of [start + 1, start + 20, bytes.length - 1]) {
    await writeFile(file, bytes);
    await truncate(file, length);
    const log = journalLog({ path: file });
    await log.open(options);
    expect(log.bounds('notes').latest).toBe(2);
    expect((await log.append('notes', ['"again"'])).token).toBe(3);
    await log.close();
  }
});

test('damage before the last line is refused, and the file stays as it is', async () => {
  const bytes = await written();
  bytes[10] ^= 1;
  await writeFile(file, bytes);
  await expect(journalLog({ path: file }).open(options)).rejects.toMatchObject({ code: 'LOG_DAMAGED' });
  expect(await readFile(file)).toEqual(bytes);
});

test('a log whose file another one has opened since acknowledges nothing more', async () => {
  const first = journalLog({ path: file });
  await first.open(options);
  await first.append('notes', ['1']);
  const second = journalLog({ path: file });
  await second.open(options);
  await expect(first.append('notes', ['2'])).rejects.toMatchObject({ code: 'LOG_FENCED' });
  expect(first.health).toBe('failed');
  expect((await second.append('notes', ['"mine"'])).token).toBe(2);
  await Promise.all([first.close(), second.close()]);
});

test('rows of a foreign log are read once for all workers that are live', async () => {
  const [workers, appends] = [20, 50];
  const log = foreignLog();
  const transport = createMemoryTransport();
  const primary = await createPrimary({ name: 'example.com', log, streams: [notes], transport });
  const address = await primary.listen({ host: 'memory', port: 1, allowPlaintext: true });
  const counts = Array.from({ length: workers }, () => 0);
  const following = counts.map((_, i) => {
    const worker = createWorker({ name: `reader-${i}`, server: 'example.com', connect: address, transport });
    worker.subscribe(notes, { from: 'start' }, ({ rows }) => void (counts[i] += rows.length));
    return worker;
  });
  await Promise.all(following.map(async (worker) => worker.start()));
  const before = log.reads;
  let position;
  for (let i = 0; i < appends; i++) position = await primary.append(notes, [{ i }]);
  await Promise.all(following.map(async (worker) => worker.waitFor(position)));
  expect(counts).toEqual(counts.map(() => appends));
  expect(log.reads - before).toBeLessThanOrEqual(appends * 2);
  await Promise.all(following.map(async (worker) => worker.stop()));
  await primary.close();
});
