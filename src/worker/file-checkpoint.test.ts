import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFile,
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { crc32 } from 'node:zlib';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import type { Position } from '../core/model/position.ts';
import { applyChanges } from './checkpoint.ts';
import { fileCheckpoint, syncDirectory } from './file-checkpoint.ts';

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
  const [header, ...lines] = (await readFile(path, 'utf8')).split('\n');
  expect(header).toMatch(/^rowcast checkpoint 4 % \S+ \d+ [0-9a-f]{16}$/);
  expect(lines.join('\n')).toBe(
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

const HEADER = 'rowcast checkpoint 4 reader-1 host 7 0123456789abcdef\n';
const good = line(`events=1@${HISTORY}`);

test.each([
  ['', 'it does not begin with a line rowcast checkpoint 4'],
  ['{"version":2,"positions":[]}', 'it does not begin with a line rowcast checkpoint 4'],
  ['rowcast checkpoint 3\n', 'it does not begin with a line rowcast checkpoint 4'],
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

const reader = { workerName: 'reader-1' };
const PROGRAM = `
  import { fileCheckpoint } from ${JSON.stringify(new URL('file-checkpoint.ts', import.meta.url).href)};
  const checkpoint = fileCheckpoint(process.argv[1]);
  await checkpoint.load({ workerName: process.argv[2] });
  console.log('open');
  setInterval(() => {}, 1_000);
`;

// SPEC L20
test('a file that a worker has open is locked: the error names worker, process and host, until the other is gone or killed', async () => {
  await fileCheckpoint(path).save(positions, positions);
  const hooks = fileURLToPath(new URL('../../test/fixtures/typescript-hooks.js', import.meta.url));
  const argv = ['--import', hooks, '--input-type=module', '--eval', PROGRAM, path, 'reader-1'];
  const other = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => void other.kill('SIGKILL'));
  await once(other.stdout, 'data');
  await symlink(path, `${path}.link`);
  for (const name of [path, `${path}.link`]) {
    await expect(fileCheckpoint(name).load(reader)).rejects.toMatchObject({
      code: 'CHECKPOINT_LOCKED',
      message: expect.stringMatching(`is in use by worker reader-1 \\(process ${other.pid} on .*\\): give each worker`),
      facts: { path, workerName: 'reader-1', pid: other.pid, host: hostname() },
    });
  }
  other.kill('SIGKILL');
  await once(other, 'exit');
  const mine = fileCheckpoint(path);
  await mine.load(reader);
  await expect(fileCheckpoint(path).load(reader), 'within a process too').rejects.toMatchObject({
    code: 'CHECKPOINT_LOCKED',
    facts: { pid: process.pid },
  });
  await mine.close();
  const next = fileCheckpoint(path);
  await next.load(reader);
  await next.close();
});

test('a file is of one worker: another name is refused, and the file stays as it is', async () => {
  const first = fileCheckpoint(path);
  await first.load({ workerName: 'reader é' });
  await first.save(positions, positions);
  await first.close();
  const before = await readFile(path, 'utf8');
  await expect(fileCheckpoint(path).load({ workerName: 'other' })).rejects.toMatchObject({
    code: 'CHECKPOINT_LOCKED',
    message: expect.stringMatching(/ is of worker reader é, and this one is other: give each worker a file of its own/),
  });
  expect(await readFile(path, 'utf8')).toBe(before);
  expect(await first.load({ workerName: 'reader é' }), 'nothing is left locked').toEqual(positions);
  await first.close();
});

test('what a worker on another machine has written since is not overwritten', async () => {
  const mine = fileCheckpoint(path);
  await mine.load(reader);
  await mine.save(eventsAt(1), eventsAt(1));
  const theirs = `rowcast checkpoint 4 reader-1 elsewhere 42 0123456789abcdef\n${good}`;
  await rm(path);
  await writeFile(path, theirs);
  for (let i = 0; i < 2; i++) {
    await expect(mine.save(eventsAt(2), eventsAt(2))).rejects.toMatchObject({
      code: 'CHECKPOINT_LOCKED',
      facts: { host: 'elsewhere', pid: 42 },
    });
  }
  expect(await readFile(path, 'utf8')).toBe(theirs);
  await mine.close();
});

test('a file is written beside under a name that nobody can have taken, and what a crash left there is removed', async () => {
  const victim = join(directory, 'victim');
  await writeFile(victim, 'precious');
  await symlink(victim, `${path}.new`);
  await symlink(victim, `${path}.0123456789abcdef.new`);
  const checkpoint = fileCheckpoint(path);
  await checkpoint.load(reader);
  await checkpoint.save(positions, positions);
  expect(await readFile(victim, 'utf8')).toBe('precious');
  expect((await readdir(directory)).toSorted()).toEqual(['reader-1.checkpoint', 'reader-1.checkpoint.new', 'victim']);
  await checkpoint.close();
});

test('a relative path means the directory in which the checkpoint was made', async () => {
  const before = process.cwd();
  process.chdir(directory);
  onTestFinished(() => process.chdir(before));
  const checkpoint = fileCheckpoint('reader-1.checkpoint');
  process.chdir(before);
  await checkpoint.save(positions, positions);
  expect(await load()).toEqual(positions);
});

test.each(['EINVAL', 'EPERM', 'ENOTSUP', 'EISDIR'])('a directory whose sync is %s is no failure', async (code) => {
  const failing = Object.assign(new Error(code), { code });
  const close = async (): Promise<void> => {};
  await syncDirectory(directory, (async () => ({ sync: () => Promise.reject(failing), close })) as never);
  await syncDirectory(directory, () => Promise.reject(failing));
  const broken = Object.assign(new Error('EIO'), { code: 'EIO' });
  await expect(syncDirectory(directory, () => Promise.reject(broken))).rejects.toBe(broken);
});

test('a file that was closed takes no late save, and a save that runs then is over when the close is', async () => {
  const position: Position = { stream: 'events', token: 1, history: undefined };
  const one = new Map([['events', position]]);
  const two = new Map([['events', { ...position, token: 2 }]]);
  const checkpoint = fileCheckpoint(path);
  await checkpoint.load({ workerName: 'reader-1' });
  const saving = checkpoint.save(one, one);
  await checkpoint.close();
  const next = fileCheckpoint(path);
  expect(await next.load({ workerName: 'reader-1' })).toEqual(one);
  await saving;
  await next.save(two, two);
  await expect(checkpoint.save(one, one)).rejects.toMatchObject({
    code: 'CHECKPOINT_FAILED',
    message: expect.stringContaining('it was closed'),
  });
  await next.close();
  expect(await checkpoint.load({ workerName: 'reader-1' }), 'it may be opened again').toEqual(two);
  await checkpoint.close();
});

test('a link means the file that it leads to, also while there is none yet', async () => {
  await mkdir(join(directory, 'data'));
  await symlink('data', join(directory, 'volume'));
  await symlink('volume/../data/real', path);
  const linked = fileCheckpoint(path);
  await linked.load({ workerName: 'reader-1' });
  const direct = fileCheckpoint(join(directory, 'data', 'real'));
  await expect(direct.load({ workerName: 'reader-1' })).rejects.toMatchObject({ code: 'CHECKPOINT_LOCKED' });
  await linked.save(positions, positions);
  await linked.close();
  expect((await lstat(path)).isSymbolicLink()).toBe(true);
  expect(await readdir(join(directory, 'data'))).toEqual(['real']);
  await symlink('loop', join(directory, 'loop'));
  await expect(fileCheckpoint(join(directory, 'loop')).load()).rejects.toMatchObject({ code: 'CHECKPOINT_FAILED' });
});

test('a file that is closed while it is loaded is not left locked', async () => {
  const first = fileCheckpoint(path);
  const loading = first.load({ workerName: 'reader-1' });
  await first.close();
  await loading;
  const second = fileCheckpoint(path);
  onTestFinished(() => second.close());
  await expect(second.load({ workerName: 'reader-1' })).resolves.toEqual(new Map());
});

test('two workers that start with one checkpoint at once: the one that is refused does not change whose file it is', async () => {
  // Which one is first is up to the disk.
  for (let i = 0; i < 10; i++) {
    const shared = fileCheckpoint(`${path}${i}`);
    const starts = await Promise.allSettled(
      ['reader-0', 'reader-1'].map(async (workerName) => shared.load({ workerName })),
    );
    const winner = starts.findIndex(({ status }) => status === 'fulfilled');
    expect(starts[1 - winner]).toMatchObject({ reason: { code: 'CHECKPOINT_LOCKED' } });
    await shared.save(positions, positions);
    await shared.close();
    expect(await readFile(`${path}${i}`, 'utf8')).toMatch(new RegExp(`^rowcast checkpoint 4 reader-${winner} `));
  }
});

test.skipIf(process.getuid?.() === 0)('a directory that cannot be listed is no failure', async () => {
  await chmod(directory, 0o300);
  const checkpoint = fileCheckpoint(path);
  try {
    await checkpoint.load({ workerName: 'reader-1' });
    await checkpoint.save(positions, positions);
  } finally {
    await checkpoint.close();
    await chmod(directory, 0o700);
  }
  expect(await load()).toEqual(positions);
});
