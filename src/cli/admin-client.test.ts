/** What the command line does with a server that is no admin port, and does not end. */

import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { expect, onTestFinished, test } from 'vitest';
import { RunningCommand } from '../../test/support/fake-terminal.ts';
import type { HostAndPort } from './addresses.ts';
import { askAdmin } from './admin-client.ts';

async function serving(handle: RequestListener): Promise<HostAndPort> {
  const server = createServer(handle).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
}

const NDJSON = { 'content-type': 'application/x-ndjson' };

/** Answers with the same text again and again, as fast as it is taken. */
function endless(text: string, headers: Record<string, string> = {}): RequestListener {
  return (_request, response) => {
    const chunk = text.repeat(Math.ceil(65_536 / text.length));
    const more = (): void => {
      while (!response.destroyed && response.write(chunk));
    };
    response.writeHead(200, headers).on('drain', more);
    more();
  };
}

const ask = (admin: HostAndPort, timeoutMs: number, rows?: PassThrough): Promise<unknown> =>
  askAdmin({
    admin,
    path: '/status',
    signal: new AbortController().signal,
    timeoutMs,
    ...(rows !== undefined && { rows, onProgress: () => {} }),
  });

test.each<[what: string, handle: RequestListener, text: string]>([
  ['never answers', () => {}, 'no whole answer within 0.05 s'],
  ['never ends its answer', (_, response) => void response.write('{'), 'no whole answer within 0.05 s'],
])('a server that %s is left after a time', async (_what, handle, text) => {
  const admin = await serving(handle);
  await expect(ask(admin, 50)).rejects.toMatchObject({
    code: 'CONNECTION_LOST',
    message: expect.stringContaining(text),
  });
  const rows = new PassThrough();
  rows.end('1\n');
  await expect(ask(admin, 50, rows)).rejects.toMatchObject({ code: 'CONNECTION_LOST' });
});

test.each<[what: string, handle: RequestListener]>([
  ['answers for ever', endless('x')],
  ['tells its progress in a line without an end', endless('x', NDJSON)],
  ['tells something else than progress', endless('{"a":1}\n', NDJSON)],
])('a server that %s is no admin port, and little of it is kept', async (_what, handle) => {
  const admin = await serving(handle);
  const rows = new PassThrough();
  await expect(ask(admin, 5_000, rows)).rejects.toMatchObject({
    code: 'CONNECTION_LOST',
    message: expect.stringContaining('is not the admin port of a Rowcast primary'),
  });
});

test.each([['append', 'events'], ['backup', 'copy.db'], ['forget', 'reader-7'], ['status']])(
  'rowcast %s does not take 200 of another server for success',
  async (...command) => {
    const directory = mkdtempSync(join(tmpdir(), 'rowcast-cli-'));
    onTestFinished(() => rmSync(directory, { recursive: true }));
    const argv = command.map((word) => (word === 'copy.db' ? join(directory, word) : word));
    for (const body of ['{}', '{"streams":[],"connections":[]}', 'null', '"<html>"']) {
      const answer: RequestListener = (_, response) =>
        void response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length }).end(body);
      const { host, port } = await serving(answer);
      const running = new RunningCommand([...argv, '--admin', `${host}:${port}`]);
      running.stdin.end('1\n');
      expect(await running.ended).toBe(1);
      expect(running.err).toMatch(/^rowcast: CONNECTION_LOST: what answers at .* is not the admin port/);
      expect(running.out).toBe('');
    }
    expect(readdirSync(directory)).toEqual([]);
  },
);

test('pages of a status that never end are no admin port, and so are answers without one', async () => {
  for (const body of [
    '{"name":"a","streams":[],"connections":[],"logTrouble":null,"counts":{},"next":"a"}',
    '{}',
    'null',
    '[]',
  ]) {
    const { host, port } = await serving((_, response) => void response.end(body));
    const command = new RunningCommand(['status', '--all', '--admin', `${host}:${port}`]);
    expect(await command.ended).toBe(1);
    expect(command.err).toMatch(/^rowcast: CONNECTION_LOST: what answers at .* is not the admin port/);
  }
});

test('codes and texts of an answer are those of Rowcast, and bounded', async () => {
  const answers: [string, RegExp][] = [
    ['{"error":{"code":"NO_SUCH_PAGE","message":"gone"}}', /^rowcast: NO_SUCH_PAGE: gone\n$/],
    ['{"error":{"code":"MADE_UP","message":"gone"}}', /^rowcast: CONNECTION_LOST: what answers at .* is not the admin/],
    [`{"error":{"code":"CLOSED","message":"${'x'.repeat(1_000_000)}"}}`, /^rowcast: CLOSED: x{3000,4096}…\n$/],
  ];
  for (const [body, said] of answers) {
    const { host, port } = await serving((_, response) => void response.writeHead(503).end(body));
    for (const argv of [['status'], ['status', '--watch'], ['forget', 'reader']]) {
      const command = new RunningCommand([...argv, '--admin', `${host}:${port}`]);
      if (argv.includes('--watch') && body.includes('MADE_UP')) continue;
      expect(await command.ended).toBe(1);
      expect(command.err).toMatch(said);
    }
  }
});
