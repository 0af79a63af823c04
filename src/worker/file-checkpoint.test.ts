import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import type { Position } from '../core/model/position.ts';
import { applyChanges } from './checkpoint.ts';
import { fileCheckpoint } from './file-checkpoint.ts';

const HISTORY = '8f3c1d2e4b5a6978.7.a1b2c3d4';
const positions = mapOf(
  { stream: 'events', token: 54, history: HISTORY },
  { stream: '__proto__', token: 0, history: '8f3c1d2e4b5a6978.0.00000000' },
  { stream: 'a=b,é', token: 7, history: undefined },
  { stream: '$streams/room:*', token: 3, history: HISTORY },
  { stream: 'room:1', token: 9, history: HISTORY },
);

let directory: string;
let path: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'rowcast-checkpoint-'));
  path = join(directory, 'reader-1.checkpoint');
  onTestFinished(() => rm(directory, { recursive: true }));
});

function mapOf(...all: readonly Position[]): ReadonlyMap<string, Position> {
  return new Map(all.map((position) => [position.stream, position]));
}

const eventsAt = (token: number): ReadonlyMap<string, Position> => mapOf({ stream: 'events', token, history: HISTORY });

/** A checkpoint that is saved to as a worker does. */
function saver(): (...changes: ReadonlyArray<readonly [string, Position | undefined]>) => Promise<void> {
  const checkpoint = fileCheckpoint(path);
  const all = new Map<string, Position>();
  return async (...changes) => {
    applyChanges(all, new Map(changes));
    await checkpoint.save(new Map(changes), all);
  };
}

const moved = (stream: string, token: number): readonly [string, Position] => [
  stream,
  { stream, token, history: HISTORY },
];

const load = async (): Promise<ReadonlyMap<string, Position>> => fileCheckpoint(path).load();

function line(content: string): string {
  return `${crc32(content).toString(16).padStart(8, '0')} ${content}\n`;
}

test('gives back what was saved, and leaves no other file', async () => {
  await fileCheckpoint(path).save(eventsAt(1), eventsAt(1));
  await fileCheckpoint(path).save(positions, positions);
  expect(await load()).toEqual(positions);
  expect(await readdir(directory)).toEqual(['reader-1.checkpoint']);
});

test('a file that is not there yet is an empty checkpoint', async () => {
  expect(await load()).toEqual(new Map());
});

test('the form of the file is pinned', async () => {
  const save = saver();
  await save(...positions);
  await save(moved('events', 55), ['room:1', undefined], ['a=b,é', undefined]);
  expect(await readFile(path, 'utf8')).toBe(
    'rowcast checkpoint 3\n' +
      '9be85d80 events=54@8f3c1d2e4b5a6978.7.a1b2c3d4,__proto__=0@8f3c1d2e4b5a6978.0.00000000,a%3Db%2C%C3%A9=7,' +
      '%24streams%2Froom%3A*=3@8f3c1d2e4b5a6978.7.a1b2c3d4,room%3A1=9@\n' +
      'f34e3010 events=55@8f3c1d2e4b5a6978.7.a1b2c3d4 room%3A1,a%3Db%2C%C3%A9\n',
  );
  expect([...(await load()).keys()]).toEqual(['events', '__proto__', '$streams/room:*']);
});

test('a save costs what has changed, and the file is replaced when it is twice as large as its content', async () => {
  const save = saver();
  await save(...Array.from({ length: 2_000 }, (_, i) => moved(`room:${i}`, 1)));
  const whole = (await stat(path)).size;
  let before = (await stat(path)).ino;
  let replaced = 0;
  for (let token = 2; token < 200; token++) {
    await save(...Array.from({ length: 20 }, (_, i) => moved(`room:${i}`, token)));
    const { size, ino } = await stat(path);
    expect(size).toBeLessThanOrEqual(2 * whole + 1_000);
    if (ino !== before) replaced++;
    before = ino;
  }
  expect(replaced).toBeGreaterThan(0);
  expect(replaced).toBeLessThan(10);
  expect((await load()).get('room:7')?.token).toBe(199);
  expect((await load()).size).toBe(2_000);
});

test('wherever its last line is cut or damaged, it holds the positions before or after the last save', async () => {
  const save = saver();
  await save(moved('events', 1), moved('users', 1));
  const { size } = await stat(path);
  await save(moved('events', 2), ['users', undefined]);
  const bytes = await readFile(path);
  for (let end = size; end < bytes.length; end++) {
    await writeFile(path, bytes.subarray(0, end));
    expect((await load()).get('users')?.token, `cut at ${end}`).toBe(1);
    // A part of the last line was never written to the disk.
    await writeFile(path, Buffer.concat([bytes.subarray(0, size), Buffer.alloc(end - size), bytes.subarray(end)]));
    expect((await load()).has('users'), `zero up to ${end}`).toBe(end > size);
    // The file grew and its new part was never written: old content of the disk, with line ends.
    const old = Buffer.from('old\nlines\n\n1\x80'.repeat(20)).subarray(0, bytes.length - end);
    await writeFile(path, Buffer.concat([bytes.subarray(0, end), old]));
    expect((await load()).get('users')?.token, `old content from ${end}`).toBe(1);
  }
  await writeFile(path, bytes);
  expect((await load()).has('users')).toBe(false);
});

test('a torn end is never appended to', async () => {
  const save = saver();
  await save(moved('events', 1));
  await save(moved('events', 2));
  await truncate(path, (await stat(path)).size - 3);
  await save(moved('users', 1));
  expect([...(await load()).values()].map(({ token }) => token)).toEqual([2, 1]);
  await appendFile(path, 'torn');
  const next = fileCheckpoint(path);
  const all = new Map(await next.load());
  await next.save(new Map(), all);
  expect(await load()).toEqual(all);
});

test('after a save that failed the next one replaces the file', async () => {
  const save = saver();
  await save(moved('events', 1));
  await rm(path);
  await mkdir(path);
  await expect(save(moved('events', 2))).rejects.toMatchObject({
    name: 'HandlerError',
    code: 'CHECKPOINT_FAILED',
    message: expect.stringContaining(path),
  });
  await rm(path, { recursive: true });
  await save(moved('users', 1));
  expect([...(await load()).values()].map(({ token }) => token)).toEqual([2, 1]);
});

test('what a crash left half written beside the file does no harm', async () => {
  await fileCheckpoint(path).save(positions, positions);
  await writeFile(`${path}.new`, 'rowcast check');
  expect(await load()).toEqual(positions);
  await fileCheckpoint(path).save(eventsAt(55), eventsAt(55));
  expect(await load()).toEqual(eventsAt(55));
});

const HEADER = 'rowcast checkpoint 3\n';
const good = line(`events=1@${HISTORY}`);

test.each([
  ['', 'it does not begin with the line rowcast checkpoint 3'],
  ['{"version":2,"positions":[]}', 'it does not begin with the line rowcast checkpoint 3'],
  ['rowcast checkpoint 2\n', 'it does not begin with the line rowcast checkpoint 3'],
  [HEADER, 'it has no positions'],
  [HEADER + good.slice(0, -1), 'it has no positions'],
  [`${HEADER}00000000 events=1\n`, 'line 2 has another checksum than its text'],
  [`${HEADER}${good}00000000 events=2\n${good}`, 'line 3 has another checksum than its text'],
  [`${HEADER}${good}\n${good}`, 'line 3 has another checksum than its text'],
  [HEADER + line('events=-1'), 'line 2: a position is as in'],
  [HEADER + line('events=1@8f3c'), "'8f3c' is no history"],
  [HEADER + line('events'), 'it is not a stream name, = and a token'],
  [HEADER + line('events=1 %'), 'line 2: '],
])('a damaged file is an error that names it, never a fresh start: %j', async (text, why) => {
  await writeFile(path, text);
  const loaded = load();
  await expect(loaded).rejects.toMatchObject({ name: 'HandlerError', code: 'CHECKPOINT_FAILED' });
  await expect(loaded).rejects.toThrow(`checkpoint ${path} is damaged`);
  await expect(loaded).rejects.toThrow(why);
  expect(await readFile(path, 'utf8')).toBe(text);
});

test('a file that cannot be read or written is an error that names it', async () => {
  const folder = join(directory, 'folder');
  await mkdir(folder);
  const failure = { code: 'CHECKPOINT_FAILED', message: expect.stringContaining(folder) };
  await expect(fileCheckpoint(folder).load()).rejects.toMatchObject(failure);
  await expect(fileCheckpoint(folder).save(positions, positions)).rejects.toMatchObject(failure);
  const nowhere = join(directory, 'no', 'such', 'folder.checkpoint');
  await expect(fileCheckpoint(nowhere).save(positions, positions)).rejects.toMatchObject({
    code: 'CHECKPOINT_FAILED',
    message: expect.stringContaining(nowhere),
  });
});
