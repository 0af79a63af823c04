/**
 * Read your writes over HTTP with Fastify, as plugins for the whole instance:
 * `rowcast/cache/fastify`.
 */

import type { FastifyInstance, FastifyPluginCallback, FastifyReply } from 'fastify';
import type { Primary } from '../../primary/primary.ts';
import type { ObserverWorker } from '../../worker/worker.ts';
import { goneSignal, tokenHeaderOf } from './node.ts';
import {
  type AwaitTokensOptions,
  currentTokens,
  judgeRequests,
  type SendTokensOptions,
  STALE_HEADER,
  TOKEN_HEADER,
  type Verdict,
} from './tokens.ts';

export type { AwaitTokensOptions, SendTokensOptions } from './tokens.ts';

/**
 * Sets `Rowcast-Token` on every response, errors included: how far the streams were when the
 * headers were sent. Register it first: it does not reach instances made by earlier plugins.
 * @throws UsageError INVALID_OPTION, NO_SUCH_STREAM, CLOSED
 */
export function sendTokens(primary: Primary, options: SendTokensOptions): FastifyPluginCallback {
  const tokens = currentTokens(primary, options);
  return forAll((app) => {
    app.addHook('onSend', (_request, reply, _payload, done) => {
      const value = tokens();
      if (value !== undefined) reply.header(TOKEN_HEADER, value);
      done();
    });
  });
}

/**
 * Makes a request with a `Rowcast-Token` wait until this worker has applied everything up to its
 * positions. Register it first. A request that waits longer than `timeoutMs` gets 503, or is served
 * with `Rowcast-Stale`. A malformed header gets 400. Streams that the worker does not follow are
 * ignored: its answers cannot depend on them.
 * @throws UsageError INVALID_OPTION, INVALID_STREAM_NAME
 */
export function awaitTokens(worker: ObserverWorker, options?: AwaitTokensOptions): FastifyPluginCallback {
  const judge = judgeRequests(worker, options);
  return forAll((app) => {
    // Not async: a request that need not wait makes no promise.
    app.addHook('onRequest', (request, reply, done) => {
      const verdict = judge(tokenHeaderOf(request.headers), () => goneSignal(reply.raw));
      if (verdict instanceof Promise) verdict.then((late) => carryOut(late, reply, done), done);
      else carryOut(verdict, reply, done);
    });
  });
}

/** Without this mark Fastify would limit the hooks to the plugin. */
function forAll(addHooks: (app: FastifyInstance) => void): FastifyPluginCallback {
  const plugin: FastifyPluginCallback = (app, _options, done) => {
    addHooks(app);
    done();
  };
  return Object.assign(plugin, { [Symbol.for('skip-override')]: true });
}

function carryOut(verdict: Verdict, reply: FastifyReply, done: () => void): void {
  switch (verdict.kind) {
    case 'go-on':
      if (verdict.stale !== undefined) reply.header(STALE_HEADER, verdict.stale);
      done();
      return;
    case 'refuse':
      reply.code(verdict.status).headers(verdict.headers).send(verdict.body);
      return;
    case 'gone':
      reply.hijack();
      return;
  }
}
