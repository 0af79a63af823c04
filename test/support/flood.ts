/** A megabyte of every command, in its worst forms, and a meter of what one turn makes of it. */

import type { Millis } from '../../src/base/clock.ts';
import { type CommandName, type Side, senders } from '../../src/core/wire/command.ts';

const MEGABYTE: number = 1024 * 1024;
/** What one read of a socket gives at most. */
const READ_BYTES = 64 * 1024;

/** The later turns are as the first ones are, and REPLICATE ALL over and over has very many. */
const TURNS = 10;

export interface Form {
  readonly what: string;
  /** Said before the flood. */
  readonly before?: readonly string[];
  readonly text: string;
  /** Left out: UTF-8. */
  readonly encoding?: 'latin1';
  /** One row, which is read in one piece: it may take as long as JSON.parse does, too. */
  readonly row?: string;
}

const wide = '[],';
const HISTORY = '8f3c1d2e4b5a6978.7.a1b2c3d4';

/** The line again and again. */
function over(...lines: readonly string[]): string {
  const text = lines.map((line) => `${line}\n`).join('');
  return text.repeat(Math.ceil(MEGABYTE / text.length));
}

/** A line for each number. */
function each(line: (i: number) => string): string {
  const lines: string[] = [];
  for (let bytes = 0, i = 0; bytes < MEGABYTE; i++) bytes += lines.push(`${line(i)}\n`) && lines[i]!.length;
  return lines.join('');
}

/** One line of a megabyte: `head`, `filling` over and over, `end`. */
function giant(head: string, filling: string, end = ''): string {
  return `${head}${filling.repeat(Math.floor((MEGABYTE - head.length - end.length) / filling.length))}${end}\n`;
}

/** Every JSON form of a command that ends with JSON. */
function jsons(what: string, head: string, smallest: string): Form[] {
  const room = MEGABYTE - head.length - 1;
  const whole = (form: string, row: string): Form => ({ what: `${what}, ${form}`, text: `${head}${row}\n`, row });
  return [
    { what: `${what}, the smallest`, text: over(`${head}${smallest}`) },
    whole('wide', `[${wide.repeat(Math.floor(room / wide.length) - 2)}[]]`),
    whole(
      'of distinct keys',
      `{${each((i) => `"${i}":1,`)
        .replaceAll('\n', '')
        .slice(0, room - 20)}`,
    ),
    { what: `${what}, deep`, text: `${head}${'['.repeat(room / 2)}${']'.repeat(room / 2)}\n` },
    { what: `${what}, no JSON`, text: giant(head, '[') },
    { what: `${what}, 64 KB each`, text: over(`${head}[${wide.repeat(20_000)}[]]`) },
    { what: `${what}, 64 KB each and deep`, text: over(`${head}${'['.repeat(32_000)}${']'.repeat(32_000)}`) },
  ];
}

function free(name: CommandName): Form[] {
  return [
    { what: `${name}, bare`, text: over(name) },
    { what: `${name}, one giant`, text: giant(`${name} `, 'x') },
    { what: `${name}, each another`, text: each((i) => `${name} ${i}`) },
  ];
}

/** For each command: what a megabyte of it may look like. A new command does not compile without. */
const forms: { readonly [Name in CommandName]: (streams: number) => readonly Form[] } = {
  SERVER: () => free('SERVER'),
  ERROR: () => free('ERROR'),
  PING: () => free('PING'),
  NAME: () => free('NAME'),
  SYNC: () => free('SYNC'),
  RDATA: (streams) => [
    ...jsons('RDATA', 'RDATA s0 batch ', '1'),
    { what: 'RDATA, a batch each', text: each((i) => `RDATA s0 ${i + 2} 1`) },
    { what: 'RDATA, streams in turn', text: each((i) => `RDATA s${i % streams} ${i + 2} 1`) },
    { what: 'RDATA, no UTF-8', text: over('RDATA s0 batch \xff'), encoding: 'latin1' },
    { what: 'RDATA, UTF-8 or not', text: over('RDATA s0 batch 1', 'RDATA s0 3 \xff'), encoding: 'latin1' },
    { what: 'RDATA of no such stream', text: over('RDATA x batch 1') },
  ],
  POSITION: (streams) => [
    { what: 'POSITION', text: over(`POSITION s0 1 ${HISTORY}`) },
    { what: 'POSITION, streams in turn', text: each((i) => `POSITION s${i % streams} ${i + 2} ${HISTORY}`) },
  ],
  HISTORY: () => [{ what: 'HISTORY', text: over(`HISTORY s0 1 ${HISTORY}`) }],
  ERA: () => [{ what: 'ERA', text: each((i) => `ERA 8f3c1d2e4b5a6978 ${i + 8}.a1b2c3d4`) }],
  REFUSED: (streams) => [
    ...jsons('REFUSED', 'REFUSED s0 UNAVAILABLE ', '{}'),
    { what: 'REFUSED, RESET on and on', text: over('REFUSED s0 RESET {}') },
    { what: 'REFUSED, streams in turn', text: each((i) => `REFUSED s${i % streams} GAP {}`) },
  ],
  RELEASED: () => [{ what: 'RELEASED', text: over('RELEASED s0') }],
  ATTR: () => jsons('ATTR', 'ATTR s0 2 ', '{}'),
  REPLICATE: (streams) => [
    ...['ALL NOW', 'ALL 0', 's0 NOW', 's0 0', 's0 9'].map((of) => {
      return { what: `REPLICATE ${of}`, text: over(`REPLICATE ${of}`) };
    }),
    ...['NOW', 'START', '0', `0 ${HISTORY}`].map((from) => ({
      what: `REPLICATE ${from} and RELEASE, streams in turn`,
      before: ['PING 1 rowcast/2'],
      text: each((i) => `REPLICATE s${i % streams} ${from}\nRELEASE s${i % streams}`),
    })),
    { what: 'REPLICATE of unknown', before: ['PING 1 rowcast/2'], text: each((i) => `REPLICATE u${i} 0`) },
    { what: 'REPLICATE, a giant name', text: giant('REPLICATE ', 'x', ' NOW') },
  ],
  RELEASE: () => [{ what: 'RELEASE', before: ['PING 1 rowcast/2'], text: over('RELEASE x') }],
  APPLIED: () => [
    { what: 'APPLIED', before: ['PING 1 rowcast/2', 'REPLICATE s0 NOW'], text: over('APPLIED s0 1 NONE') },
    { what: 'APPLIED of no stream', before: ['PING 1 rowcast/2'], text: over('APPLIED x 0 NONE') },
  ],
  USER_SYNC: () => [{ what: 'USER_SYNC', text: over('USER_SYNC a start 1') }],
  FEDERATION_ACK: () => [{ what: 'FEDERATION_ACK', text: over('FEDERATION_ACK 1') }],
  REMOVE_PUSHER: () => [{ what: 'REMOVE_PUSHER', text: over('REMOVE_PUSHER a b c') }],
  INVALIDATE_CACHE: () => jsons('INVALIDATE_CACHE', 'INVALIDATE_CACHE a ', '[]'),
  USER_IP: () => jsons('USER_IP', 'USER_IP a ', '["","","",null,1]'),
};

/** What is no command. */
const others: readonly Form[] = [
  { what: 'blank lines', text: over('') },
  { what: 'a giant blank line', text: giant('', ' ') },
  { what: 'lines of CR', text: over('\r') },
  { what: 'a giant word', text: giant('', 'X') },
  { what: 'no UTF-8', text: over('X\xff'), encoding: 'latin1' },
  { what: 'no line end', text: 'X'.repeat(MEGABYTE) },
];

/** The forms that a side may send, and what is no command. */
export function formsOf(side: Side, streams: number): Form[] {
  const names = (Object.keys(forms) as CommandName[]).filter((name) => senders[name].includes(side));
  return [...names.flatMap((name) => forms[name](streams)), ...others];
}

/** A machine at one end of a connection, and what it asks of its event loop. */
export interface Flooded {
  readonly isPaused: boolean;
  handleBytes(chunk: Uint8Array): void;
  nextTimeout(): Millis | undefined;
  handleTimeout(): void;
  /** Performs the outputs. Returns how many there were. */
  poll(): number;
}

export interface Longest {
  readonly ms: number;
  readonly outputs: number;
}

/**
 * Gives a machine the input as a socket does, which reads on and on until it is paused, and measures
 * the longest stretch in which nothing else could run.
 */
export function flood(machine: Flooded, now: Millis, { text, encoding }: Form): Longest {
  const bytes = Buffer.from(text, encoding);
  let longest: Longest = { ms: 0, outputs: 0 };
  for (let at = 0, turns = 0; turns < TURNS; turns++) {
    const isDue = (machine.nextTimeout() ?? Infinity) <= now;
    if (at >= bytes.length && !isDue) return longest;
    if (machine.isPaused && !isDue) throw new Error('the machine is paused, and nothing wakes it');
    const began = performance.now();
    const before = process.cpuUsage();
    let outputs = 0;
    if (isDue) {
      machine.handleTimeout();
      outputs += machine.poll();
    }
    for (; at < bytes.length && !machine.isPaused; at += READ_BYTES) {
      machine.handleBytes(bytes.subarray(at, at + READ_BYTES));
      outputs += machine.poll();
    }
    const { user, system } = process.cpuUsage(before);
    // Whichever is less: other processes take time, and other threads of this one work.
    const ms = Math.min(performance.now() - began, (user + system) / 1_000);
    longest = { ms: Math.max(ms, longest.ms), outputs: Math.max(outputs, longest.outputs) };
  }
  return longest;
}
