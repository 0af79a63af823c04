import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { ADDRESS, deploy, settle } from '../../test/support/deployment.ts';
import { Netcat } from '../../test/support/netcat.ts';
import { Collector } from '../../test/support/collector.ts';
import type { Batch } from '../core/model/batch.ts';
import { defineStreams } from '../core/model/declarations.ts';
import { defineStream } from '../core/model/stream.ts';
import { memoryLog } from '../log/memory.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';

const events = defineStream('events');
const Amount = z.object({ amount: z.number() });
const amounts = defineStream('amounts', { row: Amount });

const KEPT = ['9007199254740993', '1e400', '-0', '1.10', '{"a":1,"a":2}', String.raw`"\u00e9"`, '{ "b" : 1, "a" : 2 }'];

describe('rows that are appended as texts', () => {
  test('go to the wire byte for byte', async () => {
    const { primary, transport } = deploy();
    const server = await primary({ streams: [events] });
    const hand = new Netcat(transport, ADDRESS);
    await server.appendTexts(events, KEPT);
    await server.appendTexts('events', ['\t[1,\r\n2]\n']);
    hand.send('REPLICATE events 0');
    await hand.line('POSITION');
    const rows = hand.lines
      .filter((line) => line.startsWith('RDATA '))
      .map((line) => line.split(' ').slice(3).join(' '));
    expect(rows).toEqual([...KEPT, '[1,  2]']);
  });

  test('are one batch, or are refused together', async () => {
    const { primary } = deploy();
    const server = await primary({ streams: [events], limits: { maxLineBytes: 60 } });
    expect(await server.appendTexts(events, ['1', '2'])).toMatchObject({ token: 1 });
    await expect(server.appendTexts(events, ['1', '{'])).rejects.toMatchObject({ code: 'INVALID_ROW' });
    await expect(server.appendTexts(events, [])).rejects.toMatchObject({ code: 'INVALID_ROW' });
    await expect(server.appendTexts(events, ['1', `"${'\\u00e9'.repeat(10)}"`])).rejects.toMatchObject({
      code: 'ROW_TOO_LARGE',
    });
    await expect(server.appendTexts('others', ['1'])).rejects.toMatchObject({ code: 'NO_SUCH_STREAM' });
    expect(server.position(events).token).toBe(1);
    await server.close();
    await expect(server.appendTexts(events, ['1'])).rejects.toMatchObject({ code: 'CLOSED' });
  });

  test('are checked by the validator, which gets their values', async () => {
    const { primary, transport } = deploy();
    const slow = defineStream('slow', { row: Amount.refine(async () => settle(1).then(() => true)) });
    const server = await primary({ streams: [amounts, slow] });
    for (const stream of [amounts, slow]) {
      await expect(server.appendTexts(stream, ['{"amount":"1"}'])).rejects.toMatchObject({ code: 'INVALID_ROW' });
      await server.appendTexts(stream, ['{"amount":1.10,"note":"kept"}']);
      const hand = new Netcat(transport, ADDRESS);
      hand.send(`REPLICATE ${stream.name} 0`);
      await hand.line(`RDATA ${stream.name} 1 {"amount":1.10,"note":"kept"}`);
    }
  });

  test('are told to listeners of `appended` as values', async () => {
    const { primary } = deploy();
    const server = await primary({ streams: [events] });
    const told: Batch[] = [];
    server.on('appended', (batch) => told.push(batch));
    const position = await server.appendTexts(events, ['1.10', ' {"a":1,"a":2}'], { attributes: { trace: 1 } });
    expect(told).toEqual([{ stream: 'events', token: 1, position, rows: [1.1, { a: 2 }], attributes: { trace: 1 } }]);
  });
});

describe('a batch with an id', () => {
  test('is appended once and told once, however often it is appended, one after the other and at once', async () => {
    const { primary } = deploy();
    const server = await primary({ streams: [events] });
    await server.append(events, ['untold'], { id: 'before' });
    const told: unknown[] = [];
    server.on('appended', ({ rows }) => told.push(...rows));
    const first = await server.append(events, ['row'], { id: 'one' });
    expect(await server.append(events, ['row'], { id: 'one' })).toEqual(first);
    expect(await server.appendTexts(events, ['"row"'], { id: 'one' })).toEqual(first);
    await server.append(events, ['untold'], { id: 'before' });
    const twins = await Promise.all([1, 2].map(async () => server.append(events, ['twin'], { id: 'two' })));
    expect(twins[0]).toEqual(twins[1]);
    await expect(server.append(events, ['other'], { id: 'one' })).rejects.toMatchObject({ code: 'ID_REUSED' });
    expect(server.position(events).token).toBe(3);
    expect(told).toEqual(['row', 'twin']);
  });

  test('is appended and told again where its stream was deleted and made again', async () => {
    const { primary } = deploy();
    const server = await primary({ streams: [events] });
    const told: unknown[] = [];
    server.on('appended', ({ rows }) => told.push(...rows));
    await server.append(events, ['before']);
    await server.append(events, ['row'], { id: 'one' });
    await server.delete(events);
    expect(await server.append(events, ['row'], { id: 'one' })).toMatchObject({ token: 1 });
    expect(told).toEqual(['before', 'row', 'row']);
  });

  test('is remembered for idRetentionMs, in either log', async () => {
    const { primary } = deploy();
    const typing = defineStream('typing', { durable: false });
    const clock = new VirtualClock();
    const server = await primary({
      streams: [events, typing],
      log: memoryLog({ clock }),
      clock,
      idRetentionMs: 1_000,
    });
    const appendBoth = async (): Promise<number[]> => {
      const appended = [events, typing].map(async (stream) => server.append(stream, ['row'], { id: 'one' }));
      await settle();
      clock.step(clock.now());
      return (await Promise.all(appended)).map(({ token }) => token);
    };
    expect(await appendBoth()).toEqual([1, 1]);
    clock.step(clock.now() + 999);
    expect(await appendBoth()).toEqual([1, 1]);
    clock.step(clock.now() + 1);
    expect(await appendBoth()).toEqual([2, 2]);
  });

  test('may have a token of its own, which rises or is refused', async () => {
    const { primary } = deploy();
    const server = await primary({ streams: [events] });
    expect(await server.append(events, [1], { token: 7, id: 'seven' })).toMatchObject({ token: 7 });
    await expect(server.append(events, [1], { token: 7 })).rejects.toMatchObject({ code: 'TOKEN_FELL' });
    await expect(server.append(events, [1], { token: 7.5 })).rejects.toMatchObject({ code: 'INVALID_TOKEN' });
    expect(await server.append(events, [2])).toMatchObject({ token: 8 });
  });
});

describe('a second definition of a declared stream', () => {
  const other = defineStream('amounts', { row: z.object({ amount: z.number() }) });
  const message =
    'stream amounts is declared with another validator than this definition has: use the definition that createPrimary was given';

  // SPEC A4
  test('is refused where it would append other rows, and says to use the declared one', async () => {
    const { primary } = deploy();
    const server = await primary({ streams: [amounts, events] });
    const refusal = { code: 'DUPLICATE_STREAM', message, facts: { stream: 'amounts' } };
    await expect(server.append(other, [{ amount: 1 }])).rejects.toMatchObject(refusal);
    await expect(server.append(defineStream('amounts'), [{ amount: 1 }])).rejects.toMatchObject(refusal);
    await expect(server.appendTexts(other, ['{"amount":1}'])).rejects.toMatchObject(refusal);
    await expect(server.trim(other, 1)).rejects.toMatchObject(refusal);
    await expect(server.delete(other)).rejects.toMatchObject(refusal);
    expect(server.position('amounts').token).toBe(0);
    await server.append(amounts, [{ amount: 1 }]);
    await server.append(defineStream<number>('events'), [1]);
  });

  test('is refused for a stream of a pattern too, and its own definitions are taken', async () => {
    const { primary } = deploy();
    const rooms = defineStreams('room:*', { row: Amount });
    const server = await primary({ streams: [rooms] });
    await server.append(rooms.stream('room:1'), [{ amount: 1 }]);
    const stranger = defineStream('room:1', { row: z.string() });
    await expect(server.append(stranger, ['1'])).rejects.toMatchObject({ code: 'DUPLICATE_STREAM' });
  });

  test('is refused by a worker that follows the first', async () => {
    const { worker } = deploy();
    const reader = worker();
    reader.subscribe(amounts, {}, new Collector<{ amount: number }>().handler);
    expect(() => reader.subscribe(other, {}, () => {})).toThrow(expect.objectContaining({ code: 'DUPLICATE_STREAM' }));
  });
});
