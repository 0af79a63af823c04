import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { memoryLog } from '../log/memory.ts';
import { formatPosition } from '../core/model/position.ts';
import { defineStream } from '../core/model/stream.ts';
import { createPrimary, type Primary } from '../primary/primary.ts';
import { createMemoryTransport } from '../transport/memory.ts';
import { type AdminServer, listenAdmin } from './server.ts';

async function setUp(): Promise<{
  primary: Primary;
  server: AdminServer;
  url: string;
  appended: (token: number) => Promise<void>;
}> {
  const log = memoryLog();
  const primary = await createPrimary({
    name: 'example.com',
    log,
    streams: [defineStream('events')],
    transport: createMemoryTransport(),
  });
  onTestFinished(() => primary.close());
  const server = await listenAdmin({ primary, host: '127.0.0.1', port: 0 });
  onTestFinished(() => server.close());
  let handleHint = (): void => {};
  log.watch(() => handleHint());
  const appended = async (token: number): Promise<void> =>
    new Promise((resolve) => {
      handleHint = () => {
        if (log.bounds('events').latest >= token) resolve();
      };
      handleHint();
    });
  return { primary, server, url: `http://127.0.0.1:${server.address.port}`, appended };
}

function latest(primary: Primary): number {
  return primary.status().streams[0]!.latest;
}

/** The head of an upload whose length is not known, and one chunk of it. */
function beginUpload(
  server: AdminServer,
  { text, query = '', headers = '' }: { text: string; query?: string; headers?: string },
): Socket {
  const socket = connect(server.address.port, '127.0.0.1');
  onTestFinished(() => void socket.destroy());
  socket.write(
    `POST /streams/events/rows${query} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n${headers}\r\n`,
  );
  socket.write(chunk(text));
  return socket;
}

function chunk(text: string): string {
  return `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
}

async function readAll(socket: Socket): Promise<string> {
  let text = '';
  socket.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  await once(socket, 'close');
  return text;
}

test('rows become durable while the upload goes on', async () => {
  const { primary, server, appended } = await setUp();
  const socket = beginUpload(server, { text: '1\n2\n3' });
  await appended(2);
  expect(latest(primary)).toBe(2);
  socket.write(`${chunk('3\n')}0\r\n\r\n`);
  const [answer] = (await once(socket.setEncoding('utf8'), 'data')) as [string];
  expect(answer).toContain(`{"position":"${formatPosition(primary.position('events'))}","rows":3}`);
});

test('a client that goes away in the middle leaves what is durable, no half batch and no open connection', async () => {
  const { primary, server, appended } = await setUp();
  const socket = beginUpload(server, { text: '1\n2\n3\n4\n5', query: '?batch=2' });
  await appended(2);
  socket.destroy();
  await once(socket, 'close');
  // Nothing hangs: it would keep the server from closing.
  await server.close();
  expect(latest(primary)).toBe(2);
});

test('a client that is refused in the middle of a long upload reads why', async () => {
  const { primary, url } = await setUp();
  const upload = request(`${url}/streams/events/rows`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson' },
  });
  // Cut off in the middle of its upload, it may see that as an error too, once it has its answer.
  upload.on('error', () => {});
  upload.write(`1\nnot json\n`);
  const block = '2\n'.repeat(32_768);
  const send = (): void => {
    while (!upload.destroyed && upload.write(block));
  };
  upload.on('drain', send);
  send();
  const [response] = (await once(upload, 'response')) as [IncomingMessage];
  const [body] = (await once(response.setEncoding('utf8'), 'data')) as [string];
  upload.destroy();
  expect(response.statusCode).toBe(400);
  expect(JSON.parse(body)).toMatchObject({
    error: { code: 'INVALID_ROW', line: 2 },
    position: formatPosition(primary.position('events')),
    rows: 1,
  });
});

// SPEC A2
test('an upload with a key that was cut off is completed by the same upload, and each row is appended once', async () => {
  const { primary, server, appended } = await setUp();
  const headers = 'Idempotency-Key: cut-off\r\n';
  const socket = beginUpload(server, { text: '1\n2\n3\n4\n5', query: '?batch=2', headers });
  await appended(2);
  socket.destroy();
  await once(socket, 'close');
  const again = beginUpload(server, { text: '1\n2\n3\n4\n5', query: '?batch=2', headers });
  again.write(`${chunk('\n6\n7')}0\r\n\r\n`);
  const [answer] = (await once(again.setEncoding('utf8'), 'data')) as [string];
  expect(answer).toContain(`{"position":"${formatPosition(primary.position('events'))}","rows":7,"repeatedRows":4}`);
  expect(latest(primary)).toBe(4);
});

test('a key that comes twice is refused', async () => {
  const { server } = await setUp();
  const socket = beginUpload(server, { text: '1\n', headers: 'Idempotency-Key: a\r\nIdempotency-Key: b\r\n' });
  const [answer] = (await once(socket.setEncoding('utf8'), 'data')) as [string];
  expect(answer).toMatch(/^HTTP\/1\.1 400 /);
});

test('when the server closes, an upload in the middle is answered 503 with what is durable', async () => {
  const { primary, server, appended } = await setUp();
  const socket = beginUpload(server, { text: '1\n2\n3' });
  const answered = readAll(socket);
  await appended(2);
  await server.close();
  const answer = await answered;
  expect(answer).toContain(' 503 ');
  expect(JSON.parse(answer.split('\r\n\r\n')[1]!)).toMatchObject({
    error: { code: 'CLOSED' },
    position: formatPosition(primary.position('events')),
    rows: 2,
  });
});

test('off loopback it does not listen', async () => {
  const { primary } = await setUp();
  for (const host of ['0.0.0.0', '::', '10.0.0.1', 'example.com', '']) {
    await expect(listenAdmin({ primary, host, port: 0 })).rejects.toMatchObject({
      name: 'UsageError',
      code: 'INVALID_OPTION',
    });
  }
});

test('a port in use is named, with what to do', async () => {
  const { primary, server } = await setUp();
  await expect(listenAdmin({ primary, host: '127.0.0.1', port: server.address.port })).rejects.toMatchObject({
    code: 'ADDRESS_IN_USE',
    message: `cannot listen for admin at 127.0.0.1:${server.address.port}: something listens there already (EADDRINUSE); stop it or choose another port`,
  });
});

test('a request without a loopback Host is refused on the wire too', async () => {
  const { server } = await setUp();
  for (const host of ['evil.example', '127.0.0.1.evil.example:80']) {
    const socket = connect(server.address.port, '127.0.0.1');
    socket.end(`GET /status HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    expect(await readAll(socket)).toMatch(/^HTTP\/1\.1 403 /);
  }
});

test('close is harmless when it is closed', async () => {
  const { server } = await setUp();
  await server.close();
  await server.close();
});

test('one connection more than maxConnections is closed at once', async () => {
  const { primary } = await setUp();
  const server = await listenAdmin({ primary, host: '127.0.0.1', port: 0, limits: { maxConnections: 1 } });
  onTestFinished(() => server.close());
  const first = beginUpload(server, { text: '1\n' });
  await once(first, 'connect');
  const second = connect(server.address.port, '127.0.0.1');
  await once(second, 'close');
  first.write('0\r\n\r\n');
  const [answer] = (await once(first.setEncoding('utf8'), 'data')) as [string];
  expect(answer).toMatch(/^HTTP\/1\.1 200 /);
});
