/** The rooms, with real processes that are killed. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type RunningProcess, runNode } from '../../test/support/processes.ts';

const ROOMS = 60;

let folder: string;
const running = new Set<Started>();

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rowcast-rooms-'));
});

afterEach(async () => {
  await Promise.all(Array.from(running, async (process) => process.kill('SIGKILL')));
  await rm(folder, { recursive: true, force: true });
});

interface Started extends RunningProcess {
  readonly http: number;
  readonly replication: number;
  /** Resolves when stdout has the line. */
  readonly line: (text: string) => Promise<void>;
}

/** Resolves when the process has told its ports. */
async function start(script: string, ...args: string[]): Promise<Started> {
  const lines: string[] = [];
  const watchers = new Set<() => void>();
  const saw = async (matches: (line: string) => boolean): Promise<string> =>
    new Promise((resolve) => {
      const check = (): void => {
        const found = lines.find(matches);
        if (found === undefined) return;
        watchers.delete(check);
        resolve(found);
      };
      watchers.add(check);
      check();
    });
  const process = runNode([fileURLToPath(new URL(script, import.meta.url)), ...args, '--folder', folder], {
    onLine: (line) => {
      lines.push(line);
      for (const watcher of watchers) watcher();
    },
  });
  const ports = await Promise.race([
    saw((line) => line.startsWith('{')),
    process.ended.then((code) => Promise.reject(new Error(`${script} ended (${code}): ${process.stderr()}`))),
  ]);
  const started: Started = {
    ...process,
    ...(JSON.parse(ports) as Pick<Started, 'http' | 'replication'>),
    line: async (text) => void (await saw((line) => line === text)),
  };
  running.add(started);
  return started;
}

async function startPrimary(replication = 0, http = 0): Promise<Started> {
  return start('primary.js', '--replication', String(replication), '--http', String(http));
}

async function startWorker(name: string, replication: number, ...options: string[]): Promise<Started> {
  return start('worker.js', name, '--connect', String(replication), '--http', '0', ...options);
}

interface Post {
  readonly room: string;
  readonly text: string;
  readonly key: string;
}

interface Posted {
  readonly status: number;
  readonly token: number;
  /** The header for a read of it. */
  readonly header: string;
}

async function post(http: number, { room, text, key }: Post): Promise<Posted> {
  const answer = await fetch(`http://127.0.0.1:${http}/rooms/${room}/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': key },
    body: JSON.stringify({ from: 'alice', text }),
  });
  const { token } = (await answer.json()) as { token: number };
  return { status: answer.status, token, header: answer.headers.get('rowcast-token') ?? '' };
}

async function remove(http: number, room: string): Promise<void> {
  const { status } = await fetch(`http://127.0.0.1:${http}/rooms/${room}`, { method: 'DELETE' });
  if (status !== 204) throw new Error(`room ${room} was not deleted: ${status}`);
}

interface Read {
  readonly status: number;
  readonly texts: readonly string[];
}

/** With a header it asks until the worker is there, as a client does. */
async function read(http: number, room: string, header = ''): Promise<Read> {
  const headers: Record<string, string> = header === '' ? {} : { 'rowcast-token': header };
  const answer = await fetch(`http://127.0.0.1:${http}/rooms/${room}`, { headers });
  if (answer.status === 503) return read(http, room, header);
  const { messages = [] } = (await answer.json()) as { messages?: { text: string }[] };
  return { status: answer.status, texts: messages.map(({ text }) => text) };
}

/** What must be served. */
class Expected {
  /** The acknowledged texts of each room, in the order of their tokens. */
  readonly rooms = new Map<string, string[]>();
  /** Of the newest message of each room. */
  readonly headers = new Map<string, string>();

  take({ room, text }: Post, { status, token, header }: Posted): void {
    if (status !== 201) throw new Error(`a message was answered ${status}`);
    const texts = this.rooms.get(room) ?? [];
    texts[token - 1] = text;
    this.rooms.set(room, texts);
    if (token === texts.length) this.headers.set(room, header);
  }

  forget(room: string): void {
    this.rooms.delete(room);
    this.headers.delete(room);
  }

  /** What a worker serves to who brings the header of the newest message of each room. */
  async servedBy({ http }: Started): Promise<ReadonlyMap<string, readonly string[]>> {
    const served = new Map<string, readonly string[]>();
    await Promise.all(
      Array.from(this.headers, async ([room, header]) => served.set(room, (await read(http, room, header)).texts)),
    );
    const list = await (await fetch(`http://127.0.0.1:${http}/rooms`)).json();
    for (const { id } of (list as { rooms: { id: string }[] }).rooms) {
      if (!served.has(id)) served.set(id, (await read(http, id)).texts);
    }
    return served;
  }
}

test('rooms are made, deleted and made again while processes are killed: none has lost, double or older messages', async () => {
  let primary = await startPrimary();
  const [first, second] = await Promise.all([
    startWorker('reader-1', primary.replication),
    startWorker('reader-2', primary.replication),
  ]);
  const expected = new Expected();
  let sent = 0;
  const next = (room: string): Post => ({ room, text: `text ${++sent}`, key: `key-${sent}` });
  const names = Array.from({ length: ROOMS }, (_, i) => `r${i}`);
  const say = async (room: string): Promise<Posted> => {
    const message = next(room);
    const posted = await post(primary.http, message);
    expected.take(message, posted);
    return posted;
  };

  // Each is read back at once, where nobody has heard of the room before.
  await Promise.all(
    names.map(async (room, i) => {
      const { header } = await say(room);
      const { texts } = await read([first, second][i % 2]!.http, room, header);
      expect(texts).toEqual(expected.rooms.get(room));
    }),
  );
  await Promise.all(names.flatMap((room) => [say(room), say(room)]));

  const again = { room: 'r0', text: 'once', key: 'retried' };
  const posted = await post(primary.http, again);
  expected.take(again, posted);
  expect(await post(primary.http, again)).toEqual(posted);
  expect(await post(primary.http, { ...again, text: 'other' })).toMatchObject({ status: 409 });
  expect(await expected.servedBy(first)).toEqual(expected.rooms);
  expect(await expected.servedBy(second)).toEqual(expected.rooms);

  const gone = expected.headers.get('r1');
  await remove(primary.http, 'r1');
  expected.forget('r1');
  await second.line('forgot room:r1: it was deleted');
  expect((await read(second.http, 'r1', gone)).status, 'with the token of a message that is gone').toBe(404);
  await say('r1');
  expect(await expected.servedBy(first)).toEqual(expected.rooms);
  expect(await expected.servedBy(second)).toEqual(expected.rooms);

  // While it is away a room is deleted, another is deleted and made again, and one is new.
  await first.kill('SIGKILL');
  running.delete(first);
  for (const room of ['r2', 'r3']) {
    await remove(primary.http, room);
    expected.forget(room);
  }
  await Promise.all(['r3', 'new', ...names.slice(4)].map(say));
  await second.line('forgot room:r2: it was deleted');
  expect(await expected.servedBy(second)).toEqual(expected.rooms);
  const firstAgain = await startWorker('reader-1', primary.replication);
  await firstAgain.line('forgot room:r2: it was deleted');
  expect(await expected.servedBy(firstAgain)).toEqual(expected.rooms);

  // Those that got no answer are sent again, with the same key, to the next process.
  const messages = names.slice(4).flatMap((room) => [next(room), next(room), next(room)]);
  const answers = messages.map(async (message) => post(primary.http, message));
  await Promise.any(answers);
  const { http, replication } = primary;
  await primary.kill('SIGKILL');
  running.delete(primary);
  const settled = await Promise.allSettled(answers);
  expect((await read(second.http, 'r5')).status).toBe(200);
  primary = await startPrimary(replication, http);
  await Promise.all(
    settled.map(async (answer, i) => {
      const message = messages[i]!;
      expected.take(message, answer.status === 'fulfilled' ? answer.value : await post(primary.http, message));
    }),
  );
  await remove(primary.http, 'r4');
  expected.forget('r4');
  await say('r4');
  expect(await expected.servedBy(firstAgain)).toEqual(expected.rooms);
  expect(await expected.servedBy(second)).toEqual(expected.rooms);
});

test('a worker that is behind refuses who brings a token, and says to others that it is not live', async () => {
  const primary = await startPrimary();
  const worker = await startWorker('reader', primary.replication, '--wait', '100');
  const { header } = await post(primary.http, { room: 'a', text: 'hello', key: 'k' });
  expect((await read(worker.http, 'a', header)).texts).toEqual(['hello']);
  await primary.kill('SIGKILL');
  running.delete(primary);
  await worker.saw(/next try in/);
  expect(await (await fetch(`http://127.0.0.1:${worker.http}/rooms/a`)).json()).toMatchObject({
    live: false,
    messages: [{ text: 'hello' }],
  });
  const ahead = header.replace('=1@', '=2@');
  const refused = await fetch(`http://127.0.0.1:${worker.http}/rooms/a`, { headers: { 'rowcast-token': ahead } });
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1']);
});
