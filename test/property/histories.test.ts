/**
 * Which position is on the history of a log on disk, whatever became of its file (docs/protocol.md, "On a history"). The model
 * gives each row a number that no other row has, and keeps the rows that the file holds.
 */

import { copyFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import type { Verdict } from '../../src/core/model/page.ts';
import type { Position } from '../../src/core/model/position.ts';
import { defineStream } from '../../src/core/model/stream.ts';
import type { Log } from '../../src/log/log.ts';
import { sqliteLog } from '../../src/log/sqlite.ts';
import { openOptions } from '../../src/testing/log-suite-place.ts';

async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'rowcast-histories-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  return directory;
}

async function opened(path: string): Promise<Log> {
  const log = sqliteLog({ path });
  await log.open(openOptions([defineStream('events')]));
  return log;
}

/** What a file holds: the row at each token, from token 1 on, and how many of them are gone. */
interface Content {
  readonly rows: readonly number[];
  readonly trimmed: number;
}

function expected({ rows, trimmed }: Content, { token }: Position, row: number): Verdict {
  if (token < trimmed) return 'gap';
  return rows[token - 1] === row ? 'on' : 'reset';
}

type Step = 'append' | 'append together' | 'trim' | 'open again' | 'back up' | 'restore';

// SPEC H1
test('a position is on the history exactly where the row at its token is its own, whatever was restored, trimmed and opened again', async () => {
  const steps = fc.array(
    fc.constantFrom<Step>('append', 'append', 'append together', 'trim', 'open again', 'back up', 'restore'),
    { minLength: 4, maxLength: 12 },
  );
  await fc.assert(
    fc.asyncProperty(steps, async (happenings) => {
      const path = join(await temporaryDirectory(), 'log.db');
      let log = await opened(path);
      let content: Content = { rows: [], trimmed: 0 };
      let backup: Content | undefined;
      const given: { readonly position: Position; readonly row: number }[] = [];
      const append = async (count: number): Promise<void> => {
        const rows = Array.from({ length: count }, (_, i) => given.length + i);
        const positions = await Promise.all(rows.map(async (row) => log.append('events', [`${row}`])));
        given.push(...positions.map((position, i) => ({ position, row: rows[i]! })));
        content = { ...content, rows: [...content.rows, ...rows] };
      };
      try {
        for (const step of happenings) {
          if (step === 'append') await append(1);
          else if (step === 'append together') await append(3);
          else if (step === 'trim') {
            const trimmed = Math.max(content.trimmed, content.rows.length - 2);
            if (trimmed > 0) await log.trim('events', trimmed);
            content = { ...content, trimmed };
          } else {
            await log.close();
            if (step === 'back up') {
              copyFileSync(path, `${path}.backup`);
              backup = content;
            } else if (step === 'restore' && backup !== undefined) {
              copyFileSync(`${path}.backup`, path);
              content = backup;
            }
            log = await opened(path);
          }
          for (const { position, row } of given)
            expect(await log.judge(position), `after ${step}, row ${row} at ${position.token}`).toBe(
              expected(content, position, row),
            );
        }
      } finally {
        await log.close();
      }
    }),
    { numRuns: 20 },
  );
}, 60_000);

// SPEC H2
test('two copies of a log that both go on share the rows of before, and neither takes the other’s for its own', async () => {
  const directory = await temporaryDirectory();
  const paths = ['one.db', 'two.db'].map((name) => join(directory, name));
  const original = await opened(paths[0]!);
  const shared = await original.append('events', ['"shared"']);
  await original.close();
  copyFileSync(paths[0]!, paths[1]!);
  const logs = await Promise.all(paths.map(async (path) => opened(path)));
  try {
    const own = await Promise.all(logs.map(async (log) => log.append('events', ['"own"'])));
    expect(own.map(({ token }) => token)).toEqual([2, 2]);
    for (const [i, log] of logs.entries()) {
      expect(await log.judge(shared)).toBe('on');
      expect(await log.judge(own[i]!)).toBe('on');
      expect(await log.judge(own[1 - i]!)).toBe('reset');
    }
  } finally {
    for (const log of logs) await log.close();
  }
});
