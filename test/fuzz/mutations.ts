/** Lines as a broken or hostile peer may send them. Chance comes from the seed of the round. */

import * as fc from 'fast-check';
import { type Random, randomInteger } from '../../src/base/random.ts';
import { anyBytes } from '../support/any-bytes.ts';

export function pick<T>(random: Random, all: readonly T[]): T {
  return all[randomInteger(random, 0, all.length - 1)]!;
}

export function happens(random: Random, probability: number): boolean {
  return random.next() < probability;
}

/** Rubbish that has the words of the protocol. */
export function garbage(random: Random): Uint8Array {
  return fc.sample(anyBytes, { seed: randomInteger(random, 1, 1e9), numRuns: 1 })[0]!;
}

const numbers = ['0', '1', '-1', '7', '53', '9007199254740991', '9007199254740992', '1e3', 'NaN', '', '00', ' 5'];
const words = [
  'ALL',
  'NOW',
  'START',
  'batch',
  'events',
  'typing',
  'room:1',
  'room:*',
  '**',
  '$streams',
  'nosuch',
  'x'.repeat(256),
  '__proto__',
  '{}',
  '[]',
  '[[],[[]],{"a":[]}]',
  '"\\ud800"',
  'null',
  '\u202e',
  '8f3c1d2e4b5a6978.1.a1b2c3d4',
];

/** One line, changed. May be several lines, or none. */
const mutations: readonly ((random: Random, line: string) => string | Uint8Array)[] = [
  () => '',
  (_random, line) => `${line}\n${line}\n`,
  (random, line) => line.slice(0, randomInteger(random, 0, line.length)),
  (random, line) => `${line.slice(0, randomInteger(random, 0, line.length))}\n`,
  (random, line) => changeWord(random, line, () => pick(random, words)),
  (random, line) => changeWord(random, line, () => pick(random, numbers)),
  (random, line) => changeWord(random, line, (word) => `${word} ${word}`),
  (random, line) => changeWord(random, line, () => ''),
  (random, line) => line.replace(/\d+/, (digits) => String(Number(digits) + randomInteger(random, -3, 3))) + '\n',
  (random, line) =>
    `${line
      .split(' ')
      .toSorted(() => random.next() - 0.5)
      .join(' ')}\n`,
  (random, line) => flipByte(random, Buffer.from(`${line}\n`)),
  (random) => garbage(random),
  (random, line) => `${line}${'x'.repeat(randomInteger(random, 1, 5_000))}\n`,
  (random) => 'y'.repeat(randomInteger(random, 1, 100_000)),
  (_random, line) => `${line}\r\n`,
  (_random, line) => `\n \n${line}\n`,
];

function changeWord(random: Random, line: string, change: (word: string) => string): string {
  const all = line.split(' ');
  const at = randomInteger(random, 0, all.length - 1);
  return `${all.with(at, change(all[at]!)).join(' ')}\n`;
}

function flipByte(random: Random, bytes: Buffer): Buffer {
  const at = randomInteger(random, 0, bytes.length - 1);
  bytes[at] = bytes[at]! ^ (1 << randomInteger(random, 0, 7));
  return bytes;
}

/** The line as it is, or changed with this probability. */
export function maybeMutated(random: Random, line: string, probability: number): Uint8Array {
  if (!happens(random, probability)) return Buffer.from(`${line}\n`);
  const changed = pick(random, mutations)(random, line);
  return typeof changed === 'string' ? Buffer.from(changed) : changed;
}

/** Lines of a recording, some changed, dropped, repeated or moved. */
export function mutated(random: Random, lines: readonly string[], probability: number): Uint8Array {
  const all = [...lines];
  if (happens(random, probability)) all.splice(0, randomInteger(random, 0, all.length));
  for (let i = 1; i < all.length; i++) {
    if (happens(random, probability / 4)) [all[i - 1], all[i]] = [all[i]!, all[i - 1]!];
  }
  return Buffer.concat(all.map((line) => maybeMutated(random, line, probability)));
}

/** Bytes as they may arrive: whole, byte by byte, or in pieces of any size. */
export function* pieces(random: Random, bytes: Uint8Array): Generator<Uint8Array> {
  const most = pick(random, [1, 7, 100, 5_000, bytes.length]);
  // Byte by byte only where that is soon over.
  const least = bytes.length > 2_000 ? 200 : 1;
  for (let at = 0; at < bytes.length; ) {
    const length = randomInteger(random, Math.min(least, Math.max(most, 1)), Math.max(most, least));
    yield bytes.subarray(at, at + length);
    at += length;
  }
}
