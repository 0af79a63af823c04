import { expect, test } from 'vitest';
import { UsageError } from '../core/model/errors.ts';
import { End, Place } from '../testing/transport-ends.ts';
import { transportSuite } from '../testing/transport-suite.ts';
import { createMemoryTransport } from './memory.ts';

transportSuite(test, {
  name: 'memory',
  transport: createMemoryTransport(),
  address: () => ({ host: '127.0.0.1', port: 0 }),
});

test('port 0 becomes a port that nobody listens at', async () => {
  const transport = createMemoryTransport();
  const places = await Promise.all([1, 2, 3].map(() => new Place(transport, { host: 'primary', port: 0 }).open()));
  const addresses = places.map((place) => JSON.stringify(place.listener.address));
  expect(new Set(addresses).size).toBe(3);
  expect(addresses).not.toContain(JSON.stringify({ host: 'primary', port: 0 }));
});

test('two memory transports know nothing of each other', async () => {
  await new Place(createMemoryTransport(), { path: 'here' }).open();
  const end = new End();
  createMemoryTransport().connect({ path: 'here' }, end);
  await end.closed();
  expect(end.error).toMatchObject({
    code: 'CONNECTION_LOST',
    message: 'cannot connect to unix:here: nothing listens there; is the primary running?',
  });
});

test('write returns false from highWaterBytes on', async () => {
  const { near, far } = await new Place(createMemoryTransport({ highWaterBytes: 10 }), { path: 'here' })
    .open()
    .then((place) => place.pair());
  far.connection.pause();
  expect(near.connection.write(Buffer.alloc(9))).toBe(true);
  expect(near.connection.write(Buffer.alloc(1))).toBe(false);
  expect(near.connection.unsentBytes).toBe(10);
  expect(() => createMemoryTransport({ highWaterBytes: 0 })).toThrow(UsageError);
});

test('a cut loses what is on its way and tells both ends of an error', async () => {
  const transport = createMemoryTransport();
  const { near, far } = await new Place(transport, { path: 'here' }).open().then((place) => place.pair());
  near.connection.write(Buffer.from('lost'));
  near.call((connection) => transport.cut(connection));
  await Promise.all([near.closed(), far.closed()]);
  expect(far.receivedBytes).toBe(0);
  expect(near.error).toMatchObject({
    code: 'CONNECTION_LOST',
    message: 'the connection to unix:here was lost: it was cut',
  });
  expect(far.error).toMatchObject({ code: 'CONNECTION_LOST' });
});

test('all connections can be cut at once, and the listener accepts new ones', async () => {
  const transport = createMemoryTransport();
  const place = await new Place(transport, { path: 'here' }).open();
  const pairs = [await place.pair(), await place.pair()];
  const waiting = place.connect();
  transport.cutAll();
  await Promise.all([...pairs.flatMap(({ near, far }) => [near.closed(), far.closed()]), waiting.closed()]);
  expect(waiting.error).toMatchObject({ code: 'CONNECTION_LOST' });
  await place.pair();
});
