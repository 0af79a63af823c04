import { expect, test } from 'vitest';
import { encodeCommand } from './codec.ts';
import { formatPrimaryGreeting, formatWorkerGreeting, type Histories, logIdOf, parseGreeting } from './greeting.ts';

const both: Histories = {
  durable: { logId: 'd1', streams: ['events', 'a,b', 'größe=%'] },
  volatile: { logId: 'v1', streams: ['typing'] },
};

test('the data of the first PING is pinned', () => {
  expect(formatWorkerGreeting(1490197665630.7)).toBe('1490197665630 rowcast/1');
  expect(formatPrimaryGreeting(1490197665618.2, { durable: { logId: '8f3c', streams: ['events', 'caches'] } })).toBe(
    '1490197665618 rowcast/1 log=8f3c streams=events,caches',
  );
  expect(formatPrimaryGreeting(1, both)).toBe(
    '1 rowcast/1 log=d1 mem=v1 streams=events,a%2Cb,gr%C3%B6%C3%9Fe%3D%25 volatile=typing',
  );
});

test('what a primary says of itself is what a worker reads', () => {
  expect(parseGreeting(formatPrimaryGreeting(1, both))).toEqual({
    logId: 'd1',
    volatileLogId: 'v1',
    streams: new Set(['events', 'a,b', 'größe=%', 'typing']),
    volatileStreams: new Set(['typing']),
  });
  expect(parseGreeting(formatPrimaryGreeting(1, { durable: { logId: 'd', streams: [] } }))).toEqual({
    logId: 'd',
    streams: new Set(),
    volatileStreams: new Set(),
  });
});

test('a worker says that it speaks Rowcast, and no more', () => {
  expect(parseGreeting(formatWorkerGreeting(1))).toEqual({});
});

test.each(['1490197665618', '', 'rowcast', 'rowcast/10', 'xrowcast/1', 'ROWCAST/1', '1 log=abc streams=events'])(
  'free text that does not say rowcast/1 says nothing: %j',
  (data) => {
    expect(parseGreeting(data)).toBeUndefined();
  },
);

test('words that are not known are left for later versions', () => {
  expect(parseGreeting('1 rowcast/1 color=blue log=abc rowcast/2 ===')).toEqual({ logId: 'abc' });
});

test('broken escapes say nothing', () => {
  expect(parseGreeting('1 rowcast/1 log=abc streams=%E0%A4%A,events volatile=%')).toEqual({
    logId: 'abc',
    streams: new Set(),
    volatileStreams: new Set(),
  });
});

test('a name that cannot be one of a stream is not taken, so that nobody asks for it', () => {
  const greeting = parseGreeting(
    `1 rowcast/1 log=abc streams=a%20b,ALL,,x%0AREPLICATE,events,${'y'.repeat(256)} volatile=%00,typing`,
  );
  expect(greeting?.streams).toEqual(new Set(['events', 'typing']));
  for (const stream of greeting!.streams!)
    expect(() => encodeCommand({ name: 'REPLICATE', stream, from: 0 })).not.toThrow();
});

test('names that would make the line too long for a peer of 16,384 bytes are left out', () => {
  const names = (count: number): string[] =>
    Array.from({ length: count }, (_, i) => `stream-${String(i).padStart(3, '0')}`);
  const short = formatPrimaryGreeting(1, { durable: { logId: 'd', streams: names(999) } });
  expect(short).toContain('streams=');
  const long = formatPrimaryGreeting(1, {
    durable: { logId: 'd', streams: names(1_100) },
    volatile: { logId: 'v', streams: ['typing'] },
  });
  expect(long).toBe('1 rowcast/1 log=d mem=v');
  expect(Buffer.byteLength(`PING ${short}`)).toBeLessThan(16_384);
});

test('a stream is of the history that the greeting says it is of', () => {
  const greeting = parseGreeting(formatPrimaryGreeting(1, both))!;
  expect(logIdOf(greeting, 'events')).toBe('d1');
  expect(logIdOf(greeting, 'typing')).toBe('v1');
  expect(logIdOf({ logId: 'd' }, 'typing')).toBe('d');
  expect(logIdOf({}, 'typing')).toBeUndefined();
});

test('without names nobody knows which of two histories a stream is of', () => {
  expect(logIdOf({ logId: 'd', volatileLogId: 'v' }, 'events')).toBeUndefined();
});
