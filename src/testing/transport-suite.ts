/**
 * The promises of every transport (transport/transport.ts), as tests. Runs under any test runner
 * with a `test(name, function)`:
 *
 *     transportSuite(test, {
 *       name: 'my transport',
 *       transport,
 *       address: () => ({ host: '127.0.0.1', port: 0 }),
 *     });
 */

import assert from 'node:assert/strict';
import { ConnectionError, UsageError } from '../core/model/errors.ts';
import { aFunction, oneLine, required } from '../core/model/option-kinds.ts';
import { checkArgument, checkOptions, type OptionTable } from '../core/model/options.ts';
import { type ListenAddress, type Transport, transportKind } from '../transport/transport.ts';
import { registerEndings } from './transport-endings.ts';
import { type End, numberedBytes, Place, startWriting, turns } from './transport-ends.ts';

/** The `test` function of any test runner. */
export type RegisterTest = (name: string, run: () => Promise<void>) => void;

/** Options of `transportSuite`. */
export interface TransportSuiteOptions {
  /** The first words of each test's name. */
  readonly name: string;
  readonly transport: Transport;
  /** An address without a listener, a new one for every call. `port: 0` is allowed. */
  readonly address: () => ListenAddress;
}

const optionTable: OptionTable<TransportSuiteOptions> = {
  name: required(oneLine),
  transport: required(transportKind),
  address: required(aFunction()),
};

/**
 * Registers a test for each promise of a transport.
 * @throws UsageError INVALID_OPTION
 */
export function transportSuite(test: RegisterTest, options: TransportSuiteOptions): void {
  checkArgument('transportSuite', 'test', test, aFunction());
  const { name, transport, address } = checkOptions('transportSuite', options, optionTable);

  /**
   * Registers a test that gets a listener. The listener and its connections are closed afterwards.
   */
  function testAt(title: string, run: (place: Place) => Promise<void>): void {
    test(`${name}: ${title}`, async () => {
      const place = await new Place(transport, address()).open();
      try {
        await run(place);
      } finally {
        await place.close();
      }
    });
  }

  testAt('both ends hear that the connection is open', async (place) => {
    const { near, far } = await place.pair();
    assert.deepEqual(near.happened, ['open']);
    assert.deepEqual(far.happened, ['open']);
    assert.notEqual(near.connection.peer, '');
    assert.notEqual(far.connection.peer, '');
  });

  testAt('bytes go both ways, whole and in order', async (place) => {
    const { near, far } = await place.pair();
    for (const text of ['REPLICATE ', 'events 0\n', 'NAME reader\n']) near.call((it) => it.write(Buffer.from(text)));
    for (const text of ['SERVER ', 'example.com\n']) far.call((it) => it.write(Buffer.from(text)));
    await Promise.all([near.hasReceived(19), far.hasReceived(31)]);
    assert.equal(near.received.toString(), 'SERVER example.com\n');
    assert.equal(far.received.toString(), 'REPLICATE events 0\nNAME reader\n');
  });

  testAt('what is written before the connection is open is sent', async (place) => {
    const near = place.connect();
    near.call((it) => it.write(Buffer.from('early\n')));
    const far = await place.nthAccepted(0);
    await far.hasReceived(6);
    assert.equal(far.received.toString(), 'early\n');
    assert.deepEqual(far.happened, ['open', 'bytes']);
  });

  testAt('what is written while corked is sent at the uncork', async (place) => {
    const { near, far } = await place.pair();
    near.call((it) => {
      it.cork();
      for (const text of ['a', 'b', 'c']) it.write(Buffer.from(text));
    });
    await turns(5);
    assert.equal(far.receivedBytes, 0);
    assert.equal(near.connection.unsentBytes, 3);
    near.call((it) => it.uncork());
    await far.hasReceived(3);
    assert.equal(far.received.toString(), 'abc');
    assert.equal(near.connection.unsentBytes, 0);
  });

  testAt('a large write returns false, arrives whole, and drained follows once it was handed over', async (place) => {
    const { near, far } = await place.pair();
    const bytes = numberedBytes(8 * MiB);
    assert.equal(
      near.call((it) => it.write(bytes)),
      false,
    );
    await near.until(() => near.happened.includes('drained'));
    assert.equal(near.connection.unsentBytes, 0);
    await far.hasReceived(bytes.length);
    assert.ok(far.received.equals(bytes));
  });

  testAt('many writes that wait for drained each time arrive in order', async (place) => {
    const { near, far } = await place.pair();
    const bytes = numberedBytes(8 * MiB);
    const writer = startWriting(near, bytes);
    await far.hasReceived(bytes.length);
    assert.ok(far.received.equals(bytes));
    assert.ok(writer.refusals > 0, 'some write returned false');
  });

  testAt('a small write to a reader that reads returns true and needs no drained', async (place) => {
    const { near, far } = await place.pair();
    assert.equal(
      near.call((it) => it.write(Buffer.from('x'))),
      true,
    );
    await far.hasReceived(1);
    await turns(5);
    assert.deepEqual(near.happened, ['open']);
  });

  testAt('a paused end is told of no bytes until it resumes', async (place) => {
    const { near, far } = await place.pair();
    far.call((it) => it.pause());
    near.call((it) => it.write(Buffer.from('while paused')));
    await turns(20);
    assert.equal(far.receivedBytes, 0);
    far.call((it) => it.resume());
    await far.hasReceived(12);
    assert.equal(far.received.toString(), 'while paused');
  });

  testAt('an end that pauses within handleBytes is told of no bytes after that', async (place) => {
    const { near, far } = await place.pair();
    const bytes = numberedBytes(2 * MiB);
    far.onBytes = () => far.call((it) => it.pause());
    startWriting(near, bytes);
    await far.hasReceived(1);
    const first = far.receivedBytes;
    await turns(20);
    assert.equal(far.receivedBytes, first);
    far.onBytes = () => {};
    far.call((it) => it.resume());
    await far.hasReceived(bytes.length);
    assert.ok(far.received.equals(bytes));
  });

  testAt('an end that pauses while it is accepted is told that it is open, and of no bytes', async (place) => {
    place.onAccept = (end) => end.call((it) => it.pause());
    const { near, far } = await place.pair();
    near.call((it) => it.write(Buffer.from('hello')));
    await turns(20);
    assert.deepEqual(far.happened, ['open']);
    far.call((it) => it.resume());
    await far.hasReceived(5);
  });

  testAt('a reader that stops costs the writer bounded memory, and loses nothing when it goes on', async (place) => {
    const { near, far } = await place.pair();
    far.keepsBytes = false;
    far.call((it) => it.pause());
    const writer = startWriting(near, Buffer.alloc(128 * MiB));
    await hasStalled(near);
    assert.ok(near.connection.unsentBytes <= 1 * MiB, `${near.connection.unsentBytes} bytes wait in the writer`);
    assert.ok(writer.writtenBytes <= 64 * MiB, `${writer.writtenBytes} bytes were taken from the writer`);
    far.call((it) => it.resume());
    await far.hasReceived(128 * MiB);
    assert.equal(far.receivedBytes, 128 * MiB);
  });

  registerEndings(testAt);

  testAt('a connection to where nobody listens closes with a coded error that names the address', async (place) => {
    await place.listener.close();
    const near = place.connect();
    near.call((it) => it.write(Buffer.from('nobody reads this')));
    await near.closed();
    assert.deepEqual(near.happened, ['closed']);
    assert.ok(near.error instanceof ConnectionError);
    assert.equal(near.error.code, 'CONNECTION_LOST');
    assert.ok(near.error.message.includes(near.connection.peer), near.error.message);
  });

  testAt('an address is listened at once: the second time is refused with ADDRESS_IN_USE', async (place) => {
    await assert.rejects(
      new Place(transport, place.listener.address).open(),
      (error) => error instanceof UsageError && error.code === 'ADDRESS_IN_USE',
    );
    await place.pair();
  });

  testAt('a closed listener lets its connections live on and its address be listened at again', async (place) => {
    const { near, far } = await place.pair();
    await place.listener.close();
    await place.listener.close();
    const second = await new Place(transport, place.listener.address).open();
    await second.pair();
    near.call((it) => it.write(Buffer.from('still here')));
    await far.hasReceived(10);
    await second.close();
  });

  testAt('two hundred connections at once each carry their own bytes', async (place) => {
    place.onAccept = (end) => {
      end.onBytes = (chunk) => end.call((it) => it.write(chunk));
    };
    const ends = Array.from({ length: 200 }, () => place.connect());
    for (const [index, end] of ends.entries()) end.call((it) => it.write(Buffer.from(`worker ${index + 1000}`)));
    await Promise.all(ends.map((end) => end.hasReceived(11)));
    for (const [index, end] of ends.entries()) assert.equal(end.received.toString(), `worker ${index + 1000}`);
  });
}

const MiB = 2 ** 20;

/** Resolves when bytes are queued and none of them was taken for many turns. */
async function hasStalled(end: End): Promise<void> {
  let before = -1;
  for (;;) {
    const now = end.connection.unsentBytes;
    if (now > 0 && now === before) return;
    before = now;
    await turns(50);
  }
}
