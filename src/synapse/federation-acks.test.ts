import { once } from 'node:events';
import { expect, test } from 'vitest';
import { deploy, settle } from '../../test/support/deployment.ts';
import { LogError } from '../core/model/errors.ts';
import type { Primary } from '../primary/primary.ts';
import type { Worker } from '../worker/worker.ts';
import { trackFederationAcks } from './federation-acks.ts';
import { synapseStreams } from './streams.ts';

const ROW = ['d', { destination: 'example.org' }];

interface Setup {
  readonly primary: Primary;
  readonly end: () => void;
  readonly worker: (name: string) => Promise<Worker>;
  readonly earliest: () => number;
}

async function setUp(rows = 10): Promise<Setup> {
  const deployment = deploy();
  const primary = await deployment.primary({ streams: synapseStreams({ federation: true }) });
  const end = trackFederationAcks(primary);
  for (let i = 0; i < rows; i++) {
    await primary.append('federation', [ROW]);
    // In chunks of their own: whole chunks are dropped.
    await settle(1);
  }
  const worker = async (name: string): Promise<Worker> => {
    const made = deployment.worker({ name });
    await made.start();
    return made;
  };
  return {
    primary,
    end,
    worker,
    earliest: () => primary.status().streams.find(({ stream }) => stream === 'federation')!.earliest,
  };
}

const ack = (worker: Worker, token: number): void => worker.send({ name: 'FEDERATION_ACK', token });

test('rows that every sender has acked are dropped', async () => {
  const { worker, earliest } = await setUp();
  const [a, b] = [await worker('sender-1'), await worker('sender-2')];
  ack(a, 8);
  await settle();
  expect(earliest(), 'the only sender so far').toBe(9);
  ack(b, 3);
  ack(a, 10);
  await settle();
  expect(earliest(), 'it does not move back').toBe(9);
  ack(b, 9);
  await settle();
  expect(earliest()).toBe(10);
});

test('the slowest one holds back what it has not acked, until it is gone', async () => {
  const { primary, worker, earliest } = await setUp();
  const [slow, fast] = [await worker('slow'), await worker('fast')];
  ack(slow, 2);
  await settle();
  ack(fast, 9);
  await settle();
  expect(earliest()).toBe(3);
  const gone = once(primary, 'disconnected');
  await slow.stop();
  await gone;
  await settle();
  expect(earliest()).toBe(10);
  await fast.stop();
  await settle();
  expect(earliest(), 'without a sender nothing is dropped').toBe(10);
});

test('an ack of what was never sent is none, nor is one that falls', async () => {
  const { primary, worker, earliest } = await setUp(5);
  const a = await worker('sender');
  ack(a, 1_000);
  await settle();
  expect(earliest(), 'it is of an earlier life of the stream').toBe(1);
  ack(a, 5);
  await settle();
  expect(earliest()).toBe(6);
  ack(a, 1);
  await primary.append('federation', [ROW]);
  await settle();
  expect(earliest()).toBe(6);
  ack(a, 6);
  await settle();
  expect(earliest()).toBe(7);
});

test('a trim that fails is an error of the primary, and the next ack tries again', async () => {
  const { primary, worker, earliest } = await setUp();
  const { trim } = primary;
  primary.trim = () => Promise.reject(new LogError('LOG_UNAVAILABLE', 'no disk'));
  const a = await worker('sender');
  const failed = once(primary, 'error');
  ack(a, 4);
  expect((await failed)[0]).toMatchObject({ code: 'LOG_UNAVAILABLE' });
  primary.trim = trim;
  ack(a, 5);
  await settle();
  expect(earliest()).toBe(6);
});

test('it ends when told, and wants the stream from the beginning', async () => {
  const { end, worker, earliest } = await setUp();
  end();
  ack(await worker('sender'), 5);
  await settle();
  expect(earliest()).toBe(1);
  const without = await deploy().primary({ streams: synapseStreams() });
  expect(() => trackFederationAcks(without)).toThrow(
    expect.objectContaining({ name: 'UsageError', code: 'NO_SUCH_STREAM' }),
  );
});
