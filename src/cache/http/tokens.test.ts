import { readFile } from 'node:fs/promises';
import * as fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { Gate } from '../../../test/support/collector.ts';
import { deploy, settle } from '../../../test/support/deployment.ts';
import { defineStream, streamNameFault } from '../../core/model/stream.ts';
import { VirtualClock } from '../../testing/virtual-clock.ts';
import type { Worker } from '../../worker/worker.ts';
import {
  type AwaitTokensOptions,
  currentTokens,
  defaultAwaitTokensOptions,
  formatTokens,
  judgeRequests,
  MAX_HEADER_LENGTH,
  MAX_STREAMS,
  parseTokens,
  STALE_HEADER,
  TOKEN_HEADER,
} from './tokens.ts';

const events = defineStream('events');
const others = defineStream('others');
const noSignal = (): AbortSignal => {
  throw new Error('nobody waits, so nobody asks whether the client is there');
};
const staying = (): AbortSignal => new AbortController().signal;

function faultOf(header: string): string {
  const parsed = parseTokens(header);
  return 'fault' in parsed ? parsed.fault : 'none';
}

test('whatever the names of streams, a header that was written is read as the same', () => {
  const name = fc.string({ unit: 'grapheme', maxLength: 20 }).filter((text) => streamNameFault(text) === undefined);
  fc.assert(
    fc.property(
      fc.dictionary(name, fc.maxSafeNat(), { minKeys: 1, maxKeys: MAX_STREAMS / 8, noNullPrototype: true }),
      (places) => {
        const header = formatTokens(Object.entries(places));
        expect(header).toMatch(/^[\x21-\x7e]+$/);
        expect(parseTokens(header)).toEqual(new Map(Object.entries(places)));
      },
    ),
  );
});

test('whatever comes as a header, it is read or refused with a reason', () => {
  const scraps = fc.constantFrom(
    '=',
    ',',
    ' ',
    '%',
    '%2',
    '%2C',
    '%ff',
    'events',
    'ALL',
    '1',
    '-1',
    '9007199254740992',
    '\u0000',
    '\t',
    'ü',
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(scraps).map((parts) => parts.join('')),
      ),
      (header) => {
        const parsed = parseTokens(header);
        if ('fault' in parsed) expect(parsed.fault).toContain(`${TOKEN_HEADER} is a list like`);
        else expect(parsed.size).toBeGreaterThan(0);
      },
    ),
  );
});

test('spaces after commas are allowed, and of a stream that is named twice the higher token counts', () => {
  expect(parseTokens('events=3, others=1,\t events=5 , events=4')).toEqual(
    new Map([
      ['events', 5],
      ['others', 1],
    ]),
  );
});

test('what is wrong with a header is said in words', () => {
  const begin = 'Rowcast-Token is a list like caches=123,events=77, its stream names percent-encoded, not';
  expect(faultOf('events')).toBe(`${begin} 'events': 'events' is not a stream name, = and a token`);
  expect(faultOf('events=1=2')).toBe(`${begin} 'events=1=2': 'events=1=2' is not a stream name, = and a token`);
  expect(faultOf('')).toBe(`${begin} '': '' is not a stream name, = and a token`);
  expect(faultOf('=1')).toBe(`${begin} '=1': a stream name is empty`);
  expect(faultOf('a%20b=1')).toBe(`${begin} 'a%20b=1': a stream name has a space or control character`);
  expect(faultOf('%e0=1')).toBe(`${begin} '%e0=1': the percent-encoding of '%e0' is broken`);
  expect(faultOf('events=\u0007')).toBe(
    `${begin} 'events=\\u0007': a token is an integer from 0 to 9007199254740991, not '\\u0007'`,
  );
  expect(faultOf('events=9007199254740992')).toContain("not '9007199254740992'");
});

test('a header may be so long and name so many streams, and no more', () => {
  const header = (count: number): string => formatTokens(Array.from({ length: count }, (_, i) => [`s${i}`, 1]));
  expect(parseTokens(header(MAX_STREAMS))).toHaveProperty('size', MAX_STREAMS);
  expect(faultOf(header(MAX_STREAMS + 1))).toMatch(/: it names more than 64 streams$/);
  const long = 'events=1,'.repeat(MAX_HEADER_LENGTH / 8).slice(0, MAX_HEADER_LENGTH - 8);
  const longest = `${long.slice(0, long.lastIndexOf(','))},events=1`.padEnd(MAX_HEADER_LENGTH);
  expect(parseTokens(longest)).toEqual(new Map([['events', 1]]));
  expect(faultOf(`${longest} `)).toMatch(/: it has 4097 characters, and 4096 are allowed$/);
});

test('streams that would make a header which nobody takes are refused when it is set up', async () => {
  const many = Array.from({ length: MAX_STREAMS + 1 }, (_, i) => defineStream(`s${i}`));
  const long = Array.from({ length: 6 }, (_, i) => defineStream(`${i}${'é'.repeat(120)}`));
  const primary = await deploy().primary({ streams: [...many, ...long] });
  expect(currentTokens(primary, { streams: many.slice(1) })()).toMatch(/^s1=0,.*,s64=0$/);
  expect(() => currentTokens(primary, { streams: many })).toThrow('are at most 64; these are 65 and may need ');
  expect(() => currentTokens(primary, { streams: long })).toThrow(
    'streams of sendTokens fit in a header of 4096 characters',
  );
});

test('a stream that is to be sent twice is sent once', async () => {
  const primary = await deploy().primary({ streams: [events] });
  expect(currentTokens(primary, { streams: [events, 'events'] })()).toBe('events=0');
});

test('options that make no sense are refused when it is set up', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams: [events] });
  const reader = worker();
  const refused = (options: unknown): unknown => {
    try {
      return judgeRequests(reader, options as AwaitTokensOptions);
    } catch (error) {
      return (error as { code: unknown }).code;
    }
  };
  expect(refused({ timeoutMs: NaN })).toBe('INVALID_OPTION');
  expect(refused({ timeoutMs: Infinity })).toBe('INVALID_OPTION');
  expect(refused({ onTimeout: 'wait' })).toBe('INVALID_OPTION');
  expect(refused({ streams: [] })).toBe('INVALID_OPTION');
  expect(refused({ streams: ['a b'] })).toBe('INVALID_STREAM_NAME');
  expect(refused({ timeoutMs: undefined, onTimeout: undefined, streams: undefined })).toBeTypeOf('function');
  expect(() => currentTokens(server, undefined as never)).toThrow('streams of sendTokens names at least one stream');
});

test('a request that need not wait is judged at once, without a promise', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams: [events] });
  const reader = worker();
  reader.subscribe(events, { from: 'start' }, () => {});
  const judge = judgeRequests(reader);
  expect(judge(undefined, noSignal)).toEqual({ kind: 'go-on' });
  // Token 0 is before the first row: it is reached even where nothing is known.
  expect(judge('events=0,nosuch=0', noSignal)).toEqual({ kind: 'go-on' });
  expect(judge('events=x', noSignal)).toMatchObject({ kind: 'refuse', status: 400 });
  await server.append(events, [1]);
  await reader.start();
  expect(judge('events=1', noSignal)).toEqual({ kind: 'go-on' });
});

test('all streams of a request wait at the same time, within one bound', async () => {
  const { worker, clock, judge } = await heldBack({ timeoutMs: 50 });
  const began = clock.now();
  const verdict = judge('events=2, others=3,nosuch=9', staying);
  await settle();
  while (clock.step(began + 50));
  expect(await verdict).toMatchObject({
    kind: 'refuse',
    status: 503,
    headers: { 'retry-after': '1' },
    body: expect.stringContaining(
      'stream events is at 0 here and 2 was asked for, stream others is at 0 here and 3 was asked for; a request waits at most 50 ms',
    ),
  });
  expect(worker.position(events)).toBe(0);
});

test('only the streams that were not reached are called stale', async () => {
  const { clock, gate, judge } = await heldBack({ timeoutMs: 50, onTimeout: 'serve' });
  const verdict = judge('events=1,others=3', staying);
  gate.open();
  await settle();
  while (clock.step(clock.now() + 50));
  expect(await verdict).toEqual({ kind: 'go-on', stale: 'others=0' });
});

test('the answer does not tell the client why the worker is behind', async () => {
  const { worker, gate, judge } = await heldBack({});
  worker.on('error', () => {});
  const verdict = judge('events=1', staying);
  gate.fail(new Error('password=secret'));
  const refused = await verdict;
  expect(refused).toMatchObject({ kind: 'refuse', status: 503, body: expect.stringContaining('WAIT_TIMEOUT') });
  expect(JSON.stringify(refused)).not.toContain('secret');
});

test('a client that has left before the wait begins is let go', async () => {
  const { judge } = await heldBack({});
  expect(await judge('events=1', () => AbortSignal.abort())).toEqual({ kind: 'gone' });
});

test('the guide names the headers, and every limit and default with its value', async () => {
  const guide = await readFile(new URL('../../../docs/guides/read-your-writes.md', import.meta.url), 'utf8');
  for (const header of [TOKEN_HEADER, STALE_HEADER]) expect(guide).toContain(header);
  const { timeoutMs, onTimeout } = defaultAwaitTokensOptions;
  expect(guide).toContain(`\`timeoutMs\` (${timeoutMs.toLocaleString('en')} by default)`);
  expect(guide).toContain(`\`onTimeout: '${onTimeout}'\` (the default)`);
  expect(guide).toContain(`${MAX_HEADER_LENGTH.toLocaleString('en')} characters or ${MAX_STREAMS} streams`);
});

interface HeldBack {
  readonly worker: Worker;
  readonly clock: VirtualClock;
  readonly gate: { readonly open: () => void; readonly fail: (error: Error) => void };
  readonly judge: ReturnType<typeof judgeRequests>;
}

/** A worker that is live at token 0, whose handler of `events` has token 1 and does not finish until the gate opens. */
async function heldBack(options: AwaitTokensOptions): Promise<HeldBack> {
  const { primary, worker } = deploy();
  const server = await primary({ streams: [events, others] });
  const clock = new VirtualClock();
  const reader = worker({ clock });
  const gate = new Gate();
  let failure: Error | undefined;
  // A worker stops when its handlers are through.
  onTestFinished(() => gate.open());
  reader.subscribe(events, { from: 'now' }, async () => {
    await gate.opened;
    if (failure !== undefined) throw failure;
  });
  reader.subscribe(others, { from: 'now' }, () => {});
  await reader.start();
  await server.append(events, [1]);
  const fail = (error: Error): void => {
    failure = error;
    gate.open();
  };
  return { worker: reader, clock, gate: { open: gate.open, fail }, judge: judgeRequests(reader, options) };
}
