/**
 * Listeners and loggers that throw, on both sides: what they throw ends up uncaught, each in a turn
 * of its own, and cuts nothing of ours short.
 */

import { EventEmitter } from 'node:events';
import { expect, test } from 'vitest';
import { ADDRESS, deploy, settle } from '../../test/support/deployment.ts';
import { pass } from '../../test/support/pass-time.ts';
import type { Logger } from '../core/model/logger.ts';
import { defineStream } from '../core/model/stream.ts';
import { memoryLog } from '../log/memory.ts';
import type { PrimaryEvents } from '../primary/options.ts';
import { handleCommands } from '../synapse/primary-commands.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import type { WorkerEvents } from './options.ts';

const events = defineStream<string>('events');
const volatile = defineStream<string>('volatile', { durable: false });
const partial = defineStream<number>('partial');
const held = defineStream<number>('held', { retain: { untilSavedBy: ['audit'], rows: 1 } });

/** Every event. One that is new is missed here by the compiler, and below if it does not come. */
const workerEvents: Record<keyof WorkerEvents, true> = {
  connected: true,
  disconnected: true,
  live: true,
  'not-live': true,
  waiting: true,
  trimmed: true,
  reset: true,
  skipped: true,
  error: true,
  'peer-error': true,
  sync: true,
  'command-dropped': true,
};
const primaryEvents: Record<keyof PrimaryEvents, true> = {
  command: true,
  connected: true,
  named: true,
  'peer-error': true,
  disconnected: true,
  appended: true,
  warning: true,
  cutting: true,
  error: true,
};

/** A bug of the application's, in one of its listeners. */
class Bug extends Error {}

/** Adds listeners to every event: one that throws, and one after it, which hears all the same. */
function throwAtEach(emitter: EventEmitter, names: object, heard: Set<string>, side: string): void {
  for (const name of Object.keys(names)) {
    emitter.on(name, () => {
      throw new Bug(`${side} ${name}`);
    });
    emitter.on(name, () => void heard.add(`${side} ${name}`));
  }
}

const throwingLogger: Logger = {
  debug: () => {
    throw new Bug('debug');
  },
  info: () => {
    throw new Bug('info');
  },
  warn: () => {
    throw new Bug('warn');
  },
  error: () => {
    throw new Bug('error');
  },
};

// SPEC E6
test('with listeners that throw at every event, and loggers that throw, all goes on as without them', async () => {
  const clock = new VirtualClock();
  const { primary, worker, transport } = deploy();
  const uncaught: unknown[] = [];
  const heard = new Set<string>();
  const run = async (ms: number): Promise<void> => pass(clock, ms, uncaught);
  const made = primary({
    streams: [events, volatile, partial, held],
    clock,
    log: memoryLog({ clock }),
    logger: throwingLogger,
  });
  await run(0);
  const server = await made;
  throwAtEach(server, primaryEvents, heard, 'primary');
  handleCommands(server, {
    userSync: () => {
      throw new Error('the callback failed');
    },
  });
  const limits = { minBackoffMs: 1_000, maxBackoffMs: 1_000, maxQueuedCommands: 1 };
  const reader = worker({ clock, logger: throwingLogger, limits });
  throwAtEach(reader, workerEvents, heard, 'worker');
  const got: unknown[] = [];
  reader.subscribe(events, { from: 'start', onError: 'skip' }, ({ rows }) => {
    if (rows[0] === 'bad') throw new Error('the handler failed');
    got.push(...rows);
  });
  reader.subscribe(volatile, { from: 'start' }, ({ rows }) => void got.push(...rows));
  reader.subscribe(held, { from: 'start' }, () => {
    throw new Error('the handler failed');
  });

  reader.subscribe(partial, { from: 'start' }, () => {});
  const dropped = server.append(partial, [1]).then(async () => server.trim(partial, 1));
  await run(100);
  await dropped;

  const started = reader.start();
  await run(100);
  await started;
  expect(reader.isLive).toBe(true);
  const appended = [server.append(events, ['one']), server.append(events, ['bad']), server.append(volatile, ['two'])];
  await run(100);
  await Promise.all(appended);
  expect(got).toEqual(['one', 'two']);

  // What the worker is told, and tells, while it is connected.
  const cut = server.append(held, [1]);
  await run(100);
  const failed = [cut, server.append(held, [2]), server.append(held, [3])];
  server.sync('hello');
  reader.send({ name: 'USER_SYNC', userId: '@a:b', state: 'start', lastSyncMs: 1 });
  transport
    .connect(ADDRESS, {
      handleOpen: () => {},
      handleBytes: () => {},
      handleDrained: () => {},
      handleClosed: () => {},
    })
    .write(Buffer.from('NAME other\nERROR too bad\nREPLICATE nosuch NOW\n'));
  const deleted = server.delete(volatile);
  await run(1_000);
  await Promise.all([...failed, deleted]);

  // The connection is lost: the next one comes when it was said to.
  let retryInMs = Number.NaN;
  reader.once('disconnected', (event) => ({ retryInMs } = event));
  transport.cutAll();
  await run(0);
  for (let i = 0; i < 3; i++) reader.send({ name: 'REMOVE_PUSHER', appId: 'a', pushKey: 'k', userId: '@a:b' });
  const cutAt = clock.now();
  let connectedAt = Number.NaN;
  reader.once('connected', () => (connectedAt = clock.now()));
  await run(2_000);
  expect(connectedAt).toBe(cutAt + retryInMs);
  const last = server.append(events, ['three']);
  await run(100);
  await last;
  expect(got).toEqual(['one', 'two', 'three']);

  const closed = server.close();
  await run(100);
  await closed;
  await reader.unsubscribe(held);
  const late = reader.start({ timeoutMs: 6_000 });
  await Promise.all([expect(late).rejects.toMatchObject({ code: 'START_TIMEOUT' }), run(7_000)]);
  // A primary that answers with ERROR.
  await transport.listen(ADDRESS, (connection) => ({
    handleOpen: () => void connection.write(Buffer.from('SERVER example.com\nERROR no\n')),
    handleBytes: () => {},
    handleDrained: () => {},
    handleClosed: () => {},
  }));
  await run(2_000);
  const stopped = reader.stop();
  await run(1_000);
  await stopped;

  const all = [
    ...Object.keys(workerEvents).map((name) => `worker ${name}`),
    ...Object.keys(primaryEvents).map((name) => `primary ${name}`),
  ];
  expect([...heard].sort()).toEqual(all.sort());
  expect(uncaught.filter((thrown) => !(thrown instanceof Bug))).toEqual([]);
  const thrown = new Set(uncaught.map((error) => (error as Bug).message));
  for (const name of [...all, 'debug', 'info', 'warn', 'error']) expect(thrown).toContain(name);
});

test('an error without a listener is thrown in a turn of its own, and a monitor is told', async () => {
  const clock = new VirtualClock();
  const { primary } = deploy();
  const server = await primary({ streams: [events], clock, log: memoryLog() });
  const error = new Error('nobody listens');
  const monitored: unknown[] = [];
  (server as EventEmitter).on(EventEmitter.errorMonitor, (told) => monitored.push(told));
  expect(server.emit('error', error as never)).toBe(false);
  expect(monitored).toEqual([error]);
  expect(() => clock.step(clock.now())).toThrow(error);
  const heard: unknown[] = [];
  server.once('error', (told) => heard.push(told));
  expect(server.emit('error', error as never)).toBe(true);
  expect(server.listenerCount('error')).toBe(0);
  expect(heard).toEqual([error]);
});

test('who syncs is right after a listener that threw, and everyone else who listens was told', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams: [events] });
  const { trackSyncingUsers } = await import('../synapse/syncing-users.ts');
  const syncing = trackSyncingUsers(server);
  const told: string[] = [];
  const uncaught = nextUncaught();
  syncing.once('stopped', () => {
    throw new Bug('stopped');
  });
  syncing.on('stopped', ({ userId }) => told.push(userId));
  const reader = worker();
  await reader.start();
  for (const userId of ['@a:b', '@c:d']) {
    reader.send({ name: 'USER_SYNC', userId, state: 'start', lastSyncMs: 1 });
  }
  while (syncing.users().length < 2) await settle();
  await reader.stop();
  expect(await uncaught).toMatchObject({ message: 'stopped' });
  expect(told).toEqual(['@a:b', '@c:d']);
  expect(syncing.users()).toEqual([]);
});

function nextUncaught(): Promise<unknown> {
  const before = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  return new Promise((resolve) => {
    process.once('uncaughtException', (thrown) => {
      for (const listener of before) process.on('uncaughtException', listener);
      resolve(thrown);
    });
  });
}
