import { once } from 'node:events';
import { expect, test } from 'vitest';
import { Gate } from '../../test/support/collector.ts';
import { deploy, placeOf, settle } from '../../test/support/deployment.ts';
import { formatPosition } from '../core/model/position.ts';
import { defineStream } from '../core/model/stream.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';

const events = defineStream('events');
const receipts = defineStream('receipts');
const streams = [events, receipts];

test('a wait is over only when the handler has applied the batch', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  const gate = new Gate();
  let isApplied = false;
  reader.subscribe(events, { from: 'now' }, async () => {
    await gate.opened;
    isApplied = true;
  });
  await reader.start();
  const token = await server.append(events, [1]);
  let isOver = false;
  const over = reader.waitFor(token).then(() => {
    isOver = true;
    expect(isApplied).toBe(true);
  });
  await settle();
  expect(isOver).toBe(false);
  gate.open();
  await over;
  await reader.waitFor(token);
});

test('a wait that takes too long says what holds it up', async () => {
  const clock = new VirtualClock();
  const { primary, worker, transport } = deploy();
  const server = await primary({ streams });
  const reader = worker({ clock });
  const gate = new Gate();
  reader.subscribe(events, { from: 'now' }, () => gate.opened);
  const refused = async (token: number): Promise<string> => {
    const wait = reader.waitFor(placeOf(server, events, token), { timeoutMs: 50 }).then(
      () => 'over',
      (error: Error & { code: string }) => `${error.code} ${error.message}`,
    );
    await settle();
    while (clock.step(clock.now() + 50));
    return wait;
  };
  const late = 'stream events is at';
  const at0 = formatPosition(server.position(events));
  const [at1, at2, at7] = [1, 2, 7].map((token) => formatPosition(placeOf(server, events, token)));
  expect(await refused(1)).toBe(
    `WAIT_TIMEOUT ${late} no position, ${at1} was not reached within 50 ms: the worker was not started`,
  );
  await reader.start();
  expect(await refused(7)).toBe(
    `WAIT_TIMEOUT ${late} ${at0}, ${at7} was not reached within 50 ms: the primary has not sent it`,
  );
  await server.append(events, ['x']);
  await settle();
  expect(await refused(1)).toBe(
    `WAIT_TIMEOUT ${late} ${at0}, ${at1} was not reached within 50 ms: the handler is busy with an earlier batch`,
  );
  gate.open();
  await settle();
  const left = once(reader, 'disconnected');
  transport.cutAll();
  const [{ error }] = await left;
  const away = reader.waitFor(placeOf(server, events, 2), { timeoutMs: 0 });
  clock.step(clock.now());
  await expect(away).rejects.toThrow(
    `${late} ${at1}, ${at2} was not reached within 0 ms: the worker is not connected: ${error.message}`,
  );
});

test('a wait for rows that cannot come because other handlers hold back the connection says so', async () => {
  const clock = new VirtualClock();
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker({ clock, limits: { maxQueuedBytes: 100 } });
  const gate = new Gate();
  reader.subscribe(events, { from: 'now' }, () => gate.opened);
  reader.subscribe(receipts, { from: 'now' }, () => {});
  await reader.start();
  await server.append(events, ['x'.repeat(200)]);
  await settle();
  await server.append(receipts, ['y']);
  const wait = reader.waitFor(placeOf(server, receipts, 1), { timeoutMs: 10 });
  const refused = expect(wait).rejects.toThrow(
    'handlers of other streams (events) are busy, and too many rows wait for them to read on',
  );
  await settle();
  while (clock.step(clock.now() + 10));
  await refused;
  gate.open();
  await settle();
  expect(reader.position(receipts)?.token).toBe(1);
});

test('a wait can be aborted, before and after it began', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  reader.subscribe(events, { from: 'now' }, () => {});
  await reader.start();
  const reason = new Error('the request was cancelled');
  const controller = new AbortController();
  const wait = expect(reader.waitFor(placeOf(server, events, 1), { signal: controller.signal })).rejects.toBe(reason);
  controller.abort(reason);
  await wait;
  await expect(reader.waitFor(placeOf(server, events, 1), { signal: controller.signal })).rejects.toBe(reason);
});

test('a wait is refused for a stream that is not subscribed and for what is no token', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  await expect(reader.waitFor(placeOf(server, events, 1))).rejects.toMatchObject({
    name: 'UsageError',
    code: 'NOT_SUBSCRIBED',
  });
  reader.subscribe(events, { from: 'now' }, () => {});
  await expect(reader.waitFor(placeOf(server, events, 0.5))).rejects.toMatchObject({
    name: 'UsageError',
    code: 'INVALID_TOKEN',
  });
  await expect(reader.waitFor({ stream: 'events', token: 1, history: '8f3c' })).rejects.toMatchObject({
    name: 'UsageError',
    code: 'INVALID_POSITION',
  });
});

test('waits end when the worker stops, and later ones are refused', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  reader.subscribe(events, { from: 'now' }, () => {});
  await reader.start();
  await reader.waitFor(await server.append(events, ['x']));
  const wait = expect(reader.waitFor(placeOf(server, events, 9))).rejects.toMatchObject({
    code: 'CLOSED',
    message: 'worker reader-1 was stopped',
  });
  await reader.stop();
  await wait;
  await expect(reader.waitFor(placeOf(server, events, 9))).rejects.toMatchObject({
    name: 'UsageError',
    code: 'CLOSED',
  });
  await expect(reader.waitFor(placeOf(server, events, 1))).rejects.toMatchObject({
    name: 'UsageError',
    code: 'CLOSED',
  });
});
