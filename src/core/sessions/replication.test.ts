import { describe, expect, test } from 'vitest';
import { era, MemoryStream, MemoryStreams } from '../../../test/support/memory-streams.ts';
import { PrimaryEnd } from '../../../test/support/primary-end.ts';
import { LogError } from '../model/errors.ts';
import { Replication, type ReplicationInput, type ReplicationState, replicationTransitions } from './replication.ts';

type Kind = ReplicationState['kind'];

/**
 * A session whose stream `events` is in this state, and whose log answers when the test says so.
 */
const enter: Record<Kind, () => PrimaryEnd> = {
  idle: () => {
    const streams = new MemoryStreams('events');
    for (let i = 1; i <= 4; i++) streams.append('events', i);
    const end = PrimaryEnd.rowcast({ streams, limits: { pageBytes: 1 } });
    end.isJudging = false;
    end.isReading = false;
    return end;
  },
  judging: () => hearing(`REPLICATE events 1 ${era(1)}`),
  starting: () => hearing('REPLICATE events START'),
  'catching-up': () => {
    const end = hearing(`REPLICATE events 1 ${era(1)}`);
    end.judged();
    return end;
  },
  live: () => hearing('REPLICATE events NOW'),
};

function hearing(line: string): PrimaryEnd {
  const end = enter.idle();
  end.hear(line);
  return end;
}

function pageTo(end: PrimaryEnd, upTo: 'one batch' | 'the end'): void {
  if (end.stateOf('events') === 'live') for (let i = 0; i < 2; i++) end.append('events', 'new');
  const { after } = end.outputs.of('read').at(-1)!;
  end.answer(end.streams.get('events')!.read(after, upTo === 'one batch' ? 1 : Infinity));
}

/** What makes each input in a session. */
const give: Record<ReplicationInput, (end: PrimaryEnd, from: Kind) => void> = {
  replicate: (end) => void end.hear(`REPLICATE events 2 ${era(1)}`),
  start: (end) => void end.hear('REPLICATE events START'),
  now: (end) => void end.hear('REPLICATE events NOW'),
  on: (end) => void end.judged({ verdict: 'on' }),
  page: (end) => pageTo(end, 'one batch'),
  'caught-up': (end) => pageTo(end, 'the end'),
  rebased: (end) => {
    end.session.handleRebased(end.now, 'events');
    end.drain();
  },
  refused: (end, from) => {
    if (from === 'idle') end.hear('REPLICATE nosuch START');
    else if (from === 'judging') end.judged({ verdict: 'reset' });
    else {
      if (from === 'live') end.append('events', 'new');
      end.failRead(new LogError('LOG_UNAVAILABLE', 'a disk has gone'));
    }
  },
  release: (end) => void end.hear('RELEASE events'),
};

/** What status calls the states. */
const told: Record<Kind, string | undefined> = {
  idle: undefined,
  judging: 'judging',
  starting: 'catching-up',
  'catching-up': 'catching-up',
  live: 'live',
};

const kinds = Object.keys(replicationTransitions) as Kind[];
const cells = kinds.flatMap((from) =>
  (Object.keys(replicationTransitions[from]) as ReplicationInput[]).map(
    (input) => ({ from, input, to: replicationTransitions[from][input] }) as const,
  ),
);
const leading = cells.flatMap(({ from, input, to }) => (to === 'fault' || to === 'never' ? [] : [{ from, input, to }]));

describe('a session does what the table says', () => {
  test.each(kinds)('a stream can be %s', (kind) => {
    expect(enter[kind]().stateOf('events')).toBe(told[kind]);
  });

  test.each(leading)('$from: $input leads to $to', ({ from, input, to }) => {
    const end = enter[from]();
    give[input](end, from);
    expect(end.stateOf('events')).toBe(told[to]);
    expect(end.isClosing).toBe(false);
  });

  test.each(cells.filter(({ to }) => to === 'fault'))('$from: $input is a fault', ({ from, input }) => {
    const end = enter[from]();
    give[input](end, from);
    expect(end.outputs.story.slice(-3)).toEqual([
      'event',
      'ERROR stream events is replicated already: RELEASE it first',
      'close',
    ]);
    expect(end.outputs.of('close')[0]?.reason).toMatchObject({ name: 'PeerError', code: 'UNEXPECTED_COMMAND' });
    expect(end.stateOf('events'), 'it is what it was').toBe(told[from]);
  });

  test('every REPLICATE over a running replication is a fault, and nothing else is', () => {
    const asking: ReplicationInput[] = ['replicate', 'start', 'now'];
    for (const { from, input, to } of cells) expect(to === 'fault').toBe(from !== 'idle' && asking.includes(input));
  });
});

describe('a replication', () => {
  const sent = { began: 1, token: 2, named: undefined };
  const states: Record<Kind, ReplicationState> = {
    idle: { kind: 'idle' },
    judging: { kind: 'judging', position: { stream: 'events', token: 1, history: undefined } },
    starting: { kind: 'starting' },
    'catching-up': { kind: 'catching-up', sent },
    live: { kind: 'live', sent, rows: 0 },
  };

  test.each(cells.filter(({ to }) => to === 'never'))('$from: $input would be a bug of ours', ({ from, input }) => {
    const replication = new Replication(new MemoryStream('events', {}));
    replication.state = states[from];
    for (const to of Object.values(states)) expect(() => replication.move(input, to)).toThrow(/Bug in Rowcast/);
    expect(replication.state).toBe(states[from]);
  });

  test.each(leading)('$from: $input leads nowhere but to $to', ({ from, input, to }) => {
    for (const kind of kinds) {
      const replication = new Replication(new MemoryStream('events', {}));
      replication.state = states[from];
      if (kind === to) replication.move(input, states[kind]);
      else expect(() => replication.move(input, states[kind])).toThrow(/Bug in Rowcast/);
      expect(replication.state).toBe(states[kind === to ? to : from]);
    }
  });

  test('has sent something only from when it catches up', () => {
    const replication = new Replication(new MemoryStream('events', {}));
    for (const kind of kinds) {
      replication.state = states[kind];
      expect(replication.sent).toBe(kind === 'catching-up' || kind === 'live' ? sent : undefined);
      expect(replication.isLive).toBe(kind === 'live');
    }
  });
});
