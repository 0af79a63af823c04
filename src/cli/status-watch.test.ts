/** `rowcast status --watch`. */

import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { RunningCommand, servePrimary } from '../../test/support/fake-terminal.ts';

const watch = (admin: string, options: string[] = [], stdout?: PassThrough): RunningCommand =>
  new RunningCommand(['status', '--watch', '--interval', '0.1', '--admin', admin, ...options], stdout && { stdout });

test('elsewhere than on a terminal it prints one status after another, until a signal, and exits with 0', async () => {
  const { admin } = await servePrimary('--stream', 'orders');
  const command = watch(admin);
  await command.saw(/^primary [^]*\n\nprimary [^]*\n\nprimary /);
  expect(command.out).not.toContain('\u001b');
  expect(await command.stop()).toBe(0);
  expect(command.err).toBe('');
});

test('on a terminal it redraws', async () => {
  const { admin } = await servePrimary('--stream', 'orders');
  const command = watch(admin, [], Object.assign(new PassThrough(), { isTTY: true }));
  // oxlint-disable-next-line no-control-regex -- it moves the cursor home, and clears the screen
  await command.saw(/^\u001b\[H\u001b\[Jprimary [^]*\n\u001b\[H\u001b\[Jprimary /);
  expect(await command.stop()).toBe(0);
});

test('it outlives a primary that goes away and comes back, and says so meanwhile', async () => {
  const { command: primary, admin } = await servePrimary('--stream', 'orders');
  const command = watch(admin);
  await command.saw(/its log is ok/);
  await primary.stop();
  await command.saw(/\nCONNECTION_LOST: cannot reach the admin port at [^]*asking again every 0\.1 s\n/);
  await servePrimary('--stream', 'orders', '--admin', admin);
  await command.saw(/asking again[^]*its log is ok/);
  expect(await command.stop()).toBe(0);
});

test('as JSON it is a line for each status, also while there is no primary', async () => {
  const { command: primary, admin } = await servePrimary();
  const command = watch(admin, ['--json']);
  await command.saw(/^\{.*\}\n\{/);
  await primary.stop();
  await command.saw(/"code":"CONNECTION_LOST"/);
  expect(await command.stop()).toBe(0);
  for (const line of command.out.trimEnd().split('\n')) expect(() => JSON.parse(line) as unknown).not.toThrow();
});
