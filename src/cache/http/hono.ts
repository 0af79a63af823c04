/** Read your writes over HTTP with Hono: `rowcast/cache/hono`. */

import type { MiddlewareHandler } from 'hono';
import type { Primary } from '../../primary/primary.ts';
import type { ObserverWorker } from '../../worker/worker.ts';
import {
  type AwaitTokensOptions,
  currentTokens,
  judgeRequests,
  type SendTokensOptions,
  STALE_HEADER,
  TOKEN_HEADER,
} from './tokens.ts';

export type { AwaitTokensOptions, SendTokensOptions } from './tokens.ts';

/** The status that web servers log when the client left before the answer. */
const CLIENT_CLOSED_REQUEST = 499;

/**
 * Sets `Rowcast-Token` on every response, errors included: how far the streams were when the
 * headers were sent. Use it first.
 * @throws UsageError INVALID_OPTION, NO_SUCH_STREAM, CLOSED
 */
export function sendTokens(primary: Primary, options: SendTokensOptions): MiddlewareHandler {
  const tokens = currentTokens(primary, options);
  return async (c, next) => {
    await next();
    const value = tokens();
    if (value !== undefined) c.header(TOKEN_HEADER, value);
  };
}

/**
 * Makes a request with a `Rowcast-Token` wait until this worker has applied everything up to its
 * positions. Use it before the routes. A request that waits longer than `timeoutMs` gets 503, or is
 * served with `Rowcast-Stale`. A malformed header gets 400. Streams that the worker does not follow
 * are ignored: its answers cannot depend on them.
 * @throws UsageError INVALID_OPTION, INVALID_STREAM_NAME
 */
export function awaitTokens(worker: ObserverWorker, options?: AwaitTokensOptions): MiddlewareHandler {
  const judge = judgeRequests(worker, options);
  return async (c, next) => {
    const pending = judge(c.req.header(TOKEN_HEADER), () => c.req.raw.signal);
    const verdict = pending instanceof Promise ? await pending : pending;
    switch (verdict.kind) {
      case 'go-on':
        await next();
        // Set after the handler: one that makes its own Response would lose an earlier header.
        if (verdict.stale !== undefined) c.header(STALE_HEADER, verdict.stale);
        return;
      case 'refuse':
        return c.body(verdict.body, verdict.status, verdict.headers);
      case 'gone':
        return new Response(null, { status: CLIENT_CLOSED_REQUEST });
    }
  };
}
