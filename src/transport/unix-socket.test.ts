import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Place, turns } from '../testing/transport-ends.ts';
import { tcpTransport } from './tcp.ts';
import { maxSocketPathBytes } from './unix-socket.ts';

let directory = '';
let path = '';
let places: Place[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'rowcast-unix-'));
  path = join(directory, 'rowcast.sock');
  places = [];
});

afterEach(async () => {
  for (const place of places) await place.close();
  rmSync(directory, { recursive: true });
});

async function listen(at: string = path, mode?: number): Promise<Place> {
  const place = await new Place(tcpTransport, mode === undefined ? { path: at } : { path: at, mode }).open();
  places.push(place);
  return place;
}

/** Leaves the socket file of a process that was killed. */
async function leaveStaleSocket(): Promise<void> {
  const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  await once(spawn(process.execPath, ['-e', script]), 'exit');
  expect(statSync(path).isSocket()).toBe(true);
}

function modeOf(file: string): string {
  const stats = statSync(file, { throwIfNoEntry: false });
  return stats === undefined ? 'gone' : (stats.mode & 0o777).toString(8);
}

describe('the mode of the file', () => {
  test('is 0600 unless told otherwise', async () => {
    await listen();
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test('is the mode that was asked for, whatever the umask', async () => {
    await listen(path, 0o666);
    expect(statSync(path).mode & 0o777).toBe(0o666);
  });

  test('is never wider, not even while the file is being made', async () => {
    const seen = new Set<string>();
    const done = new AbortController();
    const looking = (async () => {
      while (!done.signal.aborted) {
        for (const name of readdirSync(directory)) seen.add(`${name.slice(0, 2)} ${modeOf(join(directory, name))}`);
        await turns(1);
      }
    })();
    for (let round = 0; round < 20; round++) await (await listen()).listener.close();
    done.abort();
    await looking;
    // The socket itself, and the private directory in which it got its mode.
    expect(seen).toContain('ro 600');
    expect([...seen].filter((entry) => !['ro 600', '.r 700', '.r gone', 'ro gone'].includes(entry))).toEqual([]);
  });
});

describe('what is at the path already', () => {
  test('a stale socket is replaced', async () => {
    await leaveStaleSocket();
    const place = await listen();
    await place.pair();
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(directory)).toEqual(['rowcast.sock']);
  });

  test('a live socket is an error and lives on', async () => {
    const first = await listen();
    await expect(listen()).rejects.toMatchObject({
      code: 'ADDRESS_IN_USE',
      message: `cannot listen at unix:${path}: something listens there already (EADDRINUSE); stop it or choose another path`,
    });
    await first.pair();
    expect(readdirSync(directory)).toEqual(['rowcast.sock']);
  });

  test('a file that is not a socket is an error and stays as it is', async () => {
    writeFileSync(path, 'precious');
    await expect(listen()).rejects.toMatchObject({
      code: 'ADDRESS_UNAVAILABLE',
      message: expect.stringContaining('a file that is not a socket is there'),
    });
    expect(readFileSync(path, 'utf8')).toBe('precious');
    expect(readdirSync(directory)).toEqual(['rowcast.sock']);
  });

  test('a directory and a symbolic link are errors and stay', async () => {
    mkdirSync(path);
    await expect(listen()).rejects.toMatchObject({ code: 'ADDRESS_UNAVAILABLE' });
    const linked = join(directory, 'link.sock');
    symlinkSync(join(directory, 'elsewhere.sock'), linked);
    await expect(listen(linked)).rejects.toMatchObject({ code: 'ADDRESS_UNAVAILABLE' });
    expect(readdirSync(directory).toSorted()).toEqual(['link.sock', 'rowcast.sock']);
  });

  test('of ten that start at once at a stale socket one gets it and the others ADDRESS_IN_USE', async () => {
    for (let round = 0; round < 5; round++) {
      await leaveStaleSocket();
      const outcomes = await Promise.allSettled(Array.from({ length: 10 }, () => listen()));
      const won = outcomes.filter((outcome) => outcome.status === 'fulfilled');
      const codes = outcomes.filter((outcome) => outcome.status === 'rejected').map((outcome) => outcome.reason.code);
      expect(won).toHaveLength(1);
      expect(codes).toEqual(Array.from({ length: 9 }, () => 'ADDRESS_IN_USE'));
      const [winner] = won;
      await winner?.value.pair();
      await winner?.value.close();
      expect(readdirSync(directory)).toEqual([]);
      places = [];
    }
  }, 20_000);
});

describe('a path that cannot be', () => {
  test('one in a directory that does not exist says so', async () => {
    await expect(listen(join(directory, 'no', 'where.sock'))).rejects.toMatchObject({
      code: 'ADDRESS_UNAVAILABLE',
      message: expect.stringContaining('its directory does not exist (ENOENT); create it or choose another path'),
    });
  });

  test('one in a file says so', async () => {
    writeFileSync(path, '');
    await expect(listen(join(path, 'a.sock'))).rejects.toMatchObject({
      code: 'ADDRESS_UNAVAILABLE',
      message: expect.stringContaining('a part of the path is not a directory'),
    });
  });

  test('one in a directory without write permission says so, except to root, who may write everywhere', async () => {
    const isRoot = process.getuid?.() === 0;
    chmodSync(directory, 0o500);
    const outcome = await listen().then(
      () => 'listens',
      (error: unknown) => String(error),
    );
    chmodSync(directory, 0o700);
    expect(outcome).toContain(isRoot ? 'listens' : 'this user may not write to the directory (EACCES)');
  });

  test('the longest path works, one byte more is refused with both numbers', async () => {
    const longest = join(directory, 'x'.repeat(maxSocketPathBytes - directory.length - 1));
    const place = await listen(longest);
    await place.pair();
    await expect(listen(`${longest}x`)).rejects.toMatchObject({
      code: 'ADDRESS_UNAVAILABLE',
      message: expect.stringContaining(`it has ${maxSocketPathBytes + 1} bytes of at most ${maxSocketPathBytes}`),
    });
  });
});

describe('the end of a listener', () => {
  test('removes the file', async () => {
    const place = await listen();
    await place.listener.close();
    expect(existsSync(path)).toBe(false);
  });

  test('leaves a file that a successor has put there', async () => {
    const first = await listen();
    unlinkSync(path);
    const successor = await listen();
    await first.listener.close();
    expect(existsSync(path)).toBe(true);
    await successor.pair();
  });

  test('is quiet when somebody has removed the file', async () => {
    const place = await listen();
    unlinkSync(path);
    await place.listener.close();
    expect(readdirSync(directory)).toEqual([]);
  });
});
