import { describe, expect, test } from 'vitest';

import { UsageError } from '../core/model/errors.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { Held, LogHolders } from '../log/log.ts';
import { Acknowledgements, type AcknowledgingSession, MAX_NAMES_PER_CONNECTION } from './acknowledgements.ts';

class FakeSession implements AcknowledgingSession {
  isRowcast = true;
  /** The streams, and what was saved of each. */
  readonly streams = new Map<StreamName, Token | undefined>();

  get replicated(): Iterable<StreamName> {
    return this.streams.keys();
  }

  isReplicating(stream: StreamName): boolean {
    return this.streams.has(stream);
  }

  acknowledged(stream: StreamName): Token | undefined {
    return this.streams.get(stream);
  }
}

/** Acknowledgements over a log that writes down what it is told. */
class Told {
  readonly told: string[] = [];
  readonly refused: string[] = [];
  answer: () => Held = () => 'holds';
  readonly #holders: LogHolders = {
    hold: (stream, worker, after) => this.#tell(`${worker} asks for ${stream} after ${after}`),
    acknowledge: (stream, worker, saved) => this.#tell(`${worker} has saved ${stream} up to ${saved}`),
    of: () => [],
    count: () => 0,
    forget: async () => [],
  };
  readonly machine = new Acknowledgements<FakeSession>({
    sessionOf: (session) => session,
    holdersOf: (stream) => (stream === 'free' ? undefined : this.#holders),
    onRefused: (_, error) => this.refused.push(`${error.code} ${error.message}`),
  });

  take(): string[] {
    return this.told.splice(0);
  }

  connect(name: string): FakeSession {
    const session = new FakeSession();
    this.machine.handleNamed(session, name);
    return session;
  }

  ask(session: FakeSession, from: Token | 'START' | 'NOW', stream = 'events'): void {
    session.streams.set(stream, undefined);
    this.machine.handleSubscribed(session, stream, from);
  }

  save(session: FakeSession, saved: Token, stream = 'events'): void {
    session.streams.set(stream, saved);
    this.machine.handleAcknowledged(session, stream);
  }

  close(session: FakeSession): void {
    session.streams.clear();
    this.machine.handleClosed(session);
  }

  #tell(what: string): Held {
    this.told.push(what);
    return this.answer();
  }
}

test('what a worker asks for and what it has saved is told to the log of a stream that has holders', () => {
  const end = new Told();
  const reader = end.connect('reader-1');
  end.ask(reader, 5);
  end.ask(reader, 'START', 'others');
  end.ask(reader, 'NOW', 'more');
  end.ask(reader, 5, 'free');
  end.save(reader, 7);
  end.save(reader, 7, 'free');
  expect(end.take()).toEqual([
    'reader-1 asks for events after 5',
    'reader-1 asks for others after undefined',
    `reader-1 asks for more after ${Number.MAX_SAFE_INTEGER}`,
    'reader-1 has saved events up to 7',
  ]);
  expect(end.machine.isFollowing('reader-1', 'events')).toBe(true);
  end.close(reader);
  expect(end.machine.isFollowing('reader-1', 'events')).toBe(false);
});

// SPEC K6
test('a connection without a name, or one that never says what it has saved, holds nothing', () => {
  const end = new Told();
  const nameless = new FakeSession();
  end.ask(nameless, 'START');
  end.save(nameless, 5);
  const person = end.connect('reader-1');
  person.isRowcast = false;
  end.ask(person, 'START');
  expect(end.take()).toEqual([]);
  // It holds no other connection of its name back either.
  const reader = end.connect('reader-1');
  end.ask(reader, 5);
  end.save(reader, 6);
  expect(end.take()).toEqual(['reader-1 asks for events after 5', 'reader-1 has saved events up to 6']);
});

describe('of several connections of one name', () => {
  test('the one that has saved least counts, and one that has told nothing frees no row', () => {
    const end = new Told();
    const [first, second] = [end.connect('reader-1'), end.connect('reader-1')];
    end.ask(first, 5);
    end.save(first, 10);
    end.ask(second, 5);
    expect(end.take().at(-1)).toBe('reader-1 asks for events after 5');
    end.save(first, 20);
    expect(end.take()).toEqual([]);
    end.save(second, 7);
    end.save(second, 30);
    expect(end.take()).toEqual(['reader-1 has saved events up to 7', 'reader-1 has saved events up to 20']);
  });

  test('the end of the one that is behind frees what the others have saved', () => {
    const end = new Told();
    const [first, second] = [end.connect('reader-1'), end.connect('reader-1')];
    end.ask(first, 5);
    end.ask(second, 5);
    end.ask(second, 5, 'others');
    end.save(second, 10);
    expect(end.take().slice(3)).toEqual([]);
    end.close(first);
    expect(end.take()).toEqual(['reader-1 has saved events up to 10']);
    end.close(second);
    expect(end.take()).toEqual([]);
  });
});

test('a worker that is renamed counts for its new name with what it follows, and its old name stays as it was', () => {
  const end = new Told();
  const reader = end.connect('reader-1');
  end.ask(reader, 5);
  end.save(reader, 7);
  end.ask(reader, 5, 'others');
  end.take();
  end.machine.handleNamed(reader, 'reader-1');
  expect(end.take()).toEqual([]);
  end.machine.handleNamed(reader, 'reader-2');
  expect(end.take()).toEqual(['reader-2 asks for events after 7', 'reader-2 asks for others after undefined']);
  end.save(reader, 8);
  expect(end.take()).toEqual(['reader-2 has saved events up to 8']);
});

test('those who follow a stream before it is made hold its first rows', () => {
  const end = new Told();
  const [reader, other] = [end.connect('reader-1'), end.connect('other')];
  end.ask(reader, 0);
  end.take();
  end.machine.handleMade('events');
  end.machine.handleMade('free');
  expect(end.take()).toEqual(['reader-1 asks for events after undefined']);
  expect(other.streams.size).toBe(0);
});

test('a worker that is one too many is told once it asks, and not each time it saves', () => {
  const end = new Told();
  end.answer = () => 'refused';
  const reader = end.connect('reader-1');
  end.ask(reader, 5);
  end.save(reader, 7);
  expect(end.refused).toEqual([expect.stringMatching(/^HOLDER_REFUSED worker reader-1 .* as many holders/)]);
});

test('a log that fails is told of, and ends no connection', () => {
  const end = new Told();
  end.answer = () => {
    throw new UsageError('CLOSED', 'the log is closed');
  };
  const reader = end.connect('reader-1');
  end.ask(reader, 5);
  expect(end.refused).toEqual(['CLOSED the log is closed']);
  end.answer = () => {
    throw new TypeError('a bug');
  };
  expect(() => end.save(reader, 7)).toThrow('a bug');
});

test('the end of one of very many connections of a name costs each stream once', () => {
  const all = new Told();
  const sessions = Array.from({ length: 100 }, () => all.connect('reader'));
  for (const session of sessions) for (let i = 0; i < 1_000; i++) session.streams.set(`room:${i}`, 1);
  all.take();
  const gone = sessions.pop()!;
  all.machine.handleClosed(gone);
  expect(all.take()).toHaveLength(1_000);
});

test('a connection that takes name after name holds rows by the first few alone', () => {
  const end = new Told();
  const peer = end.connect('reader-1');
  for (let i = 0; i < 1_000; i++) end.ask(peer, 5, `room:${i}`);
  for (let name = 2; name <= 1_000; name++) end.machine.handleNamed(peer, `reader-${name}`);
  expect(end.take()).toHaveLength(MAX_NAMES_PER_CONNECTION * 1_000);
  expect(end.refused).toEqual([expect.stringContaining('HOLDER_REFUSED worker reader-5')]);
  end.ask(peer, 5);
  expect(end.take()).toEqual([]);
  end.close(peer);
  end.ask(end.connect('reader-5'), 5);
  expect(end.take()).toEqual(['reader-5 asks for events after 5']);
});
