import { describe, expect, test } from 'vitest';
import {
  at,
  bytesOf,
  ERA,
  FollowerEnd,
  type FollowerEndOptions,
  MEMORY,
  ROWCAST,
  SYNAPSE,
} from '../../../test/support/worker-ends.ts';
import { ConnectionError, UsageError } from '../model/errors.ts';

/** Follows one stream of a Rowcast primary; returns it live. */
function following(options: FollowerEndOptions = {}): FollowerEnd {
  const end = new FollowerEnd(options);
  end.subscribe('events', at('events', 5));
  end.greetedBy(ROWCAST);
  end.hear(`POSITION events 5 ${ERA}`);
  return end;
}

describe('connecting', () => {
  test('it connects at once, and asks when the primary said who it is', () => {
    const end = new FollowerEnd();
    end.subscribe('events', 53);
    expect(end.outputs.all).toEqual([]);
    end.start();
    expect(end.outputs.all).toEqual([{ kind: 'connect' }]);
    expect(end.open()).toEqual(['NAME reader-1', `PING ${end.now} rowcast/2`]);
    expect(end.hear('SERVER example.com', `PING ${ROWCAST}`)).toEqual(['REPLICATE events 53']);
    expect(end.outputs.of('event')).toEqual([{ kind: 'event', event: { kind: 'connected', isRowcast: true } }]);
    expect(end.follower.isConnected).toBe(true);
  });

  test('starting twice connects once', () => {
    const end = new FollowerEnd().start().start();
    expect(end.outputs.of('connect')).toHaveLength(1);
  });

  test.each([10_000, 300])('a connection that does not open within connectTimeoutMs is aborted, once: %i', (ms) => {
    const end = new FollowerEnd({ limits: { connectTimeoutMs: ms } }).start();
    end.passTime(ms - 1);
    expect(end.outputs.of('abort')).toEqual([]);
    end.passTime(50_000);
    expect(end.outputs.of('abort')).toHaveLength(1);
    expect(end.follower.nextTimeout()).toBeUndefined();
    expect(end.open(), 'too late').toEqual([]);
    end.close();
    expect(end.disconnected).toMatchObject({ code: 'CONNECTION_LOST', text: `no connection within ${ms} ms` });
  });

  test.each([1_000, 70])(
    'a primary that does not say who it is within greetingTimeoutMs is asked under the lenient rules: %i',
    (ms) => {
      const end = new FollowerEnd({ limits: { greetingTimeoutMs: ms } });
      end.subscribe('events', 53);
      end.start().open();
      expect(end.passTime(ms - 1)).toEqual([]);
      expect(end.passTime(1)).toEqual(['REPLICATE events 53']);
      expect(end.outputs.of('event')[0]?.event).toEqual({ kind: 'connected', isRowcast: false });
    },
  );

  test('a wrong server is not asked for anything, and the wait before the next try grows', () => {
    const end = new FollowerEnd({ serverName: 'example.com' });
    end.subscribe('events', 0);
    end.start().open();
    expect(end.hear('SERVER other.org', `PING ${ROWCAST}`)).toEqual(['ERROR Wrong remote']);
    end.close();
    expect(end.disconnected.code).toBe('WRONG_SERVER');
  });

  test('a subscription that is added while connected is asked for at once', () => {
    const end = following();
    expect(end.subscribe('typing', 'now')).toEqual(['REPLICATE typing NOW']);
  });

  test('one that is added before the greeting is asked for with the others', () => {
    const end = new FollowerEnd().start();
    end.subscribe('events', 'start');
    end.open();
    expect(end.subscribe('typing', 'now')).toEqual([]);
    expect(end.hear('SERVER example.com', `PING ${ROWCAST}`)).toEqual([
      'REPLICATE events START',
      'REPLICATE typing NOW',
    ]);
  });
});

describe('resuming', () => {
  test('each stream is asked for after its last whole batch; a torn one is dropped and comes again', () => {
    const end = following();
    end.hear('RDATA events 6 "a"', 'RDATA events batch "b"');
    end.reconnect();
    expect(end.hear('SERVER example.com', `PING ${ROWCAST}`)).toEqual([`REPLICATE events 6 ${ERA}`]);
    end.hear('RDATA events batch "b"', 'RDATA events 7 "c"');
    expect(end.takeRows()).toEqual(['events @5 live', 'events 6 ["a"] @6', 'events 7 ["b","c"] @7']);
  });

  test('from now it resumes where the first POSITION said', () => {
    const end = new FollowerEnd();
    end.subscribe('events', 'now');
    expect(end.greetedBy(ROWCAST)).toEqual(['REPLICATE events NOW']);
    end.reconnect();
    expect(end.hear('SERVER example.com', `PING ${ROWCAST}`)).toEqual(['REPLICATE events NOW']);
    end.hear(`POSITION events 9 ${ERA}`);
    end.reconnect();
    expect(end.hear('SERVER example.com', `PING ${ROWCAST}`)).toEqual([`REPLICATE events 9 ${ERA}`]);
  });

  test('toward a lenient primary rows of an unfinished catch-up are asked for again', () => {
    const end = new FollowerEnd();
    end.subscribe('events', 5);
    end.greetedBy(SYNAPSE);
    end.hear('RDATA events 8 "a"');
    end.reconnect();
    expect(end.hear('SERVER example.com', `PING ${SYNAPSE}`)).toEqual(['REPLICATE events 5']);
    end.hear('RDATA events 8 "a"', 'POSITION events 8');
    end.hear('RDATA events 9 "b"', 'PING 1', 'RDATA events 11 "d"');
    end.reconnect();
    expect(end.hear('SERVER example.com', `PING ${SYNAPSE}`), 'a row 10 may have been on its way').toEqual([
      'REPLICATE events 9',
    ]);
    expect(end.takeRows()).toEqual([
      'events 8 ["a"]',
      'events 8 ["a"]',
      'events @8 live',
      'events 9 ["b"]',
      'events @9',
      'events 11 ["d"]',
    ]);
  });

  test('nothing is live until it has caught up on the new connection', () => {
    const end = following();
    expect([end.follower.isLive, end.isLive('events')]).toEqual([true, true]);
    end.close();
    expect([end.follower.isLive, end.follower.isConnected]).toEqual([false, false]);
    end.wait();
    end.open();
    end.hear('SERVER example.com', `PING ${ROWCAST}`);
    expect(end.follower.isLive).toBe(false);
    end.hear(`POSITION events 5 ${ERA}`);
    expect(end.follower.isLive).toBe(true);
    expect(end.takeRows()).toEqual(['events @5 live', 'events @5 live']);
  });
});

describe('the wait before connecting again', () => {
  /** The next so many connections open, greet, and end without a POSITION. */
  const failTimes = (end: FollowerEnd, times: number): number[] =>
    Array.from({ length: times }, () => {
      end.close();
      const { retryInMs } = end.disconnected;
      end.passTime(retryInMs + 1);
      end.open();
      end.hear('SERVER example.com', `PING ${ROWCAST}`);
      return retryInMs;
    });

  test('grows as long as nothing is caught up, a mere greeting is no progress', () => {
    const end = new FollowerEnd();
    end.subscribe('events', 5);
    end.greetedBy(ROWCAST);
    const waits = failTimes(end, 20);
    expect(waits[0]).toBeLessThanOrEqual(200);
    expect(Math.max(...waits)).toBeGreaterThan(5_000);
    expect(Math.max(...waits)).toBeLessThanOrEqual(30_000);
  });

  test('is short again once every subscription is live', () => {
    const end = new FollowerEnd();
    end.subscribe('events', 5);
    end.subscribe('typing', 5);
    end.greetedBy(ROWCAST);
    failTimes(end, 15);
    end.hear(`POSITION events 5 ${ERA}`);
    expect(
      failTimes(end, 20)
        .slice(10)
        .some((wait) => wait > 200),
      'one of two is not all',
    ).toBe(true);
    end.hear(`POSITION events 5 ${ERA}`, `POSITION typing 5 ${ERA}`);
    expect(failTimes(end, 1)[0]).toBeLessThanOrEqual(200);
  });

  test('what was proven is not undone by a stream that is subscribed later', () => {
    const end = new FollowerEnd();
    end.subscribe('events', 5);
    end.greetedBy(ROWCAST);
    failTimes(end, 15);
    end.hear(`POSITION events 5 ${ERA}`);
    end.subscribe('typing', 0);
    expect(failTimes(end, 1)[0]).toBeLessThanOrEqual(200);
  });

  test('is told, and kept', () => {
    const end = following();
    end.close();
    const { retryInMs } = end.disconnected;
    expect(end.follower.nextTimeout()).toBe(end.now + retryInMs);
    end.passTime(retryInMs - 1);
    expect(end.outputs.of('connect')).toHaveLength(1);
    end.passTime(1);
    expect(end.outputs.of('connect')).toHaveLength(2);
  });

  test('differs between workers, so that they do not come back all at once', () => {
    const waits = [1, 2, 3, 4].map((seed) => {
      const end = following({ seed });
      end.close();
      return end.disconnected.retryInMs;
    });
    expect(new Set(waits).size).toBe(4);
  });
});

describe('why a connection ended', () => {
  test.each([
    ['our own reason', (end: FollowerEnd) => end.hear('FOO'), undefined, 'UNKNOWN_COMMAND', 'invalid command: FOO'],
    [
      'what the primary said',
      (end: FollowerEnd) => end.hear('ERROR server stopping'),
      undefined,
      'PEER_ERROR',
      'the primary ended the connection: server stopping',
    ],
    [
      'what the network said',
      () => [],
      new ConnectionError('CONNECTION_LOST', 'reset by peer'),
      'CONNECTION_LOST',
      'reset by peer',
    ],
    ['another error', () => [], new Error('tls'), 'CONNECTION_LOST', 'tls'],
    ['nothing', () => [], undefined, 'CONNECTION_LOST', 'the primary ended the connection'],
  ] as const)('%s', (_what, happen, error, code, text) => {
    const end = following();
    happen(end);
    end.close(error);
    expect(end.disconnected).toMatchObject({ code, text });
    end.wait();
    end.close();
    expect(end.disconnected, 'the reason of one connection is not that of the next').toMatchObject({
      text: 'the primary ended the connection',
    });
  });

  test('an ERROR is reported, and the connection lives on unless the primary closes it', () => {
    const end = following();
    end.hear('ERROR careful', 'RDATA events 6 1');
    expect(end.outputs.of('event').at(-1)?.event).toEqual({ kind: 'peer-error', text: 'careful' });
    expect(end.takeRows()).toEqual(['events @5 live', 'events 6 [1] @6']);
  });

  test('SYNC is told', () => {
    const end = following();
    end.hear('SYNC round 7');
    expect(end.outputs.of('event').at(-1)?.event).toEqual({ kind: 'sync', text: 'round 7' });
  });
});

test('a Rowcast primary that is always late is given more time, not asked the same for ever', () => {
  const end = new FollowerEnd();
  end.subscribe('events', 'now');
  end.start();
  let asked: string[] = [];
  for (let i = 0; i < 10 && !asked.includes('REPLICATE events NOW'); i++) {
    end.open();
    end.passTime(3_000);
    asked = end.hear('SERVER example.com', `PING ${ROWCAST}`);
    if (asked.length === 0) {
      end.close();
      expect(end.disconnected.text).toBe('connecting again: the primary said late who it is');
      end.wait();
    }
  }
  expect(asked).toEqual(['REPLICATE events NOW']);
  expect(end.outputs.of('connect')).toHaveLength(3);
});

test('more time than idleTimeoutMs is of no use', () => {
  const end = new FollowerEnd();
  end.subscribeAll('now');
  end.start();
  for (let i = 0; i < 8; i++) {
    end.open();
    end.hear('SERVER example.com');
    end.passTime(14_999);
    end.hear(`PING ${ROWCAST}`);
    end.close();
    end.wait();
  }
  end.open();
  end.hear('SERVER example.com');
  end.passTime(14_000);
  expect(end.follower.isConnected).toBe(false);
});

describe('back-pressure', () => {
  const row = (token: number): string => `RDATA events ${token} "${'x'.repeat(400)}"`;
  const limits = { maxQueuedBytes: 1_000 };
  /** Live, and what comes from now on waits for its handlers. */
  const held = (options: FollowerEndOptions): FollowerEnd => {
    const end = following(options);
    end.isApplying = false;
    return end;
  };

  test('over maxQueuedBytes it stops reading; under half of it it goes on', () => {
    const end = held({ limits });
    end.hear(row(6), row(7), row(8), row(9), row(10));
    expect(end.subscription('events').next).toEqual(at('events', 8));
    expect(end.outputs.of('pause')).toHaveLength(1);
    end.apply(1);
    expect(end.outputs.of('resume')).toEqual([]);
    end.apply(1);
    expect(end.outputs.of('resume')).toHaveLength(1);
    expect(end.subscription('events').next).toEqual(at('events', 10));
    end.apply();
    expect(end.batches.map(({ token }) => token)).toEqual([6, 7, 8, 9, 10]);
  });

  test('while it does not read, PING goes on and the primary is not given up', () => {
    const end = held({ limits });
    end.hear(row(6), row(7), row(8));
    expect(end.passTime(60_000)).toHaveLength(12);
    expect(end.outputs.of('close')).toEqual([]);
  });

  test('it outlives the connection: the next one is held back, and the greeting that waits is not taken for late', () => {
    const end = held({ limits });
    end.hear(row(6), row(7), row(8));
    end.close();
    end.wait();
    end.open();
    expect(end.outputs.story.filter((kind) => kind === 'pause')).toHaveLength(2);
    end.hear('SERVER example.com', `PING ${ROWCAST}`);
    end.passTime(3_000);
    expect(end.apply()).toEqual([`REPLICATE events 8 ${ERA}`]);
    expect(end.outputs.of('event').at(-1)?.event).toEqual({ kind: 'connected', isRowcast: true });
  });

  test('what is applied while it is disconnected lets the next connection run', () => {
    const end = held({ limits });
    end.hear(row(6), row(7), row(8));
    end.close();
    end.apply();
    end.wait();
    end.open();
    expect(end.outputs.story.filter((kind) => kind === 'pause')).toHaveLength(1);
    expect(end.hear('SERVER example.com', `PING ${ROWCAST}`)).toEqual([`REPLICATE events 8 ${ERA}`]);
  });

  describe('a stream that must be read within a time', () => {
    const urgent = (streams: Readonly<Record<string, number>>): FollowerEnd => {
      const end = new FollowerEnd({ limits });
      end.subscribe('events', at('events', 5));
      end.greetedBy(ROWCAST);
      end.hear(`POSITION events 5 ${ERA}`);
      for (const [stream, readWithinMs] of Object.entries(streams)) {
        end.subscribe(stream, 'now', 'now', { readWithinMs });
        end.hear(`POSITION ${stream} 3 ${MEMORY}`);
      }
      end.isApplying = false;
      end.hear(row(6), row(7), row(8));
      return end;
    };

    test('gives the connection up when slow handlers hold it up for longer, and resumes when they are through', () => {
      const end = urgent({ typing: 15_000 });
      end.passTime(14_999);
      expect(end.outputs.of('close')).toEqual([]);
      end.passTime(1);
      expect(end.outputs.of('close')).toHaveLength(1);
      expect(end.passTime(1_000), 'the end is awaited, not asked for again').toEqual([]);
      end.close();
      expect(end.disconnected).toMatchObject({
        code: 'CONNECTION_LOST',
        text: 'connecting again: slow handlers held stream typing up for 15000 ms, more than it may be late unnoticed',
      });
      expect(end.isLive('typing')).toBe(false);
      end.wait();
      end.open();
      end.hear('SERVER example.com', `PING ${ROWCAST}`);
      end.passTime(60_000);
      expect(end.outputs.of('close'), 'on a connection that was never read nothing is live').toHaveLength(1);
      expect(end.apply()).toEqual([`REPLICATE events 8 ${ERA}`, `REPLICATE typing 3 ${MEMORY}`]);
      end.isApplying = true;
      end.hear(`POSITION events 8 ${ERA}`, `POSITION typing 3 ${MEMORY}`);
      expect(end.isLive('typing')).toBe(true);
    });

    test('is held up by many handlers in turn as by one: time runs until a read has emptied the socket', () => {
      const end = urgent({ typing: 15_000 });
      let token = 9;
      const more = (lines: number): Buffer => bytesOf(...Array.from({ length: lines }, () => row(token++)));
      for (let s = 0; s < 5; s++) {
        end.passTime(2_900);
        end.apply();
        end.hearBytes(more(200));
      }
      expect(more(200).length, 'a full read').toBeGreaterThan(64 * 1024);
      expect(end.outputs.of('close')).toEqual([]);
      end.passTime(600);
      expect(end.outputs.of('close')).toHaveLength(1);
    });

    test('does not count what an earlier connection left unread', () => {
      const end = urgent({ typing: 15_000 });
      end.passTime(14_000);
      end.close();
      end.apply();
      end.wait();
      end.open();
      // One full read: the greeting, and more rows than may wait.
      const rows = Array.from({ length: 200 }, (_, i) => row(i + 9));
      end.hear(
        'SERVER example.com',
        `PING ${ROWCAST}`,
        `POSITION events 8 ${ERA}`,
        `POSITION typing 3 ${MEMORY}`,
        ...rows,
      );
      end.apply(2);
      end.passTime(14_000);
      expect(end.outputs.of('close')).toEqual([]);
      end.passTime(1_000);
      expect(end.outputs.of('close')).toHaveLength(1);
    });

    test('is no matter when handlers are through before', () => {
      const end = urgent({ typing: 15_000 });
      end.passTime(14_000);
      end.apply();
      for (let s = 0; s < 10; s++) {
        end.passTime(1_000);
        end.hear('PING 1');
      }
      expect(end.outputs.of('close')).toEqual([]);
    });

    test('is the one with the shortest time, where there are several', () => {
      const end = urgent({ typing: 15_000, caches: 2_000 });
      end.passTime(2_000);
      expect(end.outputs.of('close')).toHaveLength(1);
      end.close();
      expect(end.disconnected.text).toContain('held stream caches up for 2000 ms');
    });
  });

  test('rows of streams that nobody wants any more do not count', () => {
    const end = held({ limits });
    end.unsubscribe('events');
    end.hear(row(6), row(7), row(8), row(9));
    expect(end.outputs.of('pause')).toEqual([]);
  });
});

describe('commands', () => {
  const ack = (token: number) => ({ name: 'FEDERATION_ACK', token }) as const;

  test('are sent at once while connected', () => {
    const end = following();
    end.follower.handleSend(end.now, ack(1));
    expect(end.drain()).toEqual(['FEDERATION_ACK 1']);
  });

  test('wait for a connection that takes them', () => {
    const end = new FollowerEnd();
    end.follower.handleSend(end.now, ack(1));
    end.start().open();
    end.follower.handleSend(end.now, ack(2));
    expect(end.drain()).toEqual([]);
    expect(end.hear('SERVER example.com', `PING ${ROWCAST}`)).toEqual(['FEDERATION_ACK 1', 'FEDERATION_ACK 2']);
  });

  test('wait for the next connection while this one is ending', () => {
    const end = following();
    end.hear('FOO');
    end.follower.handleSend(end.now, ack(1));
    expect(end.drain()).toEqual([]);
    end.reconnect();
    expect(end.hear('SERVER example.com', `PING ${ROWCAST}`)).toEqual([
      `REPLICATE events 5 ${ERA}`,
      'FEDERATION_ACK 1',
    ]);
  });

  test('wait while the socket is full', () => {
    const end = following();
    end.isWriting = false;
    end.follower.handleSend(end.now, ack(1));
    end.drain();
    end.follower.handleSend(end.now, ack(2));
    expect(end.drain()).toEqual([]);
    end.isWriting = true;
    end.follower.handleDrained(end.now);
    expect(end.drain()).toEqual(['FEDERATION_ACK 2']);
  });

  test('a socket that was full does not hold up the next connection', () => {
    const end = following();
    end.follower.handleBlocked(end.now, 1);
    end.follower.handleSend(end.now, ack(1));
    end.reconnect();
    expect(end.hear('SERVER example.com', `PING ${ROWCAST}`)).toContain('FEDERATION_ACK 1');
  });

  test('at most maxQueuedCommands wait; the oldest is dropped and told', () => {
    const end = new FollowerEnd({ limits: { maxQueuedCommands: 3 } });
    for (let i = 1; i <= 5; i++) end.follower.handleSend(end.now, ack(i));
    end.drain();
    expect(end.outputs.of('event').map(({ event }) => event)).toEqual([
      { kind: 'command-dropped', line: 'FEDERATION_ACK 1' },
      { kind: 'command-dropped', line: 'FEDERATION_ACK 2' },
    ]);
    expect(end.greetedBy(ROWCAST)).toEqual(['FEDERATION_ACK 3', 'FEDERATION_ACK 4', 'FEDERATION_ACK 5']);
  });

  test('one that does not fit on a line is refused at once', () => {
    const end = new FollowerEnd({ limits: { maxLineBytes: 100 } });
    expect(() => end.follower.handleSend(end.now, { name: 'SYNC', text: 'a\nREPLICATE ALL 0' })).toThrow(UsageError);
    expect(() => end.follower.handleSend(end.now, { name: 'SYNC', text: 'é'.repeat(48) })).toThrow(
      /^SYNC makes a line over maxLineBytes 100/,
    );
    end.follower.handleSend(end.now, { name: 'SYNC', text: 'x'.repeat(95) });
    expect(end.greetedBy(ROWCAST)).toEqual([`SYNC ${'x'.repeat(95)}`]);
  });
});

describe('stopping', () => {
  test('ends the connection in good order, then says that it stopped', () => {
    const end = following();
    end.follower.handleStop(end.now);
    end.follower.handleStop(end.now);
    end.drain();
    expect(end.outputs.of('close')).toHaveLength(1);
    expect(end.follower.isStopped).toBe(false);
    end.hear('RDATA events 6 1');
    expect(end.subscribe('typing', 0)).toEqual([]);
    end.close();
    expect(end.follower.isStopped).toBe(true);
    expect(end.outputs.of('event').at(-1)?.event).toEqual({ kind: 'stopped' });
    expect(end.takeRows()).toEqual(['events @5 live']);
  });

  test('a connection that does not end is aborted after 1 s', () => {
    const end = following();
    end.follower.handleStop(end.now);
    end.passTime(999);
    expect(end.outputs.of('abort')).toEqual([]);
    end.passTime(60_000);
    expect(end.outputs.of('abort')).toHaveLength(1);
    expect(end.follower.nextTimeout()).toBeUndefined();
  });

  test('while connecting it aborts, and a connection that opens all the same is not used', () => {
    const end = new FollowerEnd().start();
    end.follower.handleStop(end.now);
    end.drain();
    expect(end.outputs.of('abort')).toHaveLength(1);
    expect(end.open()).toEqual([]);
    end.close();
    expect(end.follower.isStopped).toBe(true);
  });

  test('after a connect that timed out it does not abort twice', () => {
    const end = new FollowerEnd().start();
    end.passTime(10_000);
    end.follower.handleStop(end.now);
    end.drain();
    expect(end.outputs.of('abort')).toHaveLength(1);
  });

  test.each([
    ['before it started', () => new FollowerEnd()],
    [
      'while it waits to connect again',
      () => {
        const end = following();
        end.close();
        return end;
      },
    ],
  ] as const)('%s it is stopped at once', (_when, make) => {
    const end = make();
    end.follower.handleStop(end.now);
    end.drain();
    expect(end.follower.isStopped).toBe(true);
    expect(end.follower.nextTimeout()).toBeUndefined();
  });

  test('afterwards nothing happens, whatever still comes in', () => {
    const end = following();
    end.hear('RDATA events 6 1');
    end.follower.handleStop(end.now);
    end.drain();
    end.close();
    const told = end.outputs.all.length;
    end.start();
    end.open();
    end.hear('RDATA events 7 1');
    end.follower.handleApplied(end.now, end.subscription('events'), 10);
    end.follower.handleDrained(end.now);
    end.close();
    end.follower.handleSend(end.now, { name: 'FEDERATION_ACK', token: 1 });
    end.passTime(60_000);
    expect(end.outputs.all).toHaveLength(told);
    expect(end.follower.isStopped).toBe(true);
  });

  test('while it is paused, too', () => {
    const end = following({ limits: { maxQueuedBytes: 300 } });
    end.isApplying = false;
    end.hear(`RDATA events 6 "${'x'.repeat(400)}"`, 'RDATA events 7 1');
    end.follower.handleStop(end.now);
    end.drain();
    expect(end.outputs.story.filter((kind) => kind !== 'ready').slice(-3)).toEqual([
      'pause',
      'APPLIED events 5 NONE',
      'close',
    ]);
    end.apply();
    expect(end.outputs.of('resume')).toEqual([]);
  });
});
