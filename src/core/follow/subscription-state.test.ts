import { describe, expect, test } from 'vitest';
import { at, ERA, MEMORY } from '../../../test/support/worker-ends.ts';
import { seededRandom } from '../../base/random.ts';
import { PeerError } from '../model/errors.ts';
import type { PrimaryEras } from '../wire/greeting.ts';
import { defaultWorkerLimits } from '../wire/limits.ts';
import { Backoff } from './backoff.ts';
import { UnfinishedRows } from './row-cost.ts';
import { Subscription, type SubscriptionHost } from './subscription.ts';
import type { SubscriptionSpec } from './subscription-spec.ts';
import {
  isWanted,
  type SubscriptionInput,
  type SubscriptionState,
  subscriptionTransitions,
} from './subscription-state.ts';

type Kind = SubscriptionState['kind'];

const LINE = { text: '1', start: 0, end: 1 };

/** What a subscription needs around it, and no more. */
class Host implements SubscriptionHost {
  eras: PrimaryEras | undefined = { durable: ERA, volatile: MEMORY, others: [] };
  readonly unfinished = new UnfinishedRows(1_000);
  readonly tally = { wanted: 0, live: 0, applied: 0 };
  send(): void {}
  notify(): void {}
  handleQueued(): void {}
  noteMoved(): void {}
  handleEnded(): void {}
  handleDeleted(): void {}
  handleUrgent(): void {}
  makeBackoff(): Backoff {
    return new Backoff(defaultWorkerLimits, seededRandom(1));
  }
}

interface Machine {
  readonly host: Host;
  readonly subscription: Subscription;
}

function make(spec: Partial<SubscriptionSpec> = {}): Machine {
  const host = new Host();
  const subscription = new Subscription(
    { stream: 'events', from: at('events', 5), onReset: 'earliest', ...spec },
    host,
  );
  return { host, subscription };
}

/** How a subscription comes into each state. */
const reach: Readonly<Record<Kind, (spec?: Partial<SubscriptionSpec>) => Machine>> = {
  idle: make,
  'beside-all': (spec) => {
    const machine = make(spec);
    machine.host.eras = undefined;
    machine.subscription.askBesideAll();
    return machine;
  },
  asked: (spec) => {
    const machine = make(spec);
    machine.subscription.ask();
    return machine;
  },
  'catching-up': (spec) => {
    const machine = reach.asked(spec);
    machine.subscription.handleRow(6, 1, LINE);
    return machine;
  },
  live: (spec) => {
    const machine = reach.asked(spec);
    machine.subscription.handlePosition(5, ERA);
    return machine;
  },
  releasing: (spec) => {
    const machine = reach.live(spec);
    machine.subscription.askAgain('start');
    return machine;
  },
  ahead: (spec) => {
    const machine = reach.asked(spec);
    machine.subscription.handleRefused(0, 'AHEAD', {});
    return machine;
  },
  absent: (spec) => {
    const machine = reach.asked({ ...spec, pattern: '**' });
    machine.subscription.handleRefused(0, 'UNKNOWN_STREAM', {});
    return machine;
  },
  ended: (spec) => {
    const machine = make(spec);
    machine.subscription.end();
    return machine;
  },
};

/** What makes each input come in; `after` are the inputs that follow from it at once. */
const inputs: Readonly<
  Record<
    SubscriptionInput,
    {
      readonly happen: (machine: Machine) => void;
      readonly after?: readonly SubscriptionInput[];
      readonly spec?: Partial<SubscriptionSpec>;
    }
  >
> = {
  ask: { happen: ({ subscription }) => subscription.ask() },
  'ask-beside-all': { happen: ({ subscription }) => subscription.askBesideAll() },
  rows: { happen: ({ subscription }) => subscription.handleRow(7, 1, LINE) },
  position: {
    happen: ({ host, subscription }) => {
      if (host.eras === undefined) subscription.seed.handlePosition(9);
      else subscription.handlePosition(9, ERA);
    },
    spec: { from: 'now' },
  },
  rewound: {
    happen: ({ host, subscription }) => {
      host.eras = undefined;
      subscription.seed.handleFarBehind(new PeerError('TOO_FAR_BEHIND', 'too far behind'));
    },
    spec: { onReset: 'now' },
  },
  refused: { happen: ({ subscription }) => subscription.handleRefused(0, 'RESET', {}), after: ['ask'] },
  wait: { happen: ({ subscription }) => subscription.handleRefused(0, 'UNAVAILABLE', {}) },
  'not-there': {
    happen: ({ subscription }) => subscription.handleRefused(0, 'UNKNOWN_STREAM', {}),
    spec: { pattern: '**' },
  },
  release: { happen: ({ subscription }) => subscription.release() },
  'ask-again': { happen: ({ subscription }) => subscription.askAgain('start') },
  released: { happen: ({ subscription }) => subscription.handleReleased() },
  freed: {
    happen: ({ subscription }) => {
      const { state } = subscription;
      if (state.kind === 'releasing' && state.next !== undefined) subscription.release();
      for (let left = subscription.pendingReleases; left > 1; left--) subscription.handleReleased();
      subscription.handleReleased();
    },
  },
  cut: { happen: ({ subscription }) => subscription.handleCut() },
  end: { happen: ({ subscription }) => subscription.end() },
};

const cells = (Object.keys(reach) as Kind[]).flatMap((from) =>
  (Object.keys(inputs) as SubscriptionInput[]).map(
    (input) => [from, input, subscriptionTransitions[from][input]] as const,
  ),
);

/**
 * Idle becomes releasing only when the stream was left on this connection before: the constructor
 * does it.
 */
const ofTheConstructor = cells.filter(([from, input]) => from === 'idle' && input === 'ask-again');

describe('what the table says, the machine does', () => {
  test.each(
    cells.filter(([, , to]) => to !== 'fault' && to !== 'never').filter((cell) => !ofTheConstructor.includes(cell)),
  )('%s, %s: %s', (from, input, to) => {
    const { happen, after = [], spec } = inputs[input];
    // Rows must be able to come: from now on, nothing does before HISTORY or POSITION.
    const isFromNow = spec?.from === 'now' && (from === 'asked' || from === 'beside-all' || from === 'idle');
    const machine = reach[from]({ ...spec, ...(!isFromNow && { from: at('events', 5) }) });
    expect(machine.subscription.state.kind).toBe(from);
    happen(machine);
    let expected = to as Kind;
    // A refusal of old, while it is released, leads to no new request.
    if (expected === 'idle') for (const next of after) expected = subscriptionTransitions[expected][next] as Kind;
    expect(machine.subscription.state.kind).toBe(expected);
    const { tally } = machine.host;
    expect(tally, 'the tally counts it').toEqual({
      wanted: Number(isWanted(machine.subscription.state)),
      live: Number(expected === 'live'),
      applied: 0,
    });
  });

  test.each(cells.filter(([, , to]) => to === 'fault'))('%s, %s: the primary broke the protocol', (from, input) => {
    const machine = reach[from]();
    expect(() => inputs[input].happen(machine)).toThrow(
      expect.objectContaining({ name: 'PeerError', code: 'UNEXPECTED_COMMAND', facts: { stream: 'events' } }),
    );
    expect(machine.subscription.state.kind).toBe(from);
  });

  test('a stream that was left on this connection, and is wanted again, begins as releasing', () => {
    const host = new Host();
    const again = new Subscription({ stream: 'events', from: 'start', onReset: 'fail' }, host, 2);
    expect(again.state).toEqual({ kind: 'releasing', pending: 2, next: 'start' });
    expect(host.tally).toEqual({ wanted: 1, live: 0, applied: 0 });
  });

  // SPEC E4
  test('every cell is one of the two, or never comes', () => {
    const never = cells.filter(([, , to]) => to === 'never').map(([from, input]) => `${from}: ${input}`);
    // No primary can bring about what only this side does: ask, ask beside ALL, ask again, rewind.
    // Beside ALL there is no Rowcast primary, and so none of its lines.
    for (const cell of never) {
      expect(cell).toMatch(/: (ask|ask-beside-all|ask-again|rewound)$|^beside-all: /);
    }
  });
});
