/** Texts of people, files and peers, changed anyhow: each is read, or refused with an error that has a code. */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { type Random, randomInteger } from '../../src/base/random.ts';
import { RowcastError } from '../../src/core/model/errors.ts';
import { formatHistory, parseHistory } from '../../src/core/model/history.ts';
import { checkPattern, matchesPattern, patternsOverlap } from '../../src/core/model/pattern.ts';
import {
  formatPosition,
  formatPositions,
  parsePosition,
  parsePositions,
  type Position,
} from '../../src/core/model/position.ts';
import { keepText, rowTextFault } from '../../src/core/model/row.ts';
import { decodeCommand, encodeCommand } from '../../src/core/wire/codec.ts';
import { LineCutter } from '../../src/core/wire/lines.ts';
import { fileCheckpoint } from '../../src/worker/file-checkpoint.ts';
import { captureNames, readCapture } from '../support/captures.ts';
import { happens, maybeMutated, pick, pieces } from './mutations.ts';
import { ROUNDS_TIMEOUT_MS, runRounds } from './rounds.ts';

const HISTORY = '8f3c1d2e4b5a6978.1764281400.a1b2c3d4';
const recorded = captureNames.flatMap((name) => {
  const { lines } = readCapture(name);
  return [...lines.primary.slice(0, 300), ...lines.worker.slice(0, 100)];
});

function changed(random: Random, text: string): string {
  const probability = pick(random, [0.3, 1]);
  return Buffer.from(maybeMutated(random, text, probability))
    .toString('utf8')
    .replace(/\n$/, '');
}

/** What the reading gives; undefined when it was refused in the proper way. */
function read<T>(reading: () => T): T | undefined {
  try {
    return reading();
  } catch (thrown) {
    if (thrown instanceof RowcastError && thrown.code !== undefined) return undefined;
    throw thrown;
  }
}

test('positions, histories and patterns', { timeout: ROUNDS_TIMEOUT_MS }, async () => {
  await runRounds((random) => {
    const text = changed(
      random,
      pick(random, [`events=123@${HISTORY}`, `a%2Cb=7@${HISTORY},users=0@,x=5`, 'room%3A1=9']),
    );
    const one = read(() => parsePosition(text));
    if (one !== undefined) expect(parsePosition(formatPosition(one))).toEqual(one);
    const all = read(() => parsePositions(text));
    if (all !== undefined) expect(parsePositions(formatPositions(all))).toEqual(all);
    const history = changed(random, HISTORY);
    const parts = parseHistory(history);
    if (parts !== undefined) expect(formatHistory(parts)).toBe(history);
    const [a, b] = [1, 2].map(() =>
      read(() => checkPattern(changed(random, pick(random, ['room:*', 'a*b*c', '**', '*:*'])))),
    );
    const name = changed(random, pick(random, ['room:1', 'aXbYc']));
    if (a !== undefined && b !== undefined && matchesPattern(a, name) && matchesPattern(b, name)) {
      expect(patternsOverlap(a, b), `${a} and ${b} share ${name}`).toBe(true);
    }
  }, 0.1);
});

test('lines of either side, in both dialects: what is read is written as something that is read the same', {
  timeout: ROUNDS_TIMEOUT_MS,
}, async () => {
  await runRounds((random) => {
    const line = changed(random, pick(random, recorded));
    const side = pick(random, ['primary', 'worker'] as const);
    const dialect = pick(random, ['seed', 'rowcast/2'] as const);
    const command = read(() => decodeCommand(line, side, dialect));
    if (command === undefined) return;
    const written = read(() => encodeCommand(command));
    if (written !== undefined) expect(decodeCommand(written, side, dialect)).toEqual(command);
  }, 0.1);
});

test('lines are cut the same, however their bytes arrive', { timeout: ROUNDS_TIMEOUT_MS }, async () => {
  await runRounds((random) => {
    const bytes = Buffer.concat(Array.from({ length: 10 }, () => maybeMutated(random, pick(random, recorded), 0.2)));
    const cut = (parts: Iterable<Uint8Array>): unknown[] => {
      const lines = new LineCutter(3_000);
      const found: unknown[] = [];
      try {
        for (const part of parts) {
          lines.push(part);
          for (let line = lines.next(); line !== undefined; line = lines.next()) found.push(line);
        }
      } catch (thrown) {
        if (!(thrown instanceof RowcastError)) throw thrown;
        // A bad line may be both too long and no UTF-8.
        found.push('a bad line');
      }
      return found;
    };
    expect(cut(pieces(random, bytes))).toEqual(cut([bytes]));
  }, 0.1);
});

test('row texts: what is kept is JSON of the same value, on one line', { timeout: ROUNDS_TIMEOUT_MS }, async () => {
  await runRounds((random) => {
    const text = changed(
      random,
      pick(random, ['{"a":[1,{"b":null}],"c":"\\u00e9 x"}', '[1.10, true,\t"x"]', '"\u2028"']),
    );
    if (rowTextFault(text) !== undefined) return;
    const kept = keepText(text);
    expect(JSON.parse(kept)).toEqual(JSON.parse(text));
    expect(kept).not.toMatch(/[\n\r\t]/);
  }, 0.1);
});

test('checkpoint files: read, or refused as damaged; a save over anything that was read is whole', {
  timeout: ROUNDS_TIMEOUT_MS,
}, async () => {
  const directory = await mkdtemp(join(tmpdir(), 'rowcast-fuzz-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  let files = 0;
  await runRounds(async (random) => {
    const path = join(directory, `${files++}.checkpoint`);
    const all = new Map<string, Position>();
    const written = fileCheckpoint(path);
    for (let i = randomInteger(random, 1, 5); i > 0; i--) {
      const stream = pick(random, ['events', 'a=b,é', '$streams/room:*', 'room:1']);
      const position = {
        stream,
        token: randomInteger(random, 0, 99),
        history: happens(random, 0.8) ? HISTORY : undefined,
      };
      all.set(stream, position);
      await written.save(new Map([[stream, position]]), all);
    }
    const lines = (await readFile(path, 'latin1')).split('\n').slice(0, -1);
    await writeFile(path, Buffer.concat(lines.map((line) => maybeMutated(random, line, 0.3))));
    const checkpoint = fileCheckpoint(path);
    let found: ReadonlyMap<string, Position>;
    try {
      found = await checkpoint.load();
    } catch (thrown) {
      expect(thrown).toMatchObject({ name: 'HandlerError', code: 'CHECKPOINT_FAILED' });
      return;
    }
    const next: Position = { stream: 'next', token: 7, history: HISTORY };
    const expected = new Map([...found, ['next', next] as const]);
    await checkpoint.save(new Map([['next', next]]), expected);
    expect(await fileCheckpoint(path).load()).toEqual(expected);
  }, 0.1);
});
