/**
 * Commands with a function each: on the worker that sends them, and on the primary that is told.
 */

import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { readCapture } from '../../test/support/captures.ts';
import { ADDRESS, deploy, settle } from '../../test/support/deployment.ts';
import { Netcat } from '../../test/support/netcat.ts';
import { ScriptedPrimary } from '../../test/support/scripted-primary.ts';
import { defineStream } from '../core/model/stream.ts';
import { decodeCommand } from '../core/wire/codec.ts';
import type { UpstreamCommand } from '../core/wire/command.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import { createWorker, type Worker } from '../worker/worker.ts';
import { handleCommands } from './primary-commands.ts';
import { type SynapseCommands, synapseCommands } from './worker-commands.ts';

describe('on a worker', () => {
  class Setup {
    readonly clock = new VirtualClock();
    readonly primary = new ScriptedPrimary();
    readonly worker: Worker = createWorker({
      name: 'w',
      connect: { path: '/script' },
      transport: this.primary.transport,
      clock: this.clock,
      limits: { minBackoffMs: 1, maxBackoffMs: 1 },
    });
    readonly commands: SynapseCommands = synapseCommands(this.worker, { clock: this.clock });

    async connect(): Promise<void> {
      await settle(2);
      this.clock.step(this.clock.now() + 2);
      this.primary.open();
      this.primary.send(['SERVER example.com', 'PING 1']);
    }

    /** What it sent but the greeting. */
    sent(): string[] {
      return this.primary.takeLines().filter((line) => !/^(NAME|PING) /.test(line));
    }
  }

  test('who syncs is told once connected, and again after every reconnect', async () => {
    const setup = new Setup();
    void setup.worker.start();
    setup.commands.startSync('@a:x');
    setup.commands.startSync('@b:x');
    setup.commands.endSync('@b:x');
    const since = setup.clock.now();
    await setup.connect();
    expect(setup.sent(), 'once, and not what was over by then').toEqual([`USER_SYNC @a:x start ${since}`]);
    setup.commands.startSync('@c:x');
    setup.commands.endSync('@nobody:x');
    const later = setup.clock.now();
    expect(setup.sent()).toEqual([`USER_SYNC @c:x start ${later}`]);
    setup.primary.cut();
    setup.commands.endSync('@c:x');
    const ended = setup.clock.now();
    await setup.connect();
    expect(setup.sent().toSorted(), 'a start may have waited, so the end does').toEqual([
      `USER_SYNC @a:x start ${since}`,
      `USER_SYNC @c:x end ${ended}`,
    ]);
    setup.commands.endSync('@a:x');
    expect(setup.sent()).toEqual([`USER_SYNC @a:x end ${setup.clock.now()}`]);
  });

  test('made after the worker connected, they are sent at once', async () => {
    const setup = new Setup();
    void setup.worker.start();
    await setup.connect();
    const late = synapseCommands(setup.worker, { clock: setup.clock });
    late.startSync('@a:x');
    expect(setup.sent()).toEqual([`USER_SYNC @a:x start ${setup.clock.now()}`]);
  });

  test('each command has its function', async () => {
    const setup = new Setup();
    void setup.worker.start();
    await setup.connect();
    setup.commands.federationAck(7);
    setup.commands.removePusher({ appId: 'org.app', pushKey: 'key', userId: '@a:x' });
    setup.commands.invalidateCache('get_user', ['@a:x']);
    setup.commands.invalidateCache('get_user', null);
    setup.commands.userIp({
      userId: '@a:x',
      accessToken: 't',
      ip: '127.0.0.1',
      userAgent: 'curl',
      deviceId: null,
      lastSeenMs: 5,
    });
    expect(setup.sent()).toEqual([
      'FEDERATION_ACK 7',
      'REMOVE_PUSHER org.app key @a:x',
      'INVALIDATE_CACHE get_user ["@a:x"]',
      'INVALIDATE_CACHE get_user null',
      'USER_IP @a:x ["t","127.0.0.1","curl",null,5]',
    ]);
    expect(() => setup.commands.removePusher({ appId: 'two words', pushKey: 'key', userId: '@a:x' })).toThrow(
      expect.objectContaining({ code: 'INVALID_COMMAND' }),
    );
  });

  test('sync resolves for all who wait for the text, and not by another one', async () => {
    const setup = new Setup();
    void setup.worker.start();
    await setup.connect();
    let isOver = false;
    const waits = [setup.commands.sync('x'), setup.commands.sync('x')].map(async (wait) =>
      wait.then(() => (isOver = true)),
    );
    setup.primary.send(['SYNC y']);
    await settle(2);
    expect(isOver).toBe(false);
    setup.primary.send(['SYNC x']);
    await Promise.all(waits);
    expect(setup.worker.listenerCount('sync')).toBe(0);
  });

  test('sync ends with a time-out, or by the signal, and nothing is left of it', async () => {
    const setup = new Setup();
    const tooLate = expect(setup.commands.sync('x', { timeoutMs: 50 })).rejects.toMatchObject({
      name: 'UsageError',
      code: 'WAIT_TIMEOUT',
    });
    setup.clock.step(setup.clock.now() + 50);
    await tooLate;
    const controller = new AbortController();
    const aborted = expect(setup.commands.sync('x', { signal: controller.signal })).rejects.toThrow('enough');
    controller.abort(new Error('enough'));
    await aborted;
    await expect(setup.commands.sync('x', { signal: controller.signal })).rejects.toThrow('enough');
    expect(setup.worker.listenerCount('sync')).toBe(0);
  });
});

describe('on a primary', () => {
  test('each command of the recorded worker, and any other, has its callback', async () => {
    const deployment = deploy();
    const primary = await deployment.primary({ streams: [defineStream('events')] });
    const told: string[] = [];
    const tell =
      (callback: string) =>
      ({ name }: UpstreamCommand, { name: worker }: { readonly name: string | undefined }): void => {
        told.push(`${callback} ${name} of ${worker}`);
      };
    const end = handleCommands(primary, {
      userSync: tell('userSync'),
      userIp: tell('userIp'),
      federationAck: tell('federationAck'),
      removePusher: tell('removePusher'),
      invalidateCache: tell('invalidateCache'),
    });
    const worker = deployment.worker({ name: 'w' });
    await worker.start();
    const recorded = readCapture('worker_rec.conn1').lines.worker.filter((line) => line.startsWith('USER_'));
    for (const line of [
      ...recorded,
      'FEDERATION_ACK 1',
      'REMOVE_PUSHER a b c',
      'INVALIDATE_CACHE c []',
      'SYNC nobody is told',
    ]) {
      worker.send(decodeCommand(line, 'worker', 'seed') as UpstreamCommand);
    }
    await settle();
    expect(told.slice(0, recorded.length).toSorted()).toEqual([
      ...Array.from({ length: 2 }, () => 'userIp USER_IP of w'),
      ...Array.from({ length: 4 }, () => 'userSync USER_SYNC of w'),
    ]);
    expect(told.slice(recorded.length)).toEqual([
      'federationAck FEDERATION_ACK of w',
      'removePusher REMOVE_PUSHER of w',
      'invalidateCache INVALIDATE_CACHE of w',
    ]);
    end();
    worker.send({ name: 'FEDERATION_ACK', token: 2 });
    await settle();
    expect(told).toHaveLength(recorded.length + 3);
  });

  test('NAME and ERROR have theirs too', async () => {
    const { primary: start, transport } = deploy();
    const primary = await start({ streams: [defineStream('events')] });
    const told: string[] = [];
    handleCommands(primary, {
      name: (name, worker) => void told.push(`${worker.id} is called ${name}`),
      error: (text, worker) => void told.push(`${worker.name} says ${text}`),
    });
    const hand = new Netcat(transport, ADDRESS);
    await settle();
    hand.send('NAME by hand', 'ERROR out of sorts');
    await settle();
    expect(told).toEqual(['1 is called by hand', 'by hand says out of sorts']);
  });

  test.each([
    [
      'throws',
      (): void => {
        throw new Error('oops');
      },
    ],
    ['rejects', async (): Promise<void> => Promise.reject(new Error('oops'))],
  ])('a callback that %s is an error of the primary, and the next command is told', async (_how, userSync) => {
    const deployment = deploy();
    const primary = await deployment.primary({ streams: [defineStream('events')] });
    const acks: number[] = [];
    handleCommands(primary, { userSync, federationAck: ({ token }) => void acks.push(token) });
    const worker = deployment.worker();
    await worker.start();
    const failed = once(primary, 'error');
    worker.send({ name: 'USER_SYNC', userId: '@a:x', state: 'start', lastSyncMs: 1 });
    worker.send({ name: 'FEDERATION_ACK', token: 5 });
    expect((await failed)[0]).toMatchObject({
      name: 'HandlerError',
      code: 'HANDLER_FAILED',
      message: 'the callback for USER_SYNC failed: oops',
    });
    await settle();
    expect(acks).toEqual([5]);
    expect(worker.isLive).toBe(true);
  });
});
