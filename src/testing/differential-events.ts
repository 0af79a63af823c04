/** What a log tells while a step of the differential test runs, and whether that was enough. */

import assert from 'node:assert/strict';

import type { History } from '../core/model/history.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import { pageOf } from '../log/chunk-page.ts';
import type { Log, SourceEvent } from '../log/log.ts';
import { checkLaterEra, compareBatches } from './differential-compare.ts';
import type { OracleBatch } from './differential-oracle.ts';
import { parseBatches } from './log-suite-place.ts';

/** What must be told of a stream, in order. `listed`: the next row about it in the catalog. */
export type Milestone =
  | { readonly kind: 'era' | 'listed' | 'deleted' | 'rebased' }
  | { readonly kind: 'rows'; readonly latest: Token };

export class EventLedger {
  readonly #log: Log;
  readonly #endWatch: () => void;
  #told: SourceEvent[] = [];
  #milestones = new Map<StreamName, Milestone[]>();
  #appended = new Map<StreamName, OracleBatch[]>();
  /** Found by the listener, which must not throw into the log. */
  #fault: unknown;
  #era: History;

  constructor(log: Log) {
    this.#log = log;
    this.#era = log.era;
    this.#endWatch = log.watch((event) => {
      this.#told.push(event);
      try {
        if (event.kind === 'rows') this.#checkHint(event.stream, event.latest);
      } catch (error) {
        this.#fault ??= error;
      }
    });
  }

  /** The eras of the running step, in order. */
  get eras(): readonly History[] {
    return [this.#era, ...this.#told.flatMap((event) => (event.kind === 'era' ? [event.era] : []))];
  }

  expect(stream: StreamName, milestone: Milestone): void {
    addTo(this.#milestones, stream, milestone);
  }

  expectRows(stream: StreamName, batch: OracleBatch): void {
    this.expect(stream, { kind: 'rows', latest: batch.token });
    addTo(this.#appended, stream, batch);
  }

  /** How many events were told in this step. */
  get count(): number {
    return this.#told.length;
  }

  /** Checks an append that was no repetition, which resolved when so many events were told. */
  checkResolved(stream: StreamName, token: Token, count: number): void {
    const isTold = this.#told
      .slice(0, count)
      .some((event) => event.kind === 'rows' && event.stream === stream && event.latest >= token);
    assert.ok(isTold, `the hint of token ${token} of stream ${stream} to come before its append resolves`);
  }

  /**
   * Checks the step, and begins another.
   * @param listed the tokens of the new rows of the catalog, by the stream that they are about
   */
  finish(listed: ReadonlyMap<StreamName, readonly Token[]>): void {
    if (this.#fault !== undefined) throw this.#fault;
    this.#checkMilestones(listed);
    this.#checkChunks();
    for (const kind of ['deleted', 'rebased'] as const) {
      const expected = [...this.#milestones.values()].flat().filter((milestone) => milestone.kind === kind);
      const told = this.#told.filter((event) => event.kind === kind);
      assert.equal(told.length, expected.length, `how often '${kind}' is told`);
    }
    const { eras } = this;
    for (const [i, era] of eras.entries()) if (i > 0) checkLaterEra(era, eras[i - 1]!);
    assert.equal(this.#log.era, eras.at(-1), 'the era of the log, which was told');
    this.#era = this.#log.era;
    this.#told = [];
    this.#milestones = new Map();
    this.#appended = new Map();
  }

  end(): void {
    this.#endWatch();
  }

  #checkHint(stream: StreamName, latest: Token): void {
    const reached = this.#log.bounds(stream).latest;
    assert.ok(
      latest <= reached,
      `a hint of token ${latest} of stream ${stream} when it can be read, not at ${reached}`,
    );
  }

  #checkMilestones(listed: ReadonlyMap<StreamName, readonly Token[]>): void {
    for (const [stream, milestones] of this.#milestones) {
      const places = [...(listed.get(stream) ?? [])];
      let at = 0;
      let before = 'the step began';
      for (const milestone of milestones) {
        const token = milestone.kind === 'listed' ? places.shift() : undefined;
        const what = describe(milestone, stream, token);
        const isIt = (event: SourceEvent): boolean => this.#isMet(milestone, stream, token, event);
        // One hint may tell of several batches.
        while (at < this.#told.length && !isIt(this.#told[at]!)) at++;
        assert.ok(
          at < this.#told.length,
          `${what} to be told after ${before}, of ${this.#told.map(textOf).join(', ')}`,
        );
        before = what;
      }
    }
  }

  #isMet(milestone: Milestone, stream: StreamName, token: Token | undefined, event: SourceEvent): boolean {
    switch (milestone.kind) {
      case 'era':
        return event.kind === 'era';
      case 'listed':
        return event.kind === 'rows' && event.stream === this.#log.catalog && event.latest >= token!;
      case 'rows':
        return event.kind === 'rows' && event.stream === stream && event.latest >= milestone.latest;
      default:
        return event.kind === milestone.kind && event.stream === stream;
    }
  }

  /** Where all hints of a stream bring their rows, these are what was appended. */
  #checkChunks(): void {
    for (const [stream, appended] of this.#appended) {
      const hints = this.#told.flatMap((event) => (event.kind === 'rows' && event.stream === stream ? [event] : []));
      if (hints.some(({ chunks }) => chunks === undefined)) continue;
      const bounds = this.#log.bounds(stream);
      const chunks = hints.flatMap((hint) => hint.chunks ?? []);
      const found = chunks.flatMap((chunk) => parseBatches(pageOf(stream, [chunk], bounds)));
      compareBatches(found, appended, `the rows in the hints of stream ${stream}`);
    }
  }
}

function describe(milestone: Milestone, stream: StreamName, token: Token | undefined): string {
  if (milestone.kind === 'rows') return `rows ${milestone.latest} of stream ${stream}`;
  if (milestone.kind === 'listed') return `row ${token} of the catalog, about stream ${stream}`;
  return `'${milestone.kind}' of stream ${stream}`;
}

function textOf(event: SourceEvent): string {
  if (event.kind === 'era') return 'era';
  return event.kind === 'rows' ? `rows ${event.stream} ${event.latest}` : `${event.kind} ${event.stream}`;
}

function addTo<T>(map: Map<StreamName, T[]>, stream: StreamName, one: T): void {
  const list = map.get(stream);
  if (list === undefined) map.set(stream, [one]);
  else list.push(one);
}
