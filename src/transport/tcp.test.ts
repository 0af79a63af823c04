import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, describe, expect, type Mock, onTestFinished, test, vi } from 'vitest';
import { End, Place, turns } from '../testing/transport-ends.ts';
import { transportSuite } from '../testing/transport-suite.ts';
import { tcpTransport } from './tcp.ts';
import type { ListenAddress } from './transport.ts';

const loopback = { host: '127.0.0.1', port: 0 };
const directory = mkdtempSync(join(tmpdir(), 'rowcast-tcp-'));
afterAll(() => rmSync(directory, { recursive: true }));

let paths = 0;
transportSuite(test, { name: 'tcp', transport: tcpTransport, address: () => loopback });
transportSuite(test, {
  name: 'unix',
  transport: tcpTransport,
  address: () => ({ path: join(directory, `${paths++}.sock`) }),
});

describe('where it listens', () => {
  test('port 0 becomes the real port', async () => {
    const place = await new Place(tcpTransport, loopback).open();
    expect(place.listener.address).toEqual({ host: '127.0.0.1', port: expect.toSatisfy((port) => port > 0) });
    await place.close();
  });

  test.each(['127.0.0.1', '127.9.9.9', '::1', 'localhost', 'LOCALHOST', '::ffff:127.0.0.1'])(
    '%s is loopback and needs no leave',
    async (host) => {
      await settleListening({ host, port: 0 }, (error) =>
        expect(error).not.toMatchObject({ code: 'PLAINTEXT_REFUSED' }),
      );
    },
  );

  test.each([
    '0.0.0.0',
    '::',
    '10.0.0.1',
    '::ffff:10.0.0.1',
    'fe80::1%eth0',
    'db.example.com',
    '127.1',
    'localhost.example.com',
  ])('%s is refused without allowPlaintext', async (host) => {
    await expect(listen({ host, port: 0 })).rejects.toMatchObject({
      code: 'PLAINTEXT_REFUSED',
      message: expect.stringContaining('allowPlaintext: true'),
    });
  });

  test('allowPlaintext lifts the refusal', async () => {
    const place = await new Place(tcpTransport, { host: '0.0.0.0', port: 0, allowPlaintext: true }).open();
    const { far } = await place.pair();
    expect(far.happened).toEqual(['open']);
    await place.close();
  });

  test.each([-1, 65_536, 1.5, Number.NaN])('port %s is refused with INVALID_OPTION', async (port) => {
    await expect(listen({ host: '127.0.0.1', port })).rejects.toMatchObject({ code: 'INVALID_OPTION' });
    expect(() => tcpTransport.connect({ host: '127.0.0.1', port }, new End())).toThrow(
      'option port of connect is an integer from 1 to 65535',
    );
  });

  test('an empty host, an empty path and a mode that is none are refused with INVALID_OPTION', async () => {
    const wrong: ListenAddress[] = [
      { host: '', port: 0, allowPlaintext: true },
      { path: '' },
      { path: '\0abstract' },
      { path: '/tmp/x', mode: 0o1777 },
    ];
    for (const address of wrong) await expect(listen(address)).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  });

  test('a taken port is named, with what to do', async () => {
    const place = await new Place(tcpTransport, loopback).open();
    const { port } = place.listener.address as { port: number };
    await expect(listen({ host: '127.0.0.1', port })).rejects.toMatchObject({
      code: 'ADDRESS_IN_USE',
      message: `cannot listen at 127.0.0.1:${port}: something listens there already (EADDRINUSE); stop it or choose another port`,
      cause: { code: 'EADDRINUSE' },
    });
    await place.close();
  });

  test('two processes of node:cluster do not share an address: the second one is told that it is taken', async () => {
    const hooks = fileURLToPath(new URL('../../test/fixtures/typescript-hooks.js', import.meta.url));
    const fixture = fileURLToPath(new URL('../../test/fixtures/cluster-listen.ts', import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, ['--import', hooks, fixture]);
    expect(stdout).toBe('1: listens\n2: ADDRESS_IN_USE\n');
  });

  test('an address that is not of this machine gives ADDRESS_UNAVAILABLE', async () => {
    await expect(listen({ host: '192.0.2.1', port: 0, allowPlaintext: true })).rejects.toMatchObject({
      code: 'ADDRESS_UNAVAILABLE',
      message: expect.stringContaining('no network interface of this machine has that address'),
    });
  });
});

/** Sockets of either end, as the system is told of them. */
describe('each socket, on either side', () => {
  test('sends small lines at once, and asks a silent peer for a sign of life after 60 s', async () => {
    const place = await new Place(tcpTransport, loopback).open();
    const told = spyOnSockets(place.listener.address as { port: number });
    await place.pair();
    expect(told.noDelay.mock.calls).toEqual([[true], [true]]);
    expect(told.keepAlive.mock.calls).toEqual([
      [true, 60],
      [true, 60],
    ]);
    await place.close();
  });
});

describe('how it fails', () => {
  test('a refused connection says what to check and keeps the cause', async () => {
    const place = await new Place(tcpTransport, loopback).open();
    await place.close();
    const end = place.connect();
    await end.closed();
    const { port } = place.listener.address as { port: number };
    expect(end.error).toMatchObject({
      name: 'ConnectionError',
      code: 'CONNECTION_LOST',
      message: `cannot connect to 127.0.0.1:${port}: nothing listens there (ECONNREFUSED); is the primary running?`,
      cause: { code: 'ECONNREFUSED' },
    });
  });

  test('a socket file that does not exist is named', async () => {
    const end = connectTo({ path: join(directory, 'missing.sock') });
    await end.closed();
    expect(end.error?.message).toContain(
      'missing.sock: there is no such socket file (ENOENT); is the primary running?',
    );
  });

  test('a host that does not exist is named', async () => {
    const end = connectTo({ host: 'no-such-host.invalid', port: 9092 });
    await end.closed();
    // Without any network the name server cannot be asked (EAI_AGAIN).
    expect(end.error?.message).toMatch(
      /^cannot connect to no-such-host\.invalid:9092: the (host name is not known|name server did not answer)/,
    );
  });

  test('a reset is an error that says so', async () => {
    const place = await new Place(tcpTransport, loopback).open();
    const peer = connect(place.listener.address as { port: number });
    const far = await place.nthAccepted(0);
    await far.opened();
    peer.resetAndDestroy();
    await far.closed();
    expect(far.error).toMatchObject({
      code: 'CONNECTION_LOST',
      message: expect.stringContaining('was lost: the other side reset it (ECONNRESET)'),
    });
    expect(far.connection.peer).toMatch(/^127\.0\.0\.1:\d+$/);
    await place.close();
  });
});

describe('a peer that half-closes', () => {
  test('still gets what was written', async () => {
    const place = await new Place(tcpTransport, loopback).open();
    const peer = connect({ ...(place.listener.address as { port: number }), allowHalfOpen: true });
    const far = await place.nthAccepted(0);
    far.connection.write(Buffer.alloc(4_000_000));
    peer.end('REPLICATE events 0\n');
    let bytes = 0;
    for await (const chunk of peer as AsyncIterable<Buffer>) bytes += chunk.length;
    await far.closed();
    expect(bytes).toBe(4_000_000);
    expect(far.received.toString()).toBe('REPLICATE events 0\n');
    expect(far.error).toBeUndefined();
    await place.close();
  });
});

describe('unsentBytes', () => {
  test('goes down while a slow peer reads a little at a time, long before the write is done', async () => {
    const { end, peer, server } = await connectedToRawPeer();
    const size = 64_000_000;
    expect(end.connection.write(Buffer.alloc(size))).toBe(false);
    const seen = [end.connection.unsentBytes];
    let read = 0;
    peer.on('readable', () => {});
    while (read < (size * 3) / 4) {
      const chunk: Buffer | null = peer.read();
      if (chunk === null) await Promise.race([once(peer, 'readable'), turns(1)]);
      else read += chunk.length;
      const now = end.connection.unsentBytes;
      if (now !== seen.at(-1)) seen.push(now);
    }
    expect(end.happened).not.toContain('drained');
    // The system takes bytes in steps, of some megabytes on loopback. If a write were counted as a
    // whole, only one value would show.
    expect(seen.length).toBeGreaterThan(3);
    expect(seen).toEqual(seen.toSorted((a, b) => b - a));
    await finish(end, peer, server);
  });

  test('stays where it is while a peer takes no byte', async () => {
    const { end, peer, server } = await connectedToRawPeer();
    end.connection.write(Buffer.alloc(32_000_000));
    let before = Number.NaN;
    while (before !== end.connection.unsentBytes) {
      before = end.connection.unsentBytes;
      await turns(200);
    }
    expect(before).toBeGreaterThan(10_000_000);
    // What is written now is only kept here, and counted exactly.
    end.connection.write(Buffer.alloc(1_234));
    expect(end.connection.unsentBytes).toBe(before + 1_234);
    await finish(end, peer, server);
  });

  test('counts what is written before the connection is open', async () => {
    const place = await new Place(tcpTransport, loopback).open();
    const near = place.connect();
    near.connection.write(Buffer.alloc(100));
    expect(near.connection.unsentBytes).toBe(100);
    await near.opened();
    const far = await place.nthAccepted(0);
    await far.hasReceived(100);
    expect(near.connection.unsentBytes).toBe(0);
    await place.close();
  });
});

/** Hears what Node tells the system about sockets. Its handles share one prototype. */
function spyOnSockets({ port }: { readonly port: number }): Record<'noDelay' | 'keepAlive', Mock> {
  const socket = connect({ host: '127.0.0.1', port }).on('error', () => {});
  const { _handle: handle } = socket as unknown as { readonly _handle: object };
  const calls = Object.getPrototypeOf(handle) as Record<'setNoDelay' | 'setKeepAlive', () => number>;
  socket.destroy();
  const spies = { noDelay: vi.spyOn(calls, 'setNoDelay'), keepAlive: vi.spyOn(calls, 'setKeepAlive') };
  onTestFinished(() => {
    for (const spy of Object.values(spies)) spy.mockRestore();
  });
  return spies;
}

async function listen(address: ListenAddress): Promise<Place> {
  return await new Place(tcpTransport, address).open();
}

/** Some machines have no IPv6: then only the kind of the refusal matters. */
async function settleListening(address: ListenAddress, onRefusal: (error: unknown) => void): Promise<void> {
  try {
    await (await listen(address)).close();
  } catch (error) {
    onRefusal(error);
  }
}

function connectTo(address: { host: string; port: number } | { path: string }): End {
  const end = new End();
  return end.use(tcpTransport.connect(address, end));
}

/** An end whose peer is a plain socket that reads only when told. */
async function connectedToRawPeer(): Promise<{ end: End; peer: Socket; server: Server }> {
  const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const end = connectTo({ host: '127.0.0.1', port });
  const [[peer]] = (await Promise.all([once(server, 'connection'), end.opened()])) as [[Socket], void];
  return { end, peer, server };
}

async function finish(end: End, peer: Socket, server: Server): Promise<void> {
  end.connection.abort();
  peer.on('error', () => {}).destroy();
  server.close();
  await end.closed();
}
