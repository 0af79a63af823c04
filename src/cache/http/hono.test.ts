import type { Server } from 'node:http';
import { createAdaptorServer } from '@hono/node-server';
import { Hono } from 'hono';
import { httpSuite, listen } from '../../../test/support/http-suite.ts';
import { awaitTokens, sendTokens } from './hono.ts';

httpSuite({
  name: 'hono',
  sendTokens,
  awaitTokens,
  serve: async (middleware, handler) => {
    const app = new Hono();
    app.use(middleware);
    app.get('/', async (c) => c.text(await handler()));
    // As Hono's own, without what that prints.
    app.onError((_error, c) => c.text('Internal Server Error', 500));
    return listen(createAdaptorServer(app) as Server);
  },
});

httpSuite({
  name: 'hono with handlers that make their own Response',
  sendTokens,
  awaitTokens,
  serve: async (middleware, handler) => {
    const app = new Hono();
    app.use(middleware);
    app.get('/', async () => new Response(await handler()));
    app.onError(() => new Response(null, { status: 500 }));
    return listen(createAdaptorServer(app) as Server);
  },
});
