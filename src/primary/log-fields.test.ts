/** Log lines as pino writes them, on both sides. */

import { Writable } from 'node:stream';
import { fastify } from 'fastify';
import { expect, test, vi } from 'vitest';
import { ADDRESS, deploy } from '../../test/support/deployment.ts';
import { Netcat } from '../../test/support/netcat.ts';
import { type Logger, logFields } from '../core/model/logger.ts';
import { defineStream } from '../core/model/stream.ts';

/** The logger of fastify, which is pino, with a name of the application's own. */
function pino(): { readonly logger: Logger; readonly lines: string[] } {
  const lines: string[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(chunk.toString());
      done();
    },
  });
  return { logger: fastify({ logger: { name: 'the-shop', level: 'debug', stream } }).log, lines };
}

const PINO_OWN = ['level', 'time', 'pid', 'hostname', 'name', 'msg'];

/** The names of a line's fields, also of those within others. */
function namesIn(line: string): string[] {
  const names: string[] = [];
  JSON.parse(line, (name: string, value: unknown) => {
    if (name !== '') names.push(name);
    return value;
  });
  return names;
}

test('every log line of both sides has fields of the table only, and leaves those of the logger alone', async () => {
  const events = defineStream('events', { retain: { rows: 1, untilSavedBy: ['reader-1'] } });
  const { primary, worker, transport } = deploy();
  const [here, there] = [pino(), pino()];
  const server = await primary({ streams: [events], logger: here.logger });
  const reader = worker({ logger: there.logger });
  reader.subscribe(events, { from: 'start' }, () => {});
  await reader.start();
  await server.append(events, [1]);
  const hand = new Netcat(transport, ADDRESS);
  hand.send('NAME by hand');
  hand.send('ERROR it hurts');
  hand.send('NONSENSE');
  await vi.waitFor(() => expect(here.lines.join('')).toContain('NONSENSE'));
  await server.forgetWorker('reader-1');
  await server.close();
  await vi.waitFor(() => expect(there.lines.join('')).toContain('retryInMs'));
  const lines = [...here.lines, ...there.lines];
  expect(lines.length).toBeGreaterThan(8);
  for (const line of lines) {
    expect(JSON.parse(line)).toMatchObject({ name: 'the-shop' });
    for (const name of namesIn(line)) expect([...PINO_OWN, ...Object.keys(logFields)]).toContain(name);
    expect(line.match(/"name":/g), line).toHaveLength(1);
  }
  const retry = there.lines.map((line) => (JSON.parse(line) as { retryInMs?: number }).retryInMs).find(Boolean);
  expect(retry).toSatisfy(Number.isInteger);
  expect(here.lines.join('')).toContain('"workerName":"by hand"');
});

test('no field of the table has the name of one that a logger sets itself', () => {
  expect(Object.keys(logFields).filter((name) => PINO_OWN.includes(name))).toEqual([]);
});
