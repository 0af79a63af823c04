/** What a peer says goes into logs, events and status in bounded pieces. */

import { expect, onTestFinished, test } from 'vitest';
import { deploy, settle } from '../../test/support/deployment.ts';
import { Netcat } from '../../test/support/netcat.ts';
import { ADDRESS } from '../../test/support/deployment.ts';
import { ScriptedPrimary } from '../../test/support/scripted-primary.ts';
import type { LogFields, Logger } from '../core/model/logger.ts';
import { defineStream } from '../core/model/stream.ts';
import { createWorker } from '../worker/worker.ts';

interface Line {
  readonly fields: LogFields;
  readonly text: string;
}

function collect(): { readonly lines: Line[]; readonly logger: Logger } {
  const lines: Line[] = [];
  const log = (fields: LogFields, text: string): void => void lines.push({ fields, text });
  return { lines, logger: { debug: () => {}, info: log, warn: log, error: log } };
}

const EVIL = '\u202e\u009b2J\u2066\u061c\u0085';
const large = `${EVIL}${'x'.repeat(1_000_000)}`;

// SPEC B22
test('a worker that sends one ERROR of 1 MB after another writes few short log lines, and holds up no append', async () => {
  const { lines, logger } = collect();
  const { primary, transport } = deploy();
  const server = await primary({ streams: [defineStream('events')], logger });
  const told: number[] = [];
  server.on('peer-error', ({ text }) => told.push(text.length));
  const hand = new Netcat(transport, ADDRESS);
  for (let i = 0; i < 60; i++) hand.send(`ERROR ${large}`);
  hand.send('REPLICATE events 0');
  await server.append('events', [1]);
  await hand.line('POSITION');
  expect(told).toEqual(Array.from({ length: 60 }, () => large.length));
  const warned = lines.filter(({ text }) => text.startsWith('the worker sent ERROR'));
  expect(warned).toHaveLength(19);
  expect(warned[0]!.text).toBe(`the worker sent ERROR \\u202e\\u009b2J\\u2066\\u061c\\u0085${'x'.repeat(93)}…`);
  await server.close();
  expect(lines.map(({ text }) => text).slice(-2)).toEqual(['log lines left out: 41', 'worker disconnected']);
  expect(JSON.stringify(lines).length).toBeLessThan(10_000);
});

test('a worker has the first 255 characters of its name, in status, events and log lines', async () => {
  const { lines, logger } = collect();
  const { primary, transport } = deploy();
  const server = await primary({ streams: [defineStream('events')], logger });
  const names: string[] = [];
  server.on('named', ({ name }) => names.push(name));
  const hand = new Netcat(transport, ADDRESS);
  hand.send(`NAME ${large}`, `NAME ${'x'.repeat(254)}🚀`, 'HELLO');
  await hand.closed;
  expect(names).toEqual([large.slice(0, 255), 'x'.repeat(254)]);
  await settle();
  const { workerName } = lines.at(-1)!.fields;
  expect(workerName).toBe('x'.repeat(254));
  expect(JSON.stringify(lines).length).toBeLessThan(3_000);
});

test('a worker writes few short log lines of a primary that sends one ERROR of 1 MB after another', async () => {
  const { lines, logger } = collect();
  const primary = new ScriptedPrimary();
  const worker = createWorker({ name: 'w', connect: { path: '/p' }, transport: primary.transport, logger });
  onTestFinished(() => worker.stop());
  const told: number[] = [];
  worker.on('peer-error', ({ text }) => told.push(text.length));
  worker.start().catch(() => {});
  await settle();
  primary.open();
  primary.send(['SERVER x', 'PING 1']);
  for (let i = 0; i < 60; i++) primary.send([`ERROR ${large}`]);
  // A turn of the event loop takes about a line of this size.
  await settle(250);
  expect(told).toHaveLength(60);
  const warned = lines.filter(({ text }) => text.startsWith('the primary sent ERROR'));
  expect(warned.length).toBeGreaterThan(15);
  expect(warned.length).toBeLessThanOrEqual(20);
  expect(JSON.stringify(lines).length).toBeLessThan(10_000);
  primary.cut();
});
