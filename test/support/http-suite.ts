/**
 * The promises of the middlewares of every framework (src/cache/http), as tests over real HTTP on
 * loopback.
 */

import { once } from 'node:events';
import { type IncomingMessage, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { type AwaitTokensOptions, MAX_HEADER_LENGTH, type SendTokensOptions } from '../../src/cache/http/tokens.ts';
import { formatPosition } from '../../src/core/model/position.ts';
import { defineStream } from '../../src/core/model/stream.ts';
import type { Primary } from '../../src/primary/primary.ts';
import type { Worker } from '../../src/worker/worker.ts';
import { Gate } from './collector.ts';
import { deploy, settle } from './deployment.ts';

export type Handler = () => string | Promise<string>;

export interface HttpFramework<Middleware> {
  /** The first words of each test's name. */
  readonly name: string;
  readonly sendTokens: (primary: Primary, options: SendTokensOptions) => Middleware;
  readonly awaitTokens: (worker: Worker, options?: AwaitTokensOptions) => Middleware;
  /**
   * Serves only the handler at `/` behind the middleware, until the test ends. Resolves to its URL.
   */
  readonly serve: (middleware: Middleware, handler: Handler) => Promise<string>;
}

/** Lets a server listen on a free port until the test ends. */
export async function listen(server: Server): Promise<string> {
  server.listen({ host: '127.0.0.1', port: 0 });
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

const events = defineStream('events');
const others = defineStream('a,b=cé');
const streams = [events, others];

/** So long that a test that waits for it fails. */
const NEVER_MS = 600_000;
/** A test waits for this time-out on purpose. */
const SOON_MS = 20;

export function httpSuite<Middleware>(framework: HttpFramework<Middleware>): void {
  const { name, sendTokens, awaitTokens, serve } = framework;
  const testOf = (title: string, run: () => Promise<void>): void => test(`${name}: ${title}`, run);

  testOf('an answer names the position that the handler has just written', async () => {
    const primary = await deploy().primary({ streams });
    const url = await serve(sendTokens(primary, { streams: [events] }), async () =>
      formatPosition(await primary.append(events, [1])),
    );
    for (let i = 0; i < 3; i++) {
      const answer = await fetch(url);
      expect(answer.status).toBe(200);
      expect(answer.headers.get('rowcast-token')).toBe(await answer.text());
    }
  });

  testOf(
    'an answer names every stream that was asked for, percent-encoded, also where nothing was written',
    async () => {
      const primary = await deploy().primary({ streams });
      const written = await primary.append(others, [1]);
      const url = await serve(sendTokens(primary, { streams: ['events', others] }), () => 'x');
      expect((await fetch(url)).headers.get('rowcast-token')).toBe(
        `${formatPosition(primary.position(events))},a%2Cb%3Dc%C3%A9=1@${written.history}`,
      );
    },
  );

  testOf('error answers and unknown pages carry tokens too', async () => {
    const primary = await deploy().primary({ streams });
    const url = await serve(sendTokens(primary, { streams: [events] }), async () => {
      await primary.append(events, [1]);
      throw new Error('after the write');
    });
    const failed = await fetch(url);
    const written = formatPosition(primary.position(events));
    expect([failed.status, failed.headers.get('rowcast-token')]).toEqual([500, written]);
    const unknown = await fetch(`${url}nowhere`);
    expect([unknown.status, unknown.headers.get('rowcast-token')]).toEqual([404, written]);
  });

  testOf('a primary that was closed still answers, without a token', async () => {
    const primary = await deploy().primary({ streams });
    const url = await serve(sendTokens(primary, { streams: [events] }), () => 'x');
    await primary.close();
    const answer = await fetch(url);
    expect([answer.status, answer.headers.get('rowcast-token')]).toEqual([200, null]);
  });

  testOf('what cannot work is refused when it is set up', async () => {
    const { primary, worker } = deploy();
    const server = await primary({ streams });
    expect(() => sendTokens(server, { streams: [] })).toThrow(
      expect.objectContaining({ name: 'UsageError', code: 'INVALID_OPTION' }),
    );
    expect(() => sendTokens(server, { streams: ['nosuch'] })).toThrow(
      expect.objectContaining({ name: 'UsageError', code: 'NO_SUCH_STREAM' }),
    );
    expect(() => awaitTokens(worker(), { timeoutMs: -1 })).toThrow(
      expect.objectContaining({ name: 'UsageError', code: 'INVALID_OPTION' }),
    );
  });

  testOf('a read with the token of a write waits until the worker has applied it', async () => {
    const { primary, worker, gate, happened } = await lateWorker();
    const waits = watchWaits(worker);
    const written = await fetch(
      await serve(sendTokens(primary, { streams }), async () => formatPosition(await primary.append(events, [1]))),
    );
    const url = await serve(awaitTokens(worker, { timeoutMs: NEVER_MS }), () => {
      happened.push('served');
      return 'x';
    });
    const answer = fetch(url, { headers: { 'rowcast-token': written.headers.get('rowcast-token')! } });
    await waits.begun;
    await settle();
    expect(happened).toEqual([]);
    gate.open();
    const { status, headers } = await answer;
    expect([status, headers.get('rowcast-stale')]).toEqual([200, null]);
    expect(happened).toEqual(['applied', 'served']);
  });

  testOf('a read that would wait too long is answered 503, with what to do', async () => {
    const { primary, worker } = await lateWorker();
    const written = formatPosition(await primary.append(events, [1]));
    let served = 0;
    const url = await serve(awaitTokens(worker, { timeoutMs: SOON_MS }), () => String(++served));
    const answer = await fetch(url, { headers: { 'rowcast-token': written } });
    expect(answer.status).toBe(503);
    expect(answer.headers.get('retry-after')).toBe('1');
    expect(answer.headers.get('content-type')).toBe('application/json; charset=utf-8');
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(await answer.json()).toEqual({
      error: {
        code: 'WAIT_TIMEOUT',
        message: `not reached within 20 ms: ${written} (here: ${formatPosition(worker.position(events)!)}); try again`,
      },
    });
    expect(served).toBe(0);
  });

  testOf("with onTimeout: 'serve' such a read is served, and says how far the worker is", async () => {
    const { primary, worker, gate } = await lateWorker();
    const written = await primary.append(events, [1]);
    const headers = { 'rowcast-token': formatPosition(written) };
    const url = await serve(awaitTokens(worker, { timeoutMs: SOON_MS, onTimeout: 'serve' }), () => 'what there is');
    const here = formatPosition(worker.position(events)!);
    const early = await fetch(url, { headers });
    expect([early.status, early.headers.get('rowcast-stale'), await early.text()]).toEqual([
      200,
      here,
      'what there is',
    ]);
    gate.open();
    await worker.waitFor(written);
    const later = await fetch(url, { headers });
    expect([later.status, later.headers.get('rowcast-stale')]).toEqual([200, null]);
  });

  testOf('a header that does not parse is answered 400, and other requests notice nothing', async () => {
    const { worker } = await lateWorker();
    let served = 0;
    const url = await serve(awaitTokens(worker), () => String(++served));
    for (const header of [
      '',
      'events',
      'events=',
      '=1',
      'events=1;others=2',
      'events=x',
      'events=1,',
      'events=1=2',
      'events=1@',
      'events=1@8f3c',
      '%=1',
      'ALL=1',
      '\u00fc'.repeat(5_000),
    ]) {
      const answer = await fetch(url, { headers: { 'rowcast-token': header } });
      expect(answer.status, header).toBe(400);
      expect(await answer.json(), header).toEqual({
        error: {
          code: 'INVALID_HEADER',
          message: expect.stringContaining(
            header.length > MAX_HEADER_LENGTH
              ? `Rowcast-Token cannot be read: it has ${header.length} characters`
              : `Rowcast-Token cannot be read: a position is as in events=123@8f3c1d2e4b5a6978.1764281400.a1b2c3d4, not '`,
          ),
        },
      });
      expect((await fetch(url)).status).toBe(200);
    }
    expect(served).toBe(13);
  });

  testOf('a repeated header counts as one, all its positions count', async () => {
    const { primary, worker } = await lateWorker();
    const before = formatPosition(primary.position(events));
    const written = formatPosition(await primary.append(events, [1]));
    const url = await serve(awaitTokens(worker, { timeoutMs: SOON_MS, onTimeout: 'serve' }), () => 'x');
    const asked = request(url, { headers: { 'rowcast-token': [before, written, before] } }).end();
    const [answer] = (await once(asked, 'response')) as [IncomingMessage];
    answer.resume();
    expect(answer.headers['rowcast-stale']).toBe(before);
  });

  testOf('a stream that the worker does not follow is passed over', async () => {
    const { worker } = await lateWorker();
    const url = await serve(awaitTokens(worker, { timeoutMs: NEVER_MS }), () => 'x');
    const answer = await fetch(url, { headers: { 'rowcast-token': 'nosuch=77' } });
    expect([answer.status, answer.headers.get('rowcast-stale')]).toEqual([200, null]);
  });

  testOf('a stream that is not among the streams to wait for is passed over', async () => {
    const { primary, worker } = await lateWorker();
    const written = formatPosition(await primary.append(events, [1]));
    const waits = watchWaits(worker);
    const url = await serve(awaitTokens(worker, { timeoutMs: NEVER_MS, streams: [others] }), () => 'x');
    expect((await fetch(url, { headers: { 'rowcast-token': written } })).status).toBe(200);
    expect(waits.count).toBe(0);
  });

  testOf('a worker that was stopped does not let a read wait', async () => {
    const { primary, worker, gate } = await lateWorker();
    const url = await serve(awaitTokens(worker, { timeoutMs: NEVER_MS }), () => 'x');
    gate.open();
    await worker.stop();
    const written = formatPosition(await primary.append(events, [1]));
    expect((await fetch(url, { headers: { 'rowcast-token': written } })).status).toBe(503);
  });

  testOf('a position of another log is answered at once', async () => {
    const { worker } = await lateWorker();
    const url = await serve(awaitTokens(worker, { timeoutMs: NEVER_MS }), () => 'x');
    const headers = { 'rowcast-token': 'events=1@8f3c1d2e4b5a6978.1764281400.a1b2c3d4' };
    const answer = await fetch(url, { headers });
    expect(answer.status).toBe(503);
    expect(await answer.json()).toMatchObject({ error: { code: 'OTHER_LOG' } });
    const serving = await serve(awaitTokens(worker, { timeoutMs: NEVER_MS, onTimeout: 'serve' }), () => 'x');
    const served = await fetch(serving, { headers });
    const here = formatPosition(worker.position(events)!);
    expect([served.status, served.headers.get('rowcast-stale')]).toEqual([200, here]);
  });

  testOf('a read without a header, or whose token is reached, does not wait', async () => {
    const { primary, worker, gate } = await lateWorker();
    gate.open();
    const written = await primary.append(events, [1]);
    await worker.waitFor(written);
    const waits = watchWaits(worker);
    const url = await serve(awaitTokens(worker), () => 'x');
    expect((await fetch(url)).status).toBe(200);
    expect((await fetch(url, { headers: { 'rowcast-token': formatPosition(written) } })).status).toBe(200);
    expect(waits.count).toBe(0);
  });

  testOf('when the client goes away, nothing is left waiting', async () => {
    const { primary, worker, gate } = await lateWorker();
    const written = await primary.append(events, [1]);
    const waits = watchWaits(worker);
    let served = 0;
    const url = await serve(awaitTokens(worker, { timeoutMs: NEVER_MS }), () => String(++served));
    const client = new AbortController();
    const answer = fetch(url, { headers: { 'rowcast-token': formatPosition(written) }, signal: client.signal });
    await waits.begun;
    client.abort();
    await expect(answer).rejects.toHaveProperty('name', 'AbortError');
    await waits.ended;
    gate.open();
    await worker.waitFor(written);
    await settle();
    expect(served).toBe(0);
    expect((await fetch(url)).status).toBe(200);
  });

  testOf("an error that is not Rowcast's own goes to the framework", async () => {
    const { primary, worker } = await lateWorker();
    const written = formatPosition(await primary.append(events, [1]));
    worker.waitFor = async () => Promise.reject(new TypeError('a bug'));
    const url = await serve(awaitTokens(worker), () => 'x');
    expect((await fetch(url, { headers: { 'rowcast-token': written } })).status).toBe(500);
    expect((await fetch(url)).status).toBe(200);
  });
}

/** A live worker whose handler of `events` blocks until the gate opens. */
async function lateWorker(): Promise<{ primary: Primary; worker: Worker; gate: Gate; happened: string[] }> {
  const deployment = deploy();
  const primary = await deployment.primary({ streams });
  const worker = deployment.worker();
  const gate = new Gate();
  // A worker stops when its handlers have finished.
  onTestFinished(() => gate.open());
  const happened: string[] = [];
  worker.subscribe(events, { from: 'now' }, async () => {
    await gate.opened;
    happened.push('applied');
  });
  await worker.start();
  return { primary, worker, gate, happened };
}

/** Tells when a worker is first asked to wait, and when that wait is over. */
function watchWaits(worker: Worker): {
  readonly begun: Promise<void>;
  readonly ended: Promise<void>;
  readonly count: number;
} {
  const begun = new Gate();
  const ended = new Gate();
  const waitFor = worker.waitFor.bind(worker);
  const waits = { begun: begun.opened, ended: ended.opened, count: 0 };
  worker.waitFor = async (...asked) => {
    waits.count++;
    begun.open();
    try {
      await waitFor(...asked);
    } finally {
      ended.open();
    }
  };
  return waits;
}
