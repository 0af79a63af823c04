/** Every public function, and what it does with options that it does not know. */

import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import * as cache from '../../src/cache/index.ts';
import * as express from '../../src/cache/http/express.ts';
import * as fastify from '../../src/cache/http/fastify.ts';
import * as hono from '../../src/cache/http/hono.ts';
import * as main from '../../src/index.ts';
import * as logParts from '../../src/log/index.ts';
import * as sqlite from '../../src/log/sqlite.ts';
import * as synapse from '../../src/synapse/index.ts';
import * as testing from '../../src/testing/index.ts';

const doors: Readonly<Record<string, object>> = {
  '.': main,
  './log': logParts,
  './log/sqlite': sqlite,
  './cache': cache,
  './cache/express': express,
  './cache/fastify': fastify,
  './cache/hono': hono,
  './synapse': synapse,
  './testing': testing,
};

type Call = (options: unknown) => unknown;

interface Tried {
  readonly call: Call;
  /** Options that it takes. Without one of the required ones it takes them no more. */
  readonly good: Readonly<Record<string, unknown>>;
  readonly required?: readonly string[];
}

const address = { host: '127.0.0.1', port: 9092 };
const primary = await main.createPrimary({
  name: 'main',
  log: main.memoryLog(),
  streams: [cache.defineCachesStream(), 'events', synapse.synapseStream('federation')!],
});
const worker = main.createWorker({ name: 'reader', connect: address, checkpoint: main.memoryCheckpoint() });
const caches = cache.createCaches(primary);
const noop = (): void => {};
const supports = {
  durable: false,
  ids: true,
  explicitTokens: true,
  relays: true,
  backup: false,
  acknowledgements: true,
  foreignHints: false,
};

// What is made of good options is not used, so each is called with wrong ones only.
const any = (options: unknown): never => options as never;

const taken: Readonly<Record<string, Tried>> = {
  createWorker: {
    call: (o) => main.createWorker(any(o)),
    good: { name: 'a', connect: address },
    required: ['name', 'connect'],
  },
  createPrimary: {
    call: (o) => main.createPrimary(any(o)),
    good: { name: 'a', log: main.memoryLog(), streams: [] },
    required: ['name', 'log', 'streams'],
  },
  memoryLog: { call: (o) => main.memoryLog(any(o)), good: {} },
  defineStream: { call: (o) => main.defineStream('a', any(o)), good: {} },
  defineStreams: { call: (o) => main.defineStreams('a:*', any(o)), good: {} },
  createMemoryTransport: { call: (o) => main.createMemoryTransport(any(o)), good: {} },
  subscribe: { call: (o) => worker.subscribe('a', any(o), noop), good: {} },
  subscribeMatching: { call: (o) => worker.subscribeMatching('b:*', any(o), noop), good: {} },
  subscribeAll: { call: (o) => worker.subscribeAll(any(o), noop), good: {} },
  follow: { call: (o) => worker.follow('c', any(o)), good: {} },
  waitFor: { call: (o) => worker.waitFor(primary.position('events'), any(o)), good: { timeoutMs: 1 } },
  start: { call: (o) => worker.start(any(o)), good: {} },
  send: { call: (o) => worker.send({ name: 'SYNC', text: 'a' }, any(o)), good: {} },
  append: { call: (o) => primary.append('events', [1], any(o)), good: {} },
  appendTexts: { call: (o) => primary.appendTexts('events', ['1'], any(o)), good: {} },
  listen: { call: (o) => primary.listen(any(o)), good: { host: '127.0.0.1', port: 0 }, required: ['host', 'port'] },
  'tcp connect': {
    call: (o) => main.tcpTransport.connect(any(o), any({})),
    good: address,
    required: ['host', 'port'],
  },
  status: { call: (o) => primary.status(any(o)), good: {} },
  backup: { call: (o) => primary.backup('/nowhere/copy.db', any(o)), good: {} },
  KeptLog: { call: (o) => new logParts.KeptLog(any(o)), good: { name: 'a' }, required: ['name'] },
  GroupCommit: {
    call: (o) => new logParts.GroupCommit(any(o)),
    good: { check: noop, latest: noop, commit: noop, soon: noop },
    required: ['check', 'latest', 'commit', 'soon'],
  },
  StreamHolders: {
    call: (o) => new logParts.StreamHolders(any(o)),
    good: { untilSavedBy: ['a'], placeAt: noop },
    required: ['untilSavedBy', 'placeAt'],
  },
  sqliteLog: { call: (o) => sqlite.sqliteLog(any(o)), good: { path: '/nowhere/a.db' }, required: ['path'] },
  createCaches: { call: (o) => cache.createCaches(worker, any(o)), good: {} },
  defineCachesStream: { call: (o) => cache.defineCachesStream(any(o)), good: {} },
  cached: { call: (o) => caches.cached('a', any(o), noop), good: {} },
  group: { call: (o) => caches.group('a', () => [], any(o)), good: {} },
  trackFederationAcks: { call: (o) => synapse.trackFederationAcks(primary, any(o)), good: {} },
  handleCommands: { call: (o) => synapse.handleCommands(primary, any(o)), good: {} },
  synapseCommands: { call: (o) => synapse.synapseCommands(worker, any(o)), good: {} },
  sync: { call: (o) => synapse.synapseCommands(worker).sync('a', any(o)), good: { timeoutMs: 1 } },
  synapseStreams: { call: (o) => synapse.synapseStreams(any(o)), good: {} },
  logSuite: {
    call: (o) => testing.logSuite(noop, any(o)),
    good: { name: 'a', create: noop, supports },
    required: ['name', 'create', 'supports'],
  },
  transportSuite: {
    call: (o) => testing.transportSuite(noop, any(o)),
    good: { name: 'a', transport: main.tcpTransport, address: noop },
    required: ['name', 'transport', 'address'],
  },
  differentialTest: {
    call: (o) => testing.differentialTest(noop, any(o)),
    good: { name: 'a', create: noop, supports },
    required: ['name', 'create', 'supports'],
  },
  runWorld: { call: (o) => testing.runWorld(any(o)), good: { seed: 1 }, required: ['seed'] },
  ...Object.fromEntries(
    Object.entries({ express, fastify, hono }).flatMap(([name, { sendTokens, awaitTokens }]) => [
      [
        `sendTokens of ${name}`,
        { call: (o: unknown) => sendTokens(primary, any(o)), good: { streams: ['events'] }, required: ['streams'] },
      ],
      [`awaitTokens of ${name}`, { call: (o: unknown) => awaitTokens(worker, any(o)), good: {} }],
    ]),
  ),
};

/** Public functions without options: they take values, or make errors. */
const withoutOptions = new Set(
  [
    ['ConnectionError', 'HandlerError', 'LogError', 'PeerError', 'RowcastError', 'UsageError', 'Declarations'],
    ['emptyBounds', 'formatPosition', 'formatPositions', 'parsePosition', 'parsePositions', 'keepTexts'],
    ['seededRandom', 'memoryCheckpoint', 'fileCheckpoint'],
    // Parts of a log. Their objects are values that a log makes, once for each commit or page.
    ['formatChange', 'parseChange', 'encodeChunks', 'checkId', 'hashOfRows', 'RememberedIds', 'reusedId'],
    ['checkBatch', 'checkAttributes', 'chunkAfter', 'chunkBytes', 'chunkUpTo', 'rowsOfChunkAfter', 'tokenAt'],
    [
      'ChunkList',
      'KeptStream',
      'CommitWatch',
      'pageOf',
      'refuseGap',
      'deletedRow',
      'madeRow',
      'nextEra',
      'DeletedNames',
    ],
    ['formatHistory', 'logIdOf', 'originOf', 'parseHistory', 'judgePosition', 'mayDropOldest', 'LogTime'],
    ['resumedMs', 'systemBoot', 'checkStoredToken', 'logIsOpen', 'noSuchStream', 'notOpen'],
    // The classes that a function above makes.
    ['Caches', 'PrimaryCaches', 'WorkerCaches', 'SynapseCommands', 'SyncingUsers'],
    ['csCacheFake', 'isTrue', 'synapseStream', 'trackSyncingUsers', 'writeUntilKilled', 'describeFailure'],
  ].flat(),
);

async function refusal(call: () => unknown): Promise<unknown> {
  try {
    await call();
  } catch (error) {
    return error;
  }
  return 'taken';
}

const invalid = expect.objectContaining({ name: 'UsageError', code: 'INVALID_OPTION' });

// SPEC O1
test('every public function refuses an unknown option, a missing one, and what is no object of options', async () => {
  for (const [name, { call, good, required = [] }] of Object.entries(taken)) {
    expect(await refusal(() => call({ ...good, nosuchOption: 1 })), `${name}, unknown`).toEqual(invalid);
    expect(await refusal(() => call({ ...good, nosuchOption: 1 })), name).toMatchObject({
      facts: { option: 'nosuchOption' },
    });
    for (const wrong of [null, 'text', 5, [], Promise.resolve(good)])
      expect(await refusal(() => call(wrong)), `${name}, ${typeof wrong}`).toEqual(invalid);
    for (const option of required)
      expect(await refusal(() => call({ ...good, [option]: undefined })), `${name} without ${option}`).toEqual(invalid);
    for (const option of Object.keys(good))
      expect(await refusal(() => call({ ...good, [option]: null })), `${name}, null ${option}`).toEqual(invalid);
    if (required.length > 0) expect(await refusal(() => call(undefined)), `${name} without options`).toEqual(invalid);
  }
});

test('every public function is in one of the two lists above', async () => {
  const { exports } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8')) as {
    exports: Record<string, unknown>;
  };
  expect(Object.keys(doors).toSorted()).toEqual(
    Object.keys(exports)
      .filter((path) => path !== './package.json')
      .toSorted(),
  );
  const missing: string[] = [];
  for (const [path, door] of Object.entries(doors)) {
    for (const [name, value] of Object.entries(door)) {
      const isListed = name in taken || withoutOptions.has(name) || `${name} of ${path.slice(8)}` in taken;
      if (typeof value === 'function' && !isListed) missing.push(`${path} ${name}`);
    }
  }
  expect(missing).toEqual([]);
});

// SPEC O3
test('arguments that are no options are refused by name too', async () => {
  const calls: Record<string, () => unknown> = {
    'subscribe without a handler': () => worker.subscribe('x', {}, any(undefined)),
    'a stream that is none': () => worker.subscribe(any(5), {}, noop),
    'no stream': () => worker.subscribe(any(null), {}, noop),
    'unsubscribe from nothing': () => worker.unsubscribe(any(null)),
    'a pattern that is none': () => worker.subscribeMatching(any(null), {}, noop),
    'following nothing': () => worker.follow(any(undefined)),
    'waiting for nothing': () => worker.waitFor(any(undefined)),
    'no position': () => worker.hasReached(any(null)),
    'appending to nothing': () => primary.append(any(null), []),
    'a stream without a name': () => main.defineStream(any(undefined)),
    'streams without a pattern': () => main.defineStreams(any(undefined)),
    'a declaration that is none': () => main.createPrimary({ name: 'a', log: main.memoryLog(), streams: [any(null)] }),
    'a checkpoint without a path': () => main.fileCheckpoint(any(undefined)),
    'caches of nothing': () => cache.createCaches(any(undefined)),
    'a cache without a load': () => caches.cached('b', {}, any(undefined)),
    'a backup without a path': () => primary.backup(any(undefined)),
    'tokens of nothing': () => express.sendTokens(any(undefined), { streams: ['events'] }),
    'no rows': () => primary.append('events', any(undefined)),
    'a row in place of a list': () => primary.append('events', any({ id: 1 })),
    'a text in place of a list': () => primary.appendTexts('events', any('{}')),
    'a declaration by hand': () =>
      main.createPrimary({ name: 'a', log: main.memoryLog(), streams: [any({ name: 'events' })] }),
    'no worker to forget': () => primary.forgetWorker(any(undefined)),
    'no text of a position': () => main.parsePosition(any(undefined)),
    'the text of nothing': () => main.formatPosition(any({})),
    'no command': () => worker.send(any(undefined)),
    'the name of a command': () => worker.send(any('USER_SYNC')),
    'a command without its fields': () => worker.send(any({ name: 'USER_SYNC', userId: '@bob:example.com' })),
    'a command that no application sends': () => worker.send(any({ name: 'PING', data: '1' })),
    'users of nothing': () => synapse.trackSyncingUsers(any(undefined)),
  };
  for (const [name, call] of Object.entries(calls)) {
    expect(await refusal(call), name).toMatchObject({ name: 'UsageError' });
  }
});

test('a name among the streams is a stream without options', async () => {
  const position = await primary.append('events', [{ id: 1 }]);
  expect(position).toMatchObject({ stream: 'events', token: 1 });
  expect(primary.stream('events')).toEqual(main.defineStream('events'));
});
