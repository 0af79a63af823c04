import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import express from 'express';
import { type Handler, httpSuite, listen } from '../../../test/support/http-suite.ts';
import { awaitTokens, sendTokens } from './express.ts';

httpSuite({
  name: 'express',
  sendTokens,
  awaitTokens,
  serve: async (middleware, handler) => {
    const app = express();
    app.use(middleware);
    app.get('/', async (_request, response) => void response.send(await handler()));
    return listen(createServer(app));
  },
});

httpSuite({
  name: 'plain node:http',
  sendTokens,
  awaitTokens,
  serve: async (middleware, handler) =>
    listen(
      createServer((request, response) =>
        middleware(request, response, (error) => void answer({ request, response, error, handler })),
      ),
    ),
});

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly error: unknown;
  readonly handler: Handler;
}

async function answer({ request, response, error, handler }: Exchange): Promise<void> {
  if (request.url !== '/') return void response.writeHead(404).end();
  try {
    if (error !== undefined) throw error;
    response.end(await handler());
  } catch {
    response.writeHead(500, { 'content-type': 'text/plain' }).end();
  }
}
