/**
 * Read your writes over HTTP with Express, or any other server with `(request, response, next)`
 * functions: `rowcast/cache/express`.
 */

// For compilers that load no types by themselves, as TypeScript 6 does.
/// <reference types="node" preserve="true" />

import type { IncomingMessage, ServerResponse } from 'node:http';
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

/** A middleware as Express and connect take it. */
export type Middleware = (request: IncomingMessage, response: ServerResponse, next: (error?: unknown) => void) => void;

/**
 * Sets `Rowcast-Token` on every response, errors included: how far the streams were when the
 * headers were sent. Use it before the routes.
 * @throws UsageError INVALID_OPTION, NO_SUCH_STREAM, CLOSED
 */
export function sendTokens(primary: Primary, options: SendTokensOptions): Middleware {
  const tokens = currentTokens(primary, options);
  return (_request, response, next) => {
    const writeHead = response.writeHead.bind(response) as (...head: unknown[]) => ServerResponse;
    // Every way to answer ends here, after the handler has made its writes.
    response.writeHead = (...head: unknown[]) => {
      const value = tokens();
      if (value !== undefined) response.setHeader(TOKEN_HEADER, value);
      return writeHead(...head);
    };
    next();
  };
}

/**
 * Makes a request with a `Rowcast-Token` wait until this worker has applied everything up to its
 * positions. Use it before the routes. A request that waits longer than `timeoutMs` gets 503, or is
 * served with `Rowcast-Stale`. A malformed header gets 400. Streams that the worker does not follow
 * are ignored: its answers cannot depend on them.
 * @throws UsageError INVALID_OPTION, INVALID_STREAM_NAME
 */
export function awaitTokens(worker: ObserverWorker, options?: AwaitTokensOptions): Middleware {
  const judge = judgeRequests(worker, options);
  return (request, response, next) => {
    const verdict = judge(tokenHeaderOf(request.headers), () => goneSignal(response));
    if (verdict instanceof Promise) void carryOutLater(verdict, response, next);
    else carryOut(verdict, response, next);
  };
}

async function carryOutLater(
  verdict: Promise<Verdict>,
  response: ServerResponse,
  next: (error?: unknown) => void,
): Promise<void> {
  try {
    carryOut(await verdict, response, next);
  } catch (error) {
    next(error);
  }
}

function carryOut(verdict: Verdict, response: ServerResponse, next: () => void): void {
  switch (verdict.kind) {
    case 'go-on':
      if (verdict.stale !== undefined) response.setHeader(STALE_HEADER, verdict.stale);
      next();
      return;
    case 'refuse':
      response.statusCode = verdict.status;
      for (const [name, value] of Object.entries(verdict.headers)) response.setHeader(name, value);
      response.end(verdict.body);
      return;
    case 'gone':
      return;
  }
}
