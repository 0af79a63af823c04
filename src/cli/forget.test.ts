import { expect, onTestFinished, test } from 'vitest';
import { RunningCommand } from '../../test/support/fake-terminal.ts';
import { listenAdmin } from '../admin/server.ts';
import { defineStream } from '../core/model/stream.ts';
import { memoryLog } from '../log/memory.ts';
import { createPrimary } from '../primary/primary.ts';

/** A primary with streams whose rows `audit` and the worker of an odd name hold, and its admin port. */
async function servePrimary(count: number): Promise<string> {
  const retain = { untilSavedBy: ['audit', 'a/b %2F ü'] };
  const streams = Array.from({ length: count }, (_, i) => defineStream(`s${i}`, { retain }));
  const primary = await createPrimary({ name: 'example.com', log: memoryLog(), streams });
  onTestFinished(() => primary.close());
  for (const { name } of streams) await primary.append(name, [1]);
  const server = await listenAdmin({ primary, host: '127.0.0.1', port: 0 });
  onTestFinished(() => server.close());
  return `127.0.0.1:${server.address.port}`;
}

async function forget(admin: string, ...words: string[]): Promise<RunningCommand> {
  const command = new RunningCommand(['forget', ...words, '--admin', admin]);
  await command.ended;
  return command;
}

test('says what the worker held, and is repeated without harm', async () => {
  const admin = await servePrimary(12);
  expect((await forget(admin, 'audit')).out).toBe(
    'worker audit is forgotten, and holds no rows any more of s0, s1, s2, s3, s4, s5, s6, s7, s8, s9 and 2 more streams\n',
  );
  const again = await forget(admin, 'audit');
  expect([again.out, await again.ended]).toEqual(['worker audit held no rows back\n', 0]);
});

test('takes a name of any text, and tells it as JSON', async () => {
  const admin = await servePrimary(1);
  const command = await forget(admin, 'a/b %2F ü', '--json');
  expect(JSON.parse(command.out)).toEqual({ worker: 'a/b %2F ü', streams: ['s0'] });
});

test.each([[''], ['a\nb']])('%j is the name of no worker', async (name) => {
  const command = await forget('127.0.0.1:1', name);
  expect([await command.ended, command.err]).toEqual([2, expect.stringContaining('one line that is not empty')]);
});

test('without a primary it says so and fails', async () => {
  const command = await forget('127.0.0.1:1', 'audit');
  expect([await command.ended, command.err]).toEqual([1, expect.stringContaining('cannot reach the admin port')]);
});
