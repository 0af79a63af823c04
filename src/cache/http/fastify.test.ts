import { fastify } from 'fastify';
import { expect, onTestFinished, test } from 'vitest';
import { deploy } from '../../../test/support/deployment.ts';
import { httpSuite } from '../../../test/support/http-suite.ts';
import { formatPosition } from '../../core/model/position.ts';
import { defineStream } from '../../core/model/stream.ts';
import { awaitTokens, sendTokens } from './fastify.ts';

httpSuite({
  name: 'fastify',
  sendTokens,
  awaitTokens,
  serve: async (middleware, handler) => {
    const app = fastify();
    onTestFinished(() => app.close());
    app.register(middleware);
    app.get('/', async () => handler());
    return `${await app.listen({ host: '127.0.0.1', port: 0 })}/`;
  },
});

test('the plugins are for the whole instance, and for those that plugins make afterwards', async () => {
  const primary = await deploy().primary({ streams: [defineStream('events')] });
  const app = fastify();
  onTestFinished(() => app.close());
  app.register(sendTokens(primary, { streams: ['events'] }));
  app.register((inner, _options, done) => {
    inner.get('/inner', async () => 'x');
    done();
  });
  const { statusCode, headers } = await app.inject('/inner');
  expect([statusCode, headers['rowcast-token']]).toEqual([200, formatPosition(primary.position('events'))]);
});
