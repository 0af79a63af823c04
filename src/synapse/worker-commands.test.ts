/**
 * What must not befall a worker by what it is asked to send or to wait for; what it sends is in
 * commands.test.ts.
 */

import { expect, test } from 'vitest';
import { deploy, settle } from '../../test/support/deployment.ts';
import { ScriptedPrimary } from '../../test/support/scripted-primary.ts';
import { defineStream } from '../core/model/stream.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import { createWorker, type Worker } from '../worker/worker.ts';
import { synapseLimits } from './profile.ts';
import { type SynapseCommands, synapseCommands } from './worker-commands.ts';

const REFUSED = expect.objectContaining({ name: 'UsageError', code: 'INVALID_COMMAND' }) as Error;
/** More listeners than Node takes for a leak. */
const MANY = 20;

interface Setup {
  readonly clock: VirtualClock;
  readonly primary: ScriptedPrimary;
  readonly worker: Worker;
  readonly commands: SynapseCommands;
  readonly connect: () => Promise<void>;
}

function setUp(): Setup {
  const clock = new VirtualClock();
  const primary = new ScriptedPrimary();
  const worker = createWorker({
    name: 'w',
    connect: { path: '/script' },
    transport: primary.transport,
    clock,
    limits: { ...synapseLimits, minBackoffMs: 1, maxBackoffMs: 1 },
  });
  const connect = async (): Promise<void> => {
    await settle(2);
    clock.step(clock.now() + 2);
    primary.open();
    primary.send(['SERVER example.com', 'PING 1']);
  };
  return { clock, primary, worker, commands: synapseCommands(worker, { clock }), connect };
}

test.each([
  ['has a space', 'two words'],
  ['is empty', ''],
  ['makes too long a line', `@${'u'.repeat(20_000)}:x`],
])(
  'a user id that %s is refused with or without a connection, and the others are told after each reconnect',
  async (_what, userId) => {
    const { primary, worker, commands, connect } = setUp();
    void worker.start();
    expect(() => commands.startSync(userId)).toThrow(REFUSED);
    commands.startSync('@a:x');
    await connect();
    expect(() => commands.startSync(userId)).toThrow(REFUSED);
    primary.cut();
    await connect();
    expect(primary.takeLines().filter((line) => line.startsWith('USER_SYNC '))).toEqual([
      expect.stringMatching(/^USER_SYNC @a:x start \d+$/),
    ]);
  },
);

test('however many wait for a SYNC, the worker has one listener for them, and none when the last is through', async () => {
  const { clock, primary, worker, commands, connect } = setUp();
  void worker.start();
  await connect();
  const controller = new AbortController();
  const heard = Array.from({ length: MANY }, async () => commands.sync('x'));
  const aborted = expect(commands.sync('y', { signal: controller.signal })).rejects.toThrow('enough');
  const late = expect(commands.sync('z', { timeoutMs: 50 })).rejects.toMatchObject({ code: 'WAIT_TIMEOUT' });
  expect(worker.listenerCount('sync')).toBe(1);
  primary.send(['SYNC x']);
  await Promise.all(heard);
  controller.abort(new Error('enough'));
  await aborted;
  expect(worker.listenerCount('sync'), 'one still waits').toBe(1);
  clock.step(clock.now() + 50);
  await late;
  expect(worker.listenerCount('sync')).toBe(0);
});

test('sync hears the SYNC that a primary of ours sends', async () => {
  const deployment = deploy();
  const primary = await deployment.primary({ streams: [defineStream('events')] });
  const worker = deployment.worker();
  const commands = synapseCommands(worker);
  await worker.start();
  const heard = commands.sync('all that came before');
  primary.sync('all that came before');
  await heard;
  expect(worker.listenerCount('sync')).toBe(0);
});
