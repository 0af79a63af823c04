/**
 * Whatever a peer sends, and whatever the log answers and when, a primary's session never throws,
 * sends ERROR at most once, and sends nothing after it. fast-check prints the seed of a failure.
 */

import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LogError } from '../../src/core/model/errors.ts';
import type { Verdict } from '../../src/core/model/page.ts';
import { anyBytes, anyPieces, cutAt } from '../support/any-bytes.ts';
import { era, MemoryStreams } from '../support/memory-streams.ts';
import { PrimaryEnd } from '../support/primary-end.ts';

const RUNS = { numRuns: 1_000 };
const limits = { maxLineBytes: 64, pageBytes: 1, maxLagRows: 10 };

/** What a peer may say first. */
const greetings = ['', 'PING 1490197665630\n', 'PING 1 rowcast/2\n', 'PING 1 rowcast/2 attr\n'];

/** Rows 2 to 5 of stream events are kept, of three eras. */
function table(): MemoryStreams {
  const streams = new MemoryStreams('events', 'typing', 'room:*');
  for (let i = 1; i <= 5; i++) {
    streams.era = era(Math.ceil(i / 2));
    streams.appendWith({ trace: i }, 'events', i, 'x');
  }
  streams.trim('events', 1);
  return streams;
}

/** Takes back the newest row that is kept. */
function rebase(end: PrimaryEnd, stream: string): void {
  const { latest, earliest } = end.streams.get(stream)!.bounds;
  end.rebase(stream, Math.max(latest - 1, earliest - 1));
}

/** ERROR at most once, a close right after it, and no line after that. */
function expectGoodEnd({ outputs }: PrimaryEnd): void {
  const errorAt = outputs.story.findIndex((line) => line.startsWith('ERROR '));
  expect(outputs.of('close').length).toBeLessThanOrEqual(1);
  if (errorAt < 0) return;
  // A session that had stopped reading reads on, to discard what comes.
  const after = outputs.story.slice(errorAt + 1).filter((kind) => kind !== 'resume');
  expect(after[0]).toBe('close');
  expect(after.slice(1).filter((kind) => kind !== 'abort')).toEqual([]);
}

describe('a primary', () => {
  type Step =
    | 'bytes'
    | 'append'
    | 'trim'
    | 'era'
    | 'deleted'
    | 'rebased'
    | 'made'
    | 'drained'
    | 'answer'
    | 'judged'
    | 'fail'
    | { readonly ms: number };

  const steps: fc.Arbitrary<readonly Step[]> = fc.array(
    fc.oneof(
      { weight: 8, arbitrary: fc.constant<Step>('bytes') },
      {
        weight: 8,
        arbitrary: fc.constantFrom<Step>('append', 'trim', 'era', 'drained', 'answer', 'judged', 'fail'),
      },
      { weight: 2, arbitrary: fc.constantFrom<Step>('deleted', 'rebased', 'made') },
      { weight: 1, arbitrary: fc.record({ ms: fc.constantFrom(1, 999, 5_000, 16_000, 70_000) }) },
    ),
    { maxLength: 60 },
  );
  const verdicts = fc.constantFrom<Verdict | undefined>(undefined, 'on', 'gap', 'reset', 'ahead');

  // SPEC B2
  test('outlives whatever a worker sends', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...greetings),
        anyBytes,
        anyPieces,
        steps,
        verdicts,
        fc.record({
          isWriting: fc.boolean(),
          isReading: fc.boolean(),
          isJudging: fc.boolean(),
          trimmed: fc.constantFrom('serve' as const, 'refuse' as const),
          slowConsumer: fc.constantFrom('disconnect' as const, 'catch-up' as const),
        }),
        (greeting, bytes, lengths, happenings, verdict, { trimmed, slowConsumer, ...log }) => {
          const end = PrimaryEnd.opened({ streams: table(), trimmed, slowConsumer, limits });
          Object.assign(end, log);
          end.hearBytes(Buffer.from(greeting));
          const pieces = cutAt(bytes, lengths);
          let [judged, read, eras] = [0, 0, 3];
          for (const step of happenings) {
            if (typeof step === 'object') end.passTime(step.ms);
            else if (step === 'bytes') end.hearBytes(pieces.shift() ?? new Uint8Array());
            else if (step === 'append') end.append('events', 1);
            else if (step === 'trim') end.streams.trim('events', Math.min(end.streams.get('events')!.earliest, 5));
            else if (step === 'era') end.beginEra(era(++eras));
            else if (step === 'deleted') end.delete('events');
            else if (step === 'rebased') rebase(end, 'events');
            else if (step === 'made') end.make(`room:${++eras}`, 1);
            else if (step === 'drained') end.drained();
            else if (step === 'judged' && !end.isJudging) {
              const request = end.outputs.of('judge')[judged];
              if (request === undefined) continue;
              judged++;
              // A position that is on the history is one that there is.
              const isThere = end.streams.get(request.position.stream)!.judge(request.position) === 'on';
              end.judged({ request, ...(verdict !== undefined && (verdict !== 'on' || isThere) && { verdict }) });
            } else if ((step === 'answer' || step === 'fail') && !end.isReading) {
              if (end.outputs.of('read').length === read) continue;
              read++;
              if (step === 'answer') end.answer();
              else end.failRead(new LogError(verdict === 'gap' ? 'LOG_GAP' : 'LOG_UNAVAILABLE', 'as the test wants'));
            }
          }
          for (const piece of pieces) end.hearBytes(piece);
          expectGoodEnd(end);
          end.session.handleClosed();
          end.hearBytes(bytes);
          end.passTime(100_000);
          expect(end.session.nextTimeout()).toBeUndefined();
          expect(end.session.pollOutput()).toBeUndefined();
        },
      ),
      RUNS,
    );
  });

  // SPEC P1
  test('says to a peer that is not Rowcast no line that the seed does not have, whatever that peer sends', () => {
    const ofTheSeed = /^(?:RDATA \S+ (?:\d+|batch) .+|POSITION \S+ \d+|ERROR .*|PING \d+)$/s;
    fc.assert(
      fc.property(anyBytes, steps, (bytes, happenings) => {
        const end = PrimaryEnd.opened({ streams: table(), limits });
        const said = end.hear('PING 1490197665630', 'REPLICATE events 0', 'REPLICATE typing NOW');
        said.push(...end.hearBytes(bytes));
        let eras = 3;
        for (const step of happenings) {
          if (typeof step === 'object') said.push(...end.passTime(step.ms));
          else if (step === 'append') {
            end.streams.appendWith({ trace: eras }, 'events', 1, 2);
            said.push(...end.hint('events'));
          } else if (step === 'trim') end.streams.trim('events', Math.min(end.streams.get('events')!.earliest, 5));
          else if (step === 'era') said.push(...end.beginEra(era(++eras)));
          else if (step === 'deleted') said.push(...end.delete('typing'));
          else if (step === 'rebased') said.push(...end.rebase('typing', 0));
          else if (step === 'made') said.push(...end.make(`room:${++eras}`, 1));
          else if (step === 'bytes') said.push(...end.hear(`REPLICATE events ${eras}`));
        }
        expect(said).toContain('POSITION events 5');
        expect(said.filter((line) => !ofTheSeed.test(line))).toEqual([]);
      }),
      RUNS,
    );
  });

  test.each(greetings.slice(0, 2))('says the same wherever the bytes are cut, after %j', (greeting) => {
    fc.assert(
      fc.property(anyBytes, anyPieces, (bytes, lengths) => {
        const [whole, cut] = pairOf(greeting);
        // Answers to several requests are read one after the other, so only the order within a
        // stream is the same.
        const linesOf = (lines: readonly string[], stream: string): string[] =>
          lines.filter((line) => line.includes(` ${stream} `));
        const said = [whole.hearBytes(bytes), cutAt(bytes, lengths).flatMap((piece) => cut.hearBytes(piece))] as const;
        expect(cut.isClosing).toBe(whole.isClosing);
        expect(cut.session.workerName).toBe(whole.session.workerName);
        if (!whole.isClosing) expect(linesOf(said[1], 'typing')).toEqual(linesOf(said[0], 'typing'));
        expect(said[1].filter((line) => line.startsWith('ERROR'))).toHaveLength(
          said[0].filter((line) => line.startsWith('ERROR')).length,
        );
      }),
      RUNS,
    );
  });

  // A REPLICATE or APPLIED may be a fault or not, depending on the answers before it, so lines come
  // one by one.
  test.each(greetings.slice(2))('says the same wherever each line is cut, after %j', (greeting) => {
    fc.assert(
      fc.property(anyBytes, anyPieces, (bytes, lengths) => {
        const [whole, cut] = pairOf(greeting);
        const said = [
          linesIn(bytes).flatMap((line) => whole.hearBytes(line)),
          cutAt(bytes, lengths)
            .flatMap((piece) => linesIn(piece))
            .flatMap((piece) => cut.hearBytes(piece)),
        ] as const;
        expect(said[1]).toEqual(said[0]);
        expect(cut.outputs.story).toEqual(whole.outputs.story);
      }),
      RUNS,
    );
  });

  const pairOf = (greeting: string): readonly [PrimaryEnd, PrimaryEnd] => {
    const ends = [PrimaryEnd.opened({ streams: table() }), PrimaryEnd.opened({ streams: table() })] as const;
    for (const end of ends) end.hearBytes(Buffer.from(greeting));
    return ends;
  };

  /** The bytes, divided after each line end. */
  function linesIn(bytes: Uint8Array): Uint8Array[] {
    const lines: Uint8Array[] = [];
    for (let at = 0; at < bytes.length; at += lines.at(-1)!.length) {
      const lf = bytes.indexOf(0x0a, at);
      lines.push(bytes.subarray(at, lf < 0 ? bytes.length : lf + 1));
    }
    return lines;
  }
});

describe('to a worker that keeps to the rules', () => {
  type Ask = { readonly stream: string; readonly place: string };
  type Step = Ask | 'append' | 'trim' | 'era' | 'deleted' | 'rebased' | 'answer' | 'judged' | 'drained';

  const asks: fc.Arbitrary<Ask> = fc.record({
    stream: fc.constantFrom('events', 'typing', 'room:1', '$streams', 'nosuch'),
    place: fc.constantFrom('START', 'NOW', '0', '1', '3', '77', `3 ${era(2)}`, `3 ${era(9)}`, `5 ${era(3)}`),
  });
  const steps = fc.array(
    fc.oneof(
      { weight: 3, arbitrary: asks },
      { weight: 4, arbitrary: fc.constantFrom<Step>('append', 'trim', 'era', 'answer', 'judged', 'drained') },
      { weight: 1, arbitrary: fc.constantFrom<Step>('deleted', 'rebased') },
    ),
    { maxLength: 40 },
  );

  // SPEC S4
  test('each RELEASE has its RELEASED, in order, and each REPLICATE ends in POSITION or REFUSED, once all was answered', () => {
    fc.assert(
      fc.property(steps, fc.boolean(), fc.boolean(), fc.boolean(), (happenings, isWriting, isReading, isJudging) => {
        const end = PrimaryEnd.rowcast({ streams: table(), limits: { pageBytes: 1, idleTimeoutMs: 1e9 } });
        Object.assign(end, { isWriting, isReading, isJudging });
        const asked = new Set<string>();
        const released: string[] = [];
        let [judged, read, eras] = [0, 0, 3];
        const judge = (): void => {
          for (const request of end.outputs.of('judge').slice(judged, judged + 1)) {
            judged++;
            end.judged({ request });
          }
        };
        const answer = (): void => {
          if (end.outputs.of('read').length === read) return;
          read++;
          end.answer();
        };
        for (const step of happenings) {
          if (typeof step === 'object') {
            const { stream, place } = step;
            // A worker asks again only after RELEASE, for which it need not wait.
            if (asked.has(stream)) {
              released.push(stream);
              end.hear(`RELEASE ${stream}`, `REPLICATE ${stream} ${place}`);
            } else end.hear(`REPLICATE ${stream} ${place}`);
            asked.add(stream);
          } else if (step === 'append') end.append('events', 'new');
          else if (step === 'trim') end.streams.trim('events', Math.min(end.streams.get('events')!.earliest, 5));
          else if (step === 'era') end.beginEra(era(++eras));
          else if (step === 'deleted') end.delete('events');
          else if (step === 'rebased') rebase(end, 'events');
          else if (step === 'drained') end.drained();
          else if (step === 'judged' && !isJudging) judge();
          else if (step === 'answer' && !isReading) answer();
        }
        for (let before = -1; before < end.outputs.all.length + judged; ) {
          before = end.outputs.all.length + judged;
          if (!isJudging) judge();
          if (!isReading) answer();
          end.drained();
        }
        expect(end.isClosing).toBe(false);
        const said = end.outputs.story;
        const isOf = (stream: string, line: string, name: string): boolean =>
          line === `${name} ${stream}` || line.startsWith(`${name} ${stream} `);
        expect(said.filter((line) => line.startsWith('RELEASED '))).toEqual(
          released.map((stream) => `RELEASED ${stream}`),
        );
        for (const stream of asked) {
          const last = said.slice(said.findLastIndex((line) => isOf(stream, line, 'RELEASED')) + 1);
          const isRefused = last.some((line) => isOf(stream, line, 'REFUSED'));
          expect(last.some((line) => isOf(stream, line, 'POSITION')) || isRefused, stream).toBe(true);
          expect(end.stateOf(stream)).toBe(isRefused ? undefined : 'live');
        }
      }),
      RUNS,
    );
  });
});
