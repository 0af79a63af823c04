/**
 * The part of the transport suite on the ends of connections: closed, aborted, early, twice, from
 * the other side.
 */

import assert from 'node:assert/strict';
import { numberedBytes, type Place, startWriting, turns } from './transport-ends.ts';

/** `testAt` registers a test that gets a listener of its own. */
export function registerEndings(testAt: (title: string, run: (place: Place) => Promise<void>) => void): void {
  testAt('close sends everything that was written, then both ends end in order', async (place) => {
    const { near, far } = await place.pair();
    const bytes = numberedBytes(4 * MiB);
    near.call((it) => {
      it.write(bytes);
      it.close();
    });
    await Promise.all([near.closed(), far.closed()]);
    assert.ok(far.received.equals(bytes));
    assert.deepEqual(far.happened, ['open', 'bytes', 'closed']);
    assert.deepEqual(near.happened, ['open', 'closed']);
    assert.equal(near.error, undefined);
    assert.equal(far.error, undefined);
  });

  testAt('close while corked and before the connection is open sends what was written', async (place) => {
    const near = place.connect();
    near.call((it) => {
      it.cork();
      it.write(Buffer.from('ERROR stopping\n'));
      it.close();
    });
    const far = await place.nthAccepted(0);
    await Promise.all([near.closed(), far.closed()]);
    assert.equal(far.received.toString(), 'ERROR stopping\n');
    assert.deepEqual(near.happened, ['closed']);
  });

  testAt(
    'the last line arrives although the other side is still sending, and the closing end is told of no bytes',
    async (place) => {
      const { near, far } = await place.pair();
      startWriting(far, Buffer.alloc(2 * MiB));
      near.call((it) => {
        it.pause();
        it.write(Buffer.from('ERROR server stopping\n'));
        it.close();
        it.pause();
      });
      await Promise.all([near.closed(), far.closed()]);
      assert.equal(far.received.toString(), 'ERROR server stopping\n');
      assert.deepEqual(near.happened, ['open', 'closed']);
      assert.equal(far.error, undefined);
    },
  );

  testAt('when the other side closes, what was written before is still sent', async (place) => {
    const { near, far } = await place.pair();
    const bytes = numberedBytes(4 * MiB);
    near.keepsBytes = false;
    far.call((it) => it.write(bytes));
    near.call((it) => it.close());
    await Promise.all([near.closed(), far.closed()]);
    assert.equal(far.error, undefined);
    assert.equal(far.connection.unsentBytes, 0);
  });

  testAt('abort ends both ends at once; the one that aborted hears of no error', async (place) => {
    const { near, far } = await place.pair();
    far.call((it) => it.pause());
    near.call((it) => {
      it.write(Buffer.alloc(64 * MiB));
      it.abort();
    });
    far.call((it) => it.resume());
    await Promise.all([near.closed(), far.closed()]);
    assert.deepEqual(near.happened, ['open', 'closed']);
    assert.equal(near.error, undefined);
    assert.ok(far.receivedBytes < 64 * MiB, 'what was not sent is lost');
  });

  testAt('an end that aborts within handleBytes is told of nothing more but closed', async (place) => {
    const { near, far } = await place.pair();
    far.onBytes = () => far.call((it) => it.abort());
    startWriting(near, numberedBytes(2 * MiB));
    await Promise.all([near.closed(), far.closed()]);
    assert.deepEqual(far.happened, ['open', 'bytes', 'closed']);
  });

  testAt('a connection that is aborted before it is open only closes', async (place) => {
    const near = place.connect();
    near.call((it) => it.abort());
    await near.closed();
    assert.deepEqual(near.happened, ['closed']);
    assert.equal(near.error, undefined);
  });

  testAt('a connection that is closed before it is open, with nothing written, only closes', async (place) => {
    const near = place.connect();
    near.call((it) => it.close());
    await near.closed();
    assert.deepEqual(near.happened, ['closed']);
    assert.equal(near.error, undefined);
  });

  testAt('a connection that is aborted while it is accepted only closes', async (place) => {
    place.onAccept = (end) => end.call((it) => it.abort());
    const near = place.connect();
    const far = await place.nthAccepted(0);
    await Promise.all([near.closed(), far.closed()]);
    assert.deepEqual(far.happened, ['closed']);
  });

  testAt('closed is told once and last, however often an end is closed and aborted', async (place) => {
    const { near, far } = await place.pair();
    for (const end of [near, far]) {
      end.call((it) => {
        it.close();
        it.close();
        it.abort();
        it.abort();
        it.close();
      });
    }
    await Promise.all([near.closed(), far.closed()]);
    await turns(10);
    assert.deepEqual(near.happened, ['open', 'closed']);
    assert.deepEqual(far.happened, ['open', 'closed']);
  });

  testAt('every call on a closed connection is harmless', async (place) => {
    const { near, far } = await place.pair();
    near.call((it) => it.close());
    await Promise.all([near.closed(), far.closed()]);
    for (const end of [near, far]) {
      assert.equal(
        end.call((it) => it.write(Buffer.from('too late'))),
        false,
      );
      end.call((it) => {
        it.cork();
        it.uncork();
        it.pause();
        it.resume();
        it.close();
        it.abort();
      });
      assert.equal(end.connection.unsentBytes, 0);
    }
    await turns(10);
    assert.equal(far.receivedBytes, 0);
  });

  testAt('a write after close is dropped', async (place) => {
    const { near, far } = await place.pair();
    near.call((it) => {
      it.write(Buffer.from('last'));
      it.close();
      assert.equal(it.write(Buffer.from(' words')), false);
    });
    await Promise.all([near.closed(), far.closed()]);
    assert.equal(far.received.toString(), 'last');
    assert.equal(near.error, undefined);
    assert.equal(far.error, undefined);
  });
}

const MiB = 2 ** 20;
