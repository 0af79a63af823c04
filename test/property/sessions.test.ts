/** Whatever a peer sends, a session neither throws nor says ERROR twice, and after ERROR it says nothing more. fast-check prints the seed of a failure. */

import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { anyBytes, anyPieces, cutAt } from '../support/any-bytes.ts';
import { FollowerEnd, WorkerEnd } from '../support/session-ends.ts';

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

describe.each([
  ['Rowcast', '1 rowcast/1 log=abc'],
  ['any other', '1490197665618'],
])('a worker of %s primary', (_who, greeting) => {
  test('outlives whatever the primary sends', () => {
    fc.assert(
      fc.property(anyBytes, anyPieces, steps(['resume']), (bytes, lengths, happenings) => {
        const end = WorkerEnd.following({ events: 0, typing: 'NOW' }, { limits }, greeting);
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
          end.outputs.story.filter((kind) => !['batch', 'position', 'reset', 'sync', 'peer-error'].includes(kind)),
          end.outputs.of('close').length,
        );
        for (const { token } of [...end.outputs.of('batch'), ...end.outputs.of('position')])
          expect(Number.isSafeInteger(token) && token >= 0).toBe(true);
        end.session.handleClosed();
        end.hearBytes(bytes);
        end.passTime(100_000);
        expect(end.session.nextTimeout()).toBeUndefined();
      }),
      RUNS,
    );
  });

  test('takes the same batches wherever the bytes are cut', () => {
    fc.assert(
      fc.property(anyBytes, anyPieces, (bytes, lengths) => {
        const batchesOf = (end: WorkerEnd): unknown[] =>
          end.outputs.of('batch').map(({ stream, token, rows }) => [stream, token, rows]);
        const [whole, cut] = [
          WorkerEnd.following({ events: 0 }, {}, greeting),
          WorkerEnd.following({ events: 0 }, {}, greeting),
        ];
        whole.hearBytes(bytes);
        for (const piece of cutAt(bytes, lengths)) cut.hearBytes(piece);
        expect(batchesOf(cut)).toEqual(batchesOf(whole));
        expect(cut.outputs.of('close')).toHaveLength(whole.outputs.of('close').length);
      }),
      RUNS,
    );
  });
});

describe.each(['fail', 'earliest', 'now'] as const)('a follower with the policy %s', (onReset) => {
  test.each([
    [
      'streams by name',
      (end: FollowerEnd) => [end.subscribe('events', 53, onReset), end.subscribe('typing', 'start', onReset)],
    ],
    ['all streams', (end: FollowerEnd) => end.subscribeAll('now', onReset, { events: 53 })],
  ] as const)('that follows %s outlives whatever primaries send, connection after connection', (_what, subscribe) => {
    fc.assert(
      fc.property(
        fc.array(
          fc.tuple(
            anyBytes,
            fc.constantFrom(
              '',
              'SERVER example.com\nPING 1\n',
              'SERVER example.com\nPING 1 rowcast/1 log=abc streams=events,typing\n',
            ),
          ),
          {
            minLength: 1,
            maxLength: 4,
          },
        ),
        anyPieces,
        steps(['resume', 'append']),
        (connections, lengths, happenings) => {
          const end = new FollowerEnd({ limits });
          subscribe(end);
          end.start();
          let [applied, opened] = [0, 0];
          const apply = (): void => {
            for (const { bytes } of end.outputs.of('batch').slice(applied)) end.follower.handleApplied(end.now, bytes);
            applied = end.outputs.of('batch').length;
            end.drain();
          };
          for (const [bytes, greeting] of connections) {
            const before = end.outputs.story.length;
            end.open();
            end.hearBytes(Buffer.from(greeting));
            const pieces = cutAt(bytes, lengths);
            for (const step of happenings) {
              if (step.kind === 'time') end.passTime(step.ms);
              else if (step.kind === 'resume') apply();
              else if (step.kind === 'append') end.follower.handleSend(end.now, { name: 'FEDERATION_ACK', token: 1 });
              else end.hearBytes(pieces.shift() ?? new Uint8Array());
            }
            for (const piece of pieces) end.hearBytes(piece);
            apply();
            const said = end.outputs.story.slice(before);
            expectGoodEnd(
              said.filter((kind) => /^[A-Z]/.test(kind) || kind === 'close'),
              said.filter((kind) => kind === 'close').length,
            );
            end.close();
            end.wait();
            opened++;
            expect(end.outputs.of('connect')).toHaveLength(opened + 1);
          }
          for (const output of end.outputs.of('position')) {
            const { token } = output.position;
            expect(Number.isSafeInteger(token) && token >= 0).toBe(true);
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('an observer', () => {
  const greetings = [
    '',
    'SERVER example.com\nPING 1\n',
    'SERVER other.org\n',
    'SERVER example.com\nPING 1 rowcast/1 log=abc streams=events,typing\n',
  ];

  test('sends nothing but NAME, PING and REPLICATE, whatever primaries send and whatever time passes', () => {
    let broken = 0;
    fc.assert(
      fc.property(
        fc.array(fc.tuple(anyBytes, fc.constantFrom(...greetings)), { minLength: 1, maxLength: 3 }),
        anyPieces,
        steps([]),
        (connections, lengths, happenings) => {
          const end = new FollowerEnd({ limits, isObserver: true, serverName: 'example.com' });
          end.subscribe('events', 53, 'earliest');
          end.subscribe('typing', 'start', 'now');
          end.start();
          for (const [bytes, greeting] of connections) {
            end.open();
            end.hearBytes(Buffer.from(greeting));
            const pieces = cutAt(bytes, lengths);
            for (const step of happenings) {
              if (step.kind === 'time') end.passTime(step.ms);
              else end.hearBytes(pieces.shift() ?? new Uint8Array());
            }
            for (const piece of pieces) end.hearBytes(piece);
            end.close();
            end.wait();
          }
          for (const line of end.outputs.story.filter((said) => /^[A-Z]/.test(said)))
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
