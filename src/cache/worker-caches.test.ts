import { once } from 'node:events';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Gate } from '../../test/support/collector.ts';
import { ADDRESS, deploy, settle } from '../../test/support/deployment.ts';
import { survivingLog } from '../../test/support/surviving-log.ts';
import { defineStream } from '../core/model/stream.ts';
import { memoryLog } from '../log/memory.ts';
import { createPrimary, type Primary } from '../primary/primary.ts';
import type { PrimaryOptions } from '../primary/options.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import { memoryCheckpoint } from '../worker/checkpoint.ts';
import type { WorkerOptions } from '../worker/options.ts';
import type { ObserverWorker, Worker } from '../worker/worker.ts';
import type { WhenSuspect } from './cache.ts';
import { createCaches, defineCachesStream, type WorkerCaches } from './index.ts';

class Setup {
  readonly deployment = deploy();
  readonly clock = new VirtualClock();
  readonly worker: Worker;
  readonly caches: WorkerCaches;
  primary!: Primary;
  /** What the loader reads: it changes by hand. */
  value = 'first';
  loads = 0;

  constructor({ whenSuspect = 'load', worker }: { whenSuspect?: WhenSuspect; worker?: Partial<WorkerOptions> } = {}) {
    this.worker = this.deployment.worker(worker);
    this.caches = createCaches(this.worker, { whenSuspect, clock: this.clock });
  }

  static async live(options?: ConstructorParameters<typeof Setup>[0]): Promise<Setup> {
    const setup = new Setup(options);
    await setup.startPrimary();
    await setup.worker.start();
    return setup;
  }

  async startPrimary(options: Partial<PrimaryOptions> = {}): Promise<void> {
    this.primary = await this.deployment.primary({ streams: [defineStream('caches')], ...options });
  }

  cached(name = 'get_user') {
    return this.caches.cached(name, async (_id: string) => {
      this.loads++;
      return this.value;
    });
  }

  async append(...row: unknown[]): Promise<void> {
    await this.worker.waitFor(await this.primary.append('caches', [row]));
  }
}

describe('a row', () => {
  test('drops the entry before whoever waits for its token goes on', async () => {
    const setup = await Setup.live();
    const getUser = setup.cached();
    await expect(getUser('@bob')).resolves.toBe('first');
    setup.value = 'second';
    await expect(getUser('@bob')).resolves.toBe('first');
    await setup.append('get_user', ['@bob'], 1);
    await expect(getUser('@bob')).resolves.toBe('second');
  });

  test('of a prefix, of a whole cache and of a name that is not known', async () => {
    const setup = await Setup.live();
    const isIn = setup.caches.cached('is_in', { prefixes: 1 }, async (room: string, user: string) => `${room}${user}`);
    await Promise.all([isIn('!a', '@x'), isIn('!a', '@y'), isIn('!b', '@x')]);
    await setup.append('is_in', ['!a'], 1);
    expect(isIn.stats()).toMatchObject({ size: 1, invalidationsByPrefix: 1 });
    await setup.append('is_in', null, 1);
    expect(isIn.stats()).toMatchObject({ size: 0, invalidationsOfAll: 1 });
    await setup.append('elsewhere', ['x'], 1);
    expect(setup.caches.stats()).toMatchObject({ isLive: true, unknownNames: 1 });
  });

  test('of a group drops all that it stands for', async () => {
    const setup = await Setup.live();
    const usersIn = setup.cached('users_in');
    const isIn = setup.cached('is_in');
    setup.caches.group('room', ([room, ...members]) => [
      ['users_in', [room]],
      ...members.map((member) => ['is_in', [member]] as const),
    ]);
    await Promise.all([usersIn('!r'), usersIn('!other'), isIn('@a'), isIn('@b')]);
    await setup.append('room', ['!r', '@a'], 1);
    expect([usersIn.peek('!r'), usersIn.peek('!other'), isIn.peek('@a'), isIn.peek('@b')]).toEqual([
      undefined,
      'first',
      undefined,
      'first',
    ]);
  });

  test.each<[string, unknown[], string]>([
    ['that is no invalidation', ['get_user', [5], 1], 'INVALID_ROW'],
    ['of a group whose function throws', ['broken', ['x'], 1], 'GROUP_FAILED'],
    ['of a group as a whole', ['broken', null, 1], 'INVALID_ROW'],
    ['of a group that stands for a group', ['nested', ['x'], 1], 'GROUP_FAILED'],
  ])('%s clears every cache, is an error of the worker, and the next rows come', async (_what, row, code) => {
    const setup = await Setup.live();
    const getUser = setup.cached();
    setup.caches.group('broken', () => {
      throw new Error('oops');
    });
    setup.caches.group('nested', ([key]) => [['broken', [key]]]);
    await getUser('@bob');
    const failed = once(setup.worker, 'error');
    await setup.append(...row);
    expect((await failed)[0]).toMatchObject({ code });
    expect(getUser.stats().size).toBe(0);
    await getUser('@bob');
    await setup.append('get_user', ['@bob'], 1);
    expect(getUser.stats()).toMatchObject({ size: 0, invalidationsByKey: 1 });
  });
});

describe('before it was ever live', () => {
  test('reads load, share their loads, and nothing is kept, whatever the policy', async () => {
    const setup = new Setup({ whenSuspect: 'serve' });
    const getUser = setup.cached();
    await Promise.all([getUser('@bob'), getUser('@bob')]);
    await getUser('@bob');
    expect(setup.loads).toBe(2);
    expect(getUser.stats()).toMatchObject({ size: 0, suspectReads: 3, suspectServed: 0, loadsShared: 1 });
  });

  test('a load that began then is not joined by who reads later: it may be older than the position', async () => {
    const setup = new Setup();
    await setup.startPrimary();
    const gate = new Gate();
    const getUser = setup.caches.cached('get_user', async (_id: string) => {
      const { value } = setup;
      await gate.opened;
      return value;
    });
    const early = getUser('@bob');
    setup.value = 'second';
    await setup.primary.append('caches', [['get_user', ['@bob'], 1]]);
    await setup.worker.start();
    const late = getUser('@bob');
    gate.open();
    await expect(Promise.all([early, late])).resolves.toEqual(['first', 'second']);
    expect(getUser.peek('@bob')).toBe('second');
  });

  test('it begins at now, whatever a checkpoint says', async () => {
    const checkpoint = memoryCheckpoint();
    const history = '8f3c1d2e4b5a6978.1764281400.a1b2c3d4';
    const positions = new Map([['caches', { stream: 'caches', token: 1, history }]]);
    await checkpoint.save(positions, positions);
    const setup = new Setup({ worker: { checkpoint } });
    await setup.startPrimary();
    for (let i = 0; i < 5; i++) await setup.primary.append('caches', [['get_user', ['x'], i]]);
    const getUser = setup.cached();
    await setup.worker.start();
    await setup.worker.waitFor(setup.primary.position('caches'));
    expect(getUser.stats().invalidationsByKey).toBe(0);
  });
});

describe('when the connection is lost', () => {
  // SPEC C3
  test('entries are suspect until what was missed has come; what was not invalidated meanwhile is kept', async () => {
    const setup = new Setup();
    const log = survivingLog();
    await setup.startPrimary({ log });
    await setup.worker.start();
    const getUser = setup.cached();
    await Promise.all([getUser('@bob'), getUser('@alice')]);
    await setup.primary.close();
    expect(setup.caches.stats().isLive).toBe(false);
    setup.value = 'second';
    await expect(getUser('@alice')).resolves.toBe('second');
    expect(getUser.stats()).toMatchObject({ size: 2, suspectReads: 1, hits: 0 });
    await setup.startPrimary({ log });
    await setup.append('get_user', ['@bob'], 1);
    await expect(getUser('@bob')).resolves.toBe('second');
    await expect(getUser('@alice'), 'nothing said that it changed').resolves.toBe('first');
    expect(setup.caches.stats().isLive).toBe(true);
  });

  test('the time of maxStaleMs runs from then', async () => {
    const setup = new Setup({ whenSuspect: { maxStaleMs: 5_000 } });
    await setup.startPrimary();
    await setup.worker.start();
    const getUser = setup.cached();
    await getUser('@bob');
    setup.clock.step(setup.clock.now() + 60_000);
    await setup.primary.close();
    setup.value = 'second';
    setup.clock.step(setup.clock.now() + 5_000);
    await expect(getUser('@bob')).resolves.toBe('first');
    setup.clock.step(setup.clock.now() + 1);
    await expect(getUser('@bob')).resolves.toBe('second');
  });

  test('a load that was under way is kept, because what it missed comes', async () => {
    const setup = new Setup();
    const log = survivingLog();
    await setup.startPrimary({ log });
    await setup.worker.start();
    const gates = [new Gate(), new Gate()];
    let calls = 0;
    const get = setup.caches.cached('get', async (_id: string) => {
      const { value } = setup;
      await gates[calls++]!.opened;
      return value;
    });
    const reads = [get('kept'), get('dropped')];
    await setup.primary.close();
    for (const gate of gates) gate.open();
    await Promise.all(reads);
    expect(get.stats().size).toBe(2);
    await setup.startPrimary({ log });
    await setup.append('get', ['dropped'], 1);
    expect(get.stats().size).toBe(1);
    expect(get.peek('kept')).toBe('first');
  });

  test('and the worker stopped, entries stay suspect', async () => {
    const setup = await Setup.live();
    const getUser = setup.cached();
    await getUser('@bob');
    await setup.worker.stop();
    setup.value = 'second';
    await expect(getUser('@bob')).resolves.toBe('second');
    expect(setup.caches.stats().isLive).toBe(false);
  });
});

test('when its subscription is ended from outside, nothing is served or kept, also when the stream is subscribed anew', async () => {
  const setup = await Setup.live({ whenSuspect: 'serve' });
  const getUser = setup.cached();
  await getUser('@bob');
  await setup.worker.unsubscribe('caches');
  const live = once(setup.worker, 'live');
  setup.worker.subscribe('caches', { from: 'now' }, () => {});
  await live;
  setup.value = 'second';
  await setup.append('get_user', ['@bob'], 1);
  await expect(getUser('@bob')).resolves.toBe('second');
  setup.value = 'third';
  await expect(getUser('@bob')).resolves.toBe('third');
  expect(setup.caches.stats().isLive).toBe(false);
});

describe('when the history ends', () => {
  test.each<WhenSuspect>(['load', 'serve'])(
    'everything is dropped before a read is answered by it: another log, with %s',
    async (whenSuspect) => {
      const setup = await Setup.live({ whenSuspect });
      const getUser = setup.cached();
      await getUser('@bob');
      await setup.primary.close();
      setup.value = 'second';
      const reset = once(setup.worker, 'reset');
      const live = once(setup.worker, 'live');
      await setup.startPrimary();
      await reset;
      expect(getUser.stats().size).toBe(0);
      await expect(getUser('@bob')).resolves.toBe('second');
      await live;
      expect(setup.caches.stats().isLive).toBe(true);
      await getUser('@bob');
      await setup.append('get_user', ['@bob'], 1);
      expect(getUser.stats().size).toBe(0);
    },
  );

  test('a gap: what was missed is not kept any more', async () => {
    const log = survivingLog();
    const setup = new Setup({ whenSuspect: 'serve' });
    await setup.startPrimary({ log });
    await setup.worker.start();
    const getUser = setup.cached();
    await setup.append('get_user', ['x'], 1);
    await getUser('@bob');
    await setup.primary.close();
    for (let i = 0; i < 5; i++) await log.append('caches', [JSON.stringify(['get_user', ['@bob'], i])]);
    await log.trim('caches', 4);
    const reset = once(setup.worker, 'reset');
    const live = once(setup.worker, 'live');
    await setup.startPrimary({ log });
    expect((await reset)[0]).toMatchObject({ stream: 'caches', error: { code: 'GAP' } });
    expect(getUser.stats().size).toBe(0);
    await live;
    await setup.append('get_user', ['@bob'], 1);
  });

  test('the primary has no such stream any more: nothing is served or kept', async () => {
    const setup = await Setup.live({ whenSuspect: 'serve' });
    const getUser = setup.cached();
    await getUser('@bob');
    await setup.primary.close();
    const failed = once(setup.worker, 'error');
    await setup.startPrimary({ streams: [defineStream('other')] });
    expect((await failed)[0]).toMatchObject({ code: 'UNKNOWN_STREAM' });
    setup.value = 'second';
    await expect(getUser('@bob')).resolves.toBe('second');
    expect(getUser.peek('@bob')).toBeUndefined();
  });
});

test('an old position does not satisfy a wait for a lower one of a new history: no read is older than the wait', async () => {
  const setup = await Setup.live();
  const getUser = setup.cached();
  for (let i = 0; i < 3; i++) await setup.append('get_user', ['@somebody'], i);
  await getUser('@bob');
  await setup.primary.close();
  const { transport } = setup.deployment;
  const restarted = await createPrimary({
    name: 'example.com',
    log: memoryLog(),
    streams: [defineStream('caches')],
    transport,
  });
  onTestFinished(() => restarted.close());
  setup.value = 'second';
  const written = await restarted.append('caches', [['get_user', ['@bob'], 4]]);
  expect([setup.worker.position('caches')!.token, written.token]).toEqual([3, 1]);
  expect(setup.worker.hasReached(written)).toBe(false);
  await restarted.listen(ADDRESS);
  // It ends with RESET where the worker notices meanwhile; the next one is for the new history.
  await setup.worker.waitFor(written).catch(() => setup.worker.waitFor(written));
  await expect(getUser('@bob')).resolves.toBe('second');
});

test('slow handlers of other streams make entries suspect after idleTimeoutMs', async () => {
  const setup = new Setup({ worker: { limits: { maxQueuedBytes: 500, keepAliveIntervalMs: 10, idleTimeoutMs: 20 } } });
  await setup.startPrimary({ streams: [defineStream('caches'), defineStream('events')] });
  const gate = new Gate();
  setup.worker.subscribe('events', { from: 'now' }, () => gate.opened);
  await setup.worker.start();
  const notLive = once(setup.worker, 'not-live');
  for (let i = 0; i < 20; i++) await setup.primary.append('events', ['x'.repeat(100)]);
  await setup.primary.append('caches', [['get_user', ['@bob'], 1]]);
  await notLive;
  expect(setup.caches.stats().isLive).toBe(false);
  gate.open();
  await setup.worker.waitFor(setup.primary.position('caches'));
  expect(setup.caches.stats().isLive).toBe(true);
});

test('an observer has caches, which the stream drops; what it invalidates itself is dropped here alone', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams: [defineCachesStream()] });
  const primaryCaches = createCaches(server);
  const observer: ObserverWorker = worker({ observer: true });
  const caches = createCaches(observer);
  let loads = 0;
  const getUser = caches.cached('get_user', async (_id: string) => ++loads);
  await observer.start();
  await getUser('@bob');
  await observer.waitFor(await primaryCaches.invalidate('get_user', ['@bob']));
  await expect(getUser('@bob')).resolves.toBe(2);
  await expect(getUser.invalidate('@bob')).rejects.toMatchObject({ code: 'OBSERVER' });
  await expect(getUser('@bob')).resolves.toBe(3);
});

describe('an invalidation on a worker', () => {
  test('drops the entry here at once, and everywhere by way of the primary', async () => {
    const setup = new Setup();
    setup.primary = await setup.deployment.primary({ streams: [defineCachesStream()] });
    const primaryCaches = createCaches(setup.primary);
    const onPrimary = primaryCaches.cached('get_user', async (id: string) => id);
    const other = setup.deployment.worker({ name: 'reader-2' });
    const onOther = createCaches(other).cached('get_user', async (id: string) => id);
    await Promise.all([setup.worker.start(), other.start()]);
    const getUser = setup.cached();
    await Promise.all([getUser('@bob'), onPrimary('@bob'), onOther('@bob')]);
    await expect(getUser.invalidate('@bob')).resolves.toBeUndefined();
    expect(getUser.peek('@bob')).toBeUndefined();
    await settle();
    await other.waitFor(setup.primary.position('caches'));
    expect([onPrimary.peek('@bob'), onOther.peek('@bob')]).toEqual([undefined, undefined]);
    await setup.caches.invalidateAll('get_user');
    await settle();
    await other.waitFor(setup.primary.position('caches'));
    expect(onOther.stats()).toMatchObject({ invalidationsByKey: 1, invalidationsOfAll: 1 });
  });

  test('of a group is cut into several commands, each fitting a line', async () => {
    const setup = new Setup({ worker: { limits: { maxLineBytes: 200 } } });
    await setup.startPrimary();
    setup.caches.group('room', () => [], { chunk: { head: 1 } });
    await setup.worker.start();
    const commands: unknown[] = [];
    setup.primary.on('command', ({ command }) => commands.push(command));
    await setup.caches.invalidate('room', ['!r', ...Array.from({ length: 50 }, (_, i) => `@user-${i}:example.com`)]);
    await settle();
    expect(commands.length).toBeGreaterThan(5);
    for (const command of commands)
      expect(command).toMatchObject({
        name: 'INVALIDATE_CACHE',
        cacheName: 'room',
        keys: expect.arrayContaining(['!r']) as unknown,
      });
  });

  test('waits in the bounded queue while disconnected', async () => {
    const setup = new Setup({ worker: { limits: { maxQueuedCommands: 2 } } });
    const dropped: string[] = [];
    setup.worker.on('command-dropped', ({ line }) => dropped.push(line));
    for (const id of ['a', 'b', 'c']) await setup.caches.invalidate('get_user', [id]);
    expect(dropped).toEqual(['INVALIDATE_CACHE get_user ["a"]']);
  });

  test('of a key that is refused is not sent', async () => {
    const setup = await Setup.live();
    await expect(setup.caches.invalidate('get_user', ['a\0'])).rejects.toMatchObject({ code: 'INVALID_KEY' });
    await expect(setup.caches.invalidate('two words', ['a'])).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  });
});
