/** Streams that are made and deleted while a primary runs, and how its status lists them. */

import { describe, expect, test } from 'vitest';
import { ADDRESS, deploy, settle } from '../../test/support/deployment.ts';
import { Netcat } from '../../test/support/netcat.ts';
import { defineStreams } from '../core/model/declarations.ts';
import { originOf } from '../core/model/history.ts';
import { defineStream } from '../core/model/stream.ts';
import { memoryLog } from '../log/memory.ts';
import type { Transport } from '../transport/transport.ts';

const events = defineStream('events');
const rooms = defineStreams('room:*');
const typing = defineStreams('typing:*', { durable: false });
const streams = [events, rooms, typing];

function rowcastHand(transport: Transport, address = ADDRESS): Netcat {
  const hand = new Netcat(transport, address);
  hand.send('PING 1 rowcast/2');
  return hand;
}

describe('a stream of a declared pattern', () => {
  test('is made by its first append, and followed from its first row by who asked for it before', async () => {
    const { primary, transport } = deploy();
    const log = memoryLog();
    const server = await primary({ streams, log });
    const hand = rowcastHand(transport);
    hand.send('REPLICATE room:42 START', 'REPLICATE $streams NOW');
    await hand.line('POSITION $streams 0');
    expect(server.position('room:42')).toEqual({ stream: 'room:42', token: 0, history: originOf(log.id) });
    await server.append(rooms.stream('room:42'), ['hello']);
    await hand.line('RDATA room:42 1');
    const made = hand.lines.findIndex((line) => line.startsWith('RDATA $streams 1 {"stream":"room:42","made":'));
    expect(made, '$streams says so first').toBeGreaterThan(0);
    expect(made).toBeLessThan(hand.lines.indexOf('RDATA room:42 1 "hello"'));
  });

  test('has the definition of its pattern', async () => {
    const { primary } = deploy();
    const server = await primary({ streams });
    expect(server.stream('room:1')).toEqual(rooms.stream('room:1'));
    expect(server.stream('typing:1')?.durable).toBe(false);
    expect(server.stream('hall:1')).toBeUndefined();
  });

  test.each(['hall:1', 'room:', 'room:1:x', 'room:a b', '$streams', 'ALL', `room:${'x'.repeat(300)}`])(
    '%s is none',
    async (name) => {
      const { primary } = deploy();
      const server = await primary({ streams });
      const refused = { name: 'UsageError', code: 'NO_SUCH_STREAM' };
      await expect(server.append(name, [1])).rejects.toMatchObject(refused);
      await expect(server.trim(name, 1)).rejects.toMatchObject(refused);
      await expect(server.delete(name)).rejects.toMatchObject(refused);
      expect(() => server.position(name)).toThrow(expect.objectContaining(refused));
    },
  );

  test('is a stream like any other to a peer of the seed, also in ALL', async () => {
    const { primary, transport } = deploy();
    const server = await primary({ streams });
    await server.append('room:1', ['old']);
    const hand = new Netcat(transport, ADDRESS);
    hand.send('REPLICATE ALL NOW');
    await hand.line('POSITION room:1 1');
    await server.append('room:42', ['first']);
    await server.append('typing:42', ['first']);
    await hand.line('RDATA typing:42 1');
    expect(hand.lines.slice(2)).toEqual([
      'POSITION events 0',
      'POSITION room:1 1',
      'POSITION room:42 0',
      'RDATA room:42 1 "first"',
      'POSITION typing:42 0',
      'RDATA typing:42 1 "first"',
    ]);
  });
});

describe('a stream that is deleted', () => {
  test('is refused to its followers with RESET, and is empty until it is made again', async () => {
    const { primary, transport } = deploy();
    const log = memoryLog();
    const server = await primary({ streams, log });
    const before = await server.append('room:1', ['a']);
    const hand = rowcastHand(transport);
    const seed = new Netcat(transport, ADDRESS);
    hand.send('REPLICATE room:1 NOW', 'REPLICATE events NOW');
    seed.send('REPLICATE room:1 0');
    await hand.line('POSITION events');
    await seed.line('POSITION room:1 1');
    await server.delete(rooms.stream('room:1'));
    await hand.line('REFUSED room:1');
    await seed.line('POSITION room:1 0');
    expect(hand.lines.at(-1)).toBe(
      `REFUSED room:1 RESET {"earliest":1,"latest":0,"history":"${originOf(log.id)}","deleted":true}`,
    );
    expect(server.position('room:1').token).toBe(0);
    const again = await server.append('room:1', ['b']);
    expect(again).toMatchObject({ token: 1 });
    expect(again.history).not.toBe(before.history);
    await seed.line('RDATA room:1 1 "b"');
    await hand.line('ERA');
    hand.send(`REPLICATE room:1 1 ${before.history}`);
    await settle();
    expect(hand.lines.at(-1)).toBe(`REFUSED room:1 RESET {"earliest":1,"latest":1,"history":"${again.history}"}`);
  });

  test('that is not there stays as it is', async () => {
    const { primary, transport } = deploy();
    const server = await primary({ streams });
    const hand = rowcastHand(transport);
    hand.send('REPLICATE room:1 NOW');
    await hand.line('POSITION room:1 0');
    await server.delete('room:1');
    await server.append('room:1', ['a']);
    await hand.line('RDATA room:1 1 "a"');
    expect(hand.lines.some((line) => line.startsWith('REFUSED'))).toBe(false);
  });
});

describe('status', () => {
  test('lists the streams page by page, in the order of their names', async () => {
    const { primary } = deploy();
    const server = await primary({ streams });
    for (let i = 0; i < 25; i++) await server.append(`room:${String((i * 7) % 25).padStart(2, '0')}`, [1]);
    const names: string[] = [];
    let page = server.status({ limit: 10 });
    for (; page.next !== undefined; page = server.status({ limit: 10, after: page.next })) {
      expect(page.streams).toHaveLength(10);
      names.push(...page.streams.map(({ stream }) => stream));
    }
    names.push(...page.streams.map(({ stream }) => stream));
    expect(names).toEqual(['events', ...Array.from({ length: 25 }, (_, i) => `room:${String(i).padStart(2, '0')}`)]);
    expect(page.patterns).toEqual(['room:*', 'typing:*']);
  });

  test('is of at most 1,000 streams where nothing else is said', async () => {
    const { primary } = deploy();
    const server = await primary({ streams });
    await Promise.all(Array.from({ length: 1_500 }, (_, i) => server.append(`room:${i}`, [1])));
    const first = server.status();
    expect(first.streams).toHaveLength(1_000);
    const rest = server.status({ after: first.next!, limit: 501 });
    expect(rest).toMatchObject({ next: undefined });
    expect(rest.streams).toHaveLength(501);
  });

  test('may be of the streams of one pattern, or of one name', async () => {
    const { primary } = deploy();
    const server = await primary({ streams });
    for (const name of ['room:1', 'typing:1', 'room:2']) await server.append(name, [1]);
    const matched = (match: string): string[] => server.status({ match }).streams.map(({ stream }) => stream);
    expect(matched('room:*')).toEqual(['room:1', 'room:2']);
    expect(matched('typing:1')).toEqual(['typing:1']);
    expect(matched('nosuch')).toEqual([]);
  });

  test('tells of each connection how many streams it follows, and of those on the page how far they are', async () => {
    const { primary, transport } = deploy();
    const server = await primary({ streams });
    for (let i = 0; i < 9; i++) await server.append(`room:${i}`, [1]);
    const hand = rowcastHand(transport);
    hand.send('REPLICATE $streams NOW');
    for (let i = 0; i < 9; i++) hand.send(`REPLICATE room:${i} NOW`);
    // It is followed and not made.
    hand.send('REPLICATE room:later NOW');
    await hand.line('POSITION room:later');
    const [connection] = server.status({ limit: 3 }).connections;
    expect(connection).toMatchObject({ streams: 11, liveStreams: 11 });
    expect(connection?.subscriptions.map(({ stream }) => stream)).toEqual(['$streams', 'room:0', 'room:1']);
    const last = server.status({ after: 'room:8' });
    expect(last.streams).toEqual([expect.objectContaining({ stream: 'room:later', earliest: 1, latest: 0 })]);
    expect(last.connections[0]?.subscriptions).toHaveLength(1);
  });

  test.each([0, -1, 1.5, Number.NaN])('of %d streams is refused', async (limit) => {
    const { primary } = deploy();
    const server = await primary({ streams });
    expect(() => server.status({ limit })).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
  });
});
