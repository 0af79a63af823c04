/**
 * Whatever a primary sends, a worker's session and its follower never throw, send ERROR at most
 * once, and send nothing after it. fast-check prints the seed of a failure.
 */

import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { anyBytes, anyPieces, cutAt } from '../support/any-bytes.ts';
import {
  at,
  ERA,
  era,
  FollowerEnd,
  type FollowerEndOptions,
  memoryEra,
  MEMORY,
  ORIGIN,
  ROWCAST,
  rowcast,
  SYNAPSE,
  WorkerEnd,
} from '../support/worker-ends.ts';

const RUNS = { numRuns: 1_000 };
const limits = { maxLineBytes: 64, maxBatchBytes: 200, maxQueuedBytes: 100 };

/** What happens between two pieces of bytes. */
type Step =
  | { readonly kind: 'bytes' | 'append' | 'drained' | 'resume' | 'close' }
  | { readonly kind: 'time'; readonly ms: number };

const steps = (kinds: readonly Exclude<Step['kind'], 'time'>[]): fc.Arbitrary<readonly Step[]> =>
  fc.array(
    fc.oneof(
      { weight: 8, arbitrary: fc.constant<Step>({ kind: 'bytes' }) },
      ...kinds.map((kind) => ({ weight: 2, arbitrary: fc.constant<Step>({ kind }) })),
      {
        weight: 1,
        arbitrary: fc.record({
          kind: fc.constant('time' as const),
          ms: fc.constantFrom(1, 999, 5_000, 16_000, 70_000),
        }),
      },
    ),
    { maxLength: 60 },
  );

/** ERROR at most once, a close right after it, and no line after that. */
function expectGoodEnd(story: readonly string[], closes: number): void {
  const errorAt = story.findIndex((line) => line.startsWith('ERROR '));
  expect(closes).toBeLessThanOrEqual(1);
  if (errorAt < 0) return;
  expect(story[errorAt + 1]).toBe('close');
  expect(story.slice(errorAt + 2).filter((kind) => kind !== 'abort')).toEqual([]);
}

const streams = fc.constantFrom('events', 'typing', '$streams', '$streams.volatile', 'nosuch');
const tokens = fc.constantFrom('0', '1', '2', '53', '54', '55', '90', 'batch');
const histories = fc.constantFrom(
  ERA,
  era(8),
  era(7, 'ffffffff'),
  ORIGIN,
  MEMORY,
  memoryEra(8),
  'aaaaaaaaaaaaaaaa.1.00000000',
);
const json = fc.constantFrom(
  '1',
  '{"stream":"typing","made":1}',
  '{"stream":"s","made":1}',
  '[[],[],[]]',
  '"\u{1F600}"',
);

/** Lines that a primary may send, in any order: most of them come where they may not. */
const primaryLine: fc.Arbitrary<string> = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(streams, tokens, json).map((words) => `RDATA ${words.join(' ')}`) },
  { weight: 3, arbitrary: fc.tuple(streams, tokens, histories).map((words) => `POSITION ${words.join(' ')}`) },
  { weight: 3, arbitrary: fc.tuple(streams, tokens, histories).map((words) => `HISTORY ${words.join(' ')}`) },
  { weight: 1, arbitrary: fc.tuple(streams, tokens).map((words) => `POSITION ${words.join(' ')}`) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(streams, fc.constantFrom('GAP', 'RESET', 'UNKNOWN_STREAM', 'AHEAD', 'UNAVAILABLE'), histories)
      .map(([stream, code, history]) => `REFUSED ${stream} ${code} {"earliest":40,"history":"${history}"}`),
  },
  { weight: 2, arbitrary: streams.map((stream) => `RELEASED ${stream}`) },
  { weight: 1, arbitrary: fc.tuple(streams, tokens).map((words) => `ATTR ${words.join(' ')} {"a":1}`) },
  { weight: 1, arbitrary: histories.map((history) => `ERA ${history.replace('.', ' ')}`) },
  { weight: 1, arbitrary: fc.constantFrom('PING 2', 'SYNC x', 'ERROR careful', 'ERROR unknown stream events') },
);

/** Bytes of any kind, or lines that are right by themselves. */
const fromPrimary: fc.Arbitrary<Buffer> = fc.oneof(
  { weight: 1, arbitrary: anyBytes },
  {
    weight: 2,
    arbitrary: fc
      .array(primaryLine, { maxLength: 40 })
      .map((lines) => Buffer.from(lines.map((line) => `${line}\n`).join(''))),
  },
);

const wide = { ...limits, maxLineBytes: 200 };
const greetings = [
  '',
  `SERVER example.com\nPING ${SYNAPSE}\n`,
  'SERVER other.org\n',
  `SERVER example.com\nPING ${ROWCAST}\n`,
  `SERVER example.com\nPING ${rowcast(era(9), memoryEra(1, 'bbbbbbbbbbbbbbbb'))}\n`,
];

const isTransmitted = (said: string): boolean => /^[A-Z]/.test(said);

describe.each([
  ['Rowcast', ROWCAST],
  ['any other', SYNAPSE],
])('a session with %s primary', (_who, greeting) => {
  // SPEC B3
  test('outlives whatever the primary sends', () => {
    fc.assert(
      fc.property(fromPrimary, anyPieces, steps(['resume']), (bytes, lengths, happenings) => {
        const end = WorkerEnd.greeted({ limits }, greeting);
        const pieces = cutAt(bytes, lengths);
        for (const step of happenings) {
          if (step.kind === 'time') end.passTime(step.ms);
          else if (step.kind === 'resume') end.session.handleResumed(end.now);
          else end.hearBytes(pieces.shift() ?? new Uint8Array());
          if (step.kind === 'resume' && pieces.length % 2 === 0) end.session.handlePaused();
        }
        end.session.handleResumed(end.now);
        for (const piece of pieces) end.hearBytes(piece);
        end.drain();
        expectGoodEnd(
          end.outputs.story.filter((kind) => isTransmitted(kind) || kind === 'close' || kind === 'abort'),
          end.outputs.of('close').length,
        );
        end.session.handleClosed();
        end.hearBytes(bytes);
        end.passTime(100_000);
        expect(end.session.nextTimeout()).toBeUndefined();
      }),
      RUNS,
    );
  });

  test('takes the same lines wherever the bytes are cut', () => {
    fc.assert(
      fc.property(fromPrimary, anyPieces, (bytes, lengths) => {
        const [whole, cut] = [WorkerEnd.greeted({}, greeting), WorkerEnd.greeted({}, greeting)];
        whole.hearBytes(bytes);
        for (const piece of cutAt(bytes, lengths)) cut.hearBytes(piece);
        expect(cut.takeLines()).toEqual(whole.takeLines());
        expect(cut.commands).toEqual(whole.commands);
        expect(cut.outputs.of('close')).toHaveLength(whole.outputs.of('close').length);
      }),
      RUNS,
    );
  });

  test('a follower applies the same wherever the bytes are cut', () => {
    fc.assert(
      fc.property(fromPrimary, anyPieces, (bytes, lengths) => {
        const [whole, cut] = [following({}), following({})].map((end) => {
          end.greetedBy(greeting);
          return end;
        }) as [FollowerEnd, FollowerEnd];
        whole.hearBytes(bytes);
        for (const piece of cutAt(bytes, lengths)) cut.hearBytes(piece);
        expect(cut.takeRows()).toEqual(whole.takeRows());
        expect(cut.positions).toEqual(whole.positions);
        expect(cut.outputs.of('close')).toHaveLength(whole.outputs.of('close').length);
      }),
      RUNS,
    );
  });
});

function following(options: FollowerEndOptions): FollowerEnd {
  const end = new FollowerEnd(options);
  end.subscribe('events', at('events', 53), 'earliest');
  end.subscribe('typing', 'start', 'now');
  return end;
}

describe.each(['fail', 'earliest', 'now', 'by-durability'] as const)('a follower with the policy %s', (onReset) => {
  test.each([
    [
      'streams by name',
      (end: FollowerEnd) => [
        end.subscribe('events', at('events', 53), onReset),
        end.subscribe('typing', 'start', onReset),
      ],
    ],
    ['all streams', (end: FollowerEnd) => end.subscribeAll('now', onReset, [at('events', 53), at('$streams', 1)])],
  ] as const)('that follows %s outlives whatever primaries send, connection after connection', (_what, subscribe) => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fromPrimary, fc.constantFrom(...greetings)), { minLength: 1, maxLength: 4 }),
        anyPieces,
        steps(['resume', 'append', 'drained']),
        fc.boolean(),
        (connections, lengths, happenings, isApplying) => {
          const end = new FollowerEnd({ limits: wide, wantsAttributes: true });
          subscribe(end);
          end.start();
          end.isApplying = isApplying;
          let opened = 0;
          for (const [bytes, greeting] of connections) {
            const before = end.outputs.story.length;
            end.open();
            end.hearBytes(Buffer.from(greeting));
            const pieces = cutAt(bytes, lengths);
            for (const step of happenings) {
              if (step.kind === 'time') end.passTime(step.ms);
              else if (step.kind === 'resume') end.apply();
              else if (step.kind === 'append') end.follower.handleSend(end.now, { name: 'FEDERATION_ACK', token: 1 });
              else if (step.kind === 'drained') resubscribe(end);
              else end.hearBytes(pieces.shift() ?? new Uint8Array());
            }
            for (const piece of pieces) end.hearBytes(piece);
            end.apply();
            const said = end.outputs.story.slice(before);
            expectGoodEnd(
              said.filter((kind) => isTransmitted(kind) || kind === 'close'),
              said.filter((kind) => kind === 'close').length,
            );
            end.close();
            expect(end.follower.isLive, 'without a connection nothing is live').toBe(false);
            end.wait();
            opened++;
            expect(end.outputs.of('connect')).toHaveLength(opened + 1);
          }
          for (const { token } of end.positions) expect(Number.isSafeInteger(token) && token >= 0).toBe(true);
          // What was held back comes in once there is room, and must be applied in its turn.
          for (let turn = 0; turn < 100 && end.follower.isPaused; turn++) end.apply();
          expect(end.follower.isPaused, 'everything was applied').toBe(false);
        },
      ),
      { numRuns: 500 },
    );
  });
});

/** Leaves the stream and wants it again. */
function resubscribe(end: FollowerEnd): void {
  if (end.subscription('events') !== undefined) end.unsubscribe('events');
  end.subscribe('events', at('events', 54), 'earliest');
}

describe('an observer', () => {
  // SPEC P6
  test('sends nothing but NAME, PING and REPLICATE, whatever primaries send and whatever time passes', () => {
    let broken = 0;
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fromPrimary, fc.constantFrom(...greetings)), { minLength: 1, maxLength: 3 }),
        anyPieces,
        steps(['drained']),
        fc.boolean(),
        (connections, lengths, happenings, isAll) => {
          const end = following({ limits: wide, isObserver: true, serverName: 'example.com' });
          if (isAll) end.subscribeAll('now', 'earliest');
          end.start();
          for (const [bytes, greeting] of connections) {
            end.open();
            end.hearBytes(Buffer.from(greeting));
            const pieces = cutAt(bytes, lengths);
            for (const step of happenings) {
              if (step.kind === 'time') end.passTime(step.ms);
              else if (step.kind === 'drained') resubscribe(end);
              else end.hearBytes(pieces.shift() ?? new Uint8Array());
            }
            for (const piece of pieces) end.hearBytes(piece);
            end.close();
            end.wait();
          }
          end.stop();
          for (const line of end.outputs.story.filter((said) => isTransmitted(said)))
            expect(line).toMatch(/^(NAME|PING|REPLICATE) /);
          broken += end.outputs.of('close').length;
        },
      ),
      RUNS,
    );
    // Where another worker would have said ERROR.
    expect(broken).toBeGreaterThan(RUNS.numRuns / 10);
  });
});
