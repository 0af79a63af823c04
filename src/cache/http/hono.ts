/** Read your writes over HTTP with Hono: `rowcast/cache/hono`. */

import type { MiddlewareHandler } from 'hono';
import type { Primary } from '../../primary/primary.ts';
import type { Worker } from '../../worker/worker.ts';
import {
  type AwaitTokensOptions,
  currentTokens,
  judgeRequests,
  type SendTokensOptions,
  STALE_HEADER,
  TOKEN_HEADER,
} from './tokens.ts';

export type { AwaitTokensOptions, SendTokensOptions } from './tokens.ts';

/** What web servers write into their logs for an answer that nobody waited for. */
const CLIENT_CLOSED_REQUEST = 499;

/**
 * Tells the client with every answer, errors too, how far the streams were when its headers were
 * sent: `Rowcast-Token`. Use it before all else.
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
 * Lets a request with a `Rowcast-Token` wait until this worker has applied everything up to its
 * positions; use it before the routes. One that takes longer than `timeoutMs` is answered 503, or
 * served with `Rowcast-Stale`; a header that does not parse, 400. Streams that the worker does not
 * follow are passed over: what it serves cannot depend on them.
 * @throws UsageError INVALID_OPTION, INVALID_STREAM_NAME
 */
export function awaitTokens(worker: Worker, options?: AwaitTokensOptions): MiddlewareHandler {
  const judge = judgeRequests(worker, options);
  return async (c, next) => {
    const pending = judge(c.req.header(TOKEN_HEADER), () => c.req.raw.signal);
    const verdict = pending instanceof Promise ? await pending : pending;
    switch (verdict.kind) {
      case 'go-on':
        await next();
        // Only now: a handler that makes its own Response would lose a header that was set before.
        if (verdict.stale !== undefined) c.header(STALE_HEADER, verdict.stale);
        return;
      case 'refuse':
        return c.body(verdict.body, verdict.status, verdict.headers);
      case 'gone':
        return new Response(null, { status: CLIENT_CLOSED_REQUEST });
    }
  };
}
