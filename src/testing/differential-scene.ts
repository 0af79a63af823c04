/** One log and its oracle while the differential test runs: what every step needs. */

import assert from 'node:assert/strict';

import type { Millis } from '../base/clock.ts';
import { type Random, randomInteger } from '../base/random.ts';
import { type Declaration, Declarations, defineStreams } from '../core/model/declarations.ts';
import { formatHistory, type History, originOf } from '../core/model/history.ts';
import type { Position } from '../core/model/position.ts';
import { defineStream, type StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { Page } from '../core/model/page.ts';
import type { Log, ReadOptions } from '../log/log.ts';
import { adoptRetention, checkLaterEra, checkOverdue, compareBounds, comparePage } from './differential-compare.ts';
import { EventLedger } from './differential-events.ts';
import { Oracle, type OracleStream, type Turn } from './differential-oracle.ts';
import type { Achievement } from './differential-plan.ts';
import { type LogPlace, openOptions, parseBatches } from './log-suite-place.ts';
import type { LogFeatures } from './log-suite.ts';

export const ID_RETENTION_MS: Millis = 5_000;

const declared: readonly Declaration[] = [
  defineStream('events'),
  defineStream('few', { retain: { rows: 12 } }),
  defineStream('young', { retain: { ageMs: 3_000 } }),
  defineStream('both', { retain: { rows: 8, ageMs: 2_000 } }),
  defineStreams('room:*'),
  defineStreams('feed:*', { retain: { rows: 5 } }),
];
const declarations = new Declarations(declared);
export const SERVED: readonly StreamName[] = ['events', 'few', 'young', 'both', 'room:1', 'room:2', 'room:3', 'feed:1'];

/** So many positions that were given are kept, to be judged later. */
const MAX_SEEN = 200;

/** Histories of other logs, as a relay has them. */
export const FOREIGN: readonly History[] = [
  formatHistory({ logId: 'fedcba9876543210', number: 1_764_281_400, random: 'a1b2c3d4' }),
  formatHistory({ logId: 'fedcba9876543210', number: 1_764_281_500, random: '00000001' }),
  originOf('0123456789abcdef'),
];

export interface SceneOptions {
  readonly place: LogPlace;
  readonly supports: LogFeatures;
  /** Told what a step has tried with success. */
  readonly reach: (achievement: Achievement) => void;
}

export class Scene {
  readonly supports: LogFeatures;
  readonly reach: (achievement: Achievement) => void;
  readonly seen: Position[] = [];
  /** What the step does, for people. */
  text = '';
  random!: Random;
  log!: Log;
  oracle!: Oracle;
  ledger!: EventLedger;
  /** Of the newest row, as far as it is known. */
  era: History = '';
  /** Numbers the batches: their rows differ. */
  batchCount = 0;
  /** The streams that the step has appended to, repetitions and refusals aside. */
  readonly appendedTo: Set<StreamName> = new Set();
  readonly #place: LogPlace;
  #listed: [stream: StreamName, what: 'made' | 'deleted'][] = [];

  constructor({ place, supports, reach }: SceneOptions) {
    this.#place = place;
    this.supports = supports;
    this.reach = reach;
  }

  get now(): Millis {
    return this.#place.clock.now();
  }

  /** Opens the log, or opens it again. */
  async open(): Promise<void> {
    const before = this.log as Log | undefined;
    this.ledger?.end();
    if (before !== undefined) await this.settle(before.close());
    this.log = this.#place.create();
    await this.settle(this.log.open({ ...openOptions(declared), idRetentionMs: ID_RETENTION_MS }));
    const { id, era } = this.log;
    if (before !== undefined && this.supports.durable) {
      assert.equal(id, this.oracle.logId, 'the id of a durable log that is opened again');
      checkLaterEra(era, this.era);
    } else {
      assert.notEqual(id, this.oracle?.logId, 'the id of a log that keeps nothing');
      this.oracle = new Oracle(id);
    }
    this.era = era;
    this.ledger = new EventLedger(this.log);
  }

  async close(): Promise<void> {
    this.ledger?.end();
    if (this.log !== undefined) await this.settle(this.log.close());
  }

  /** Moves the clock by which rows and ids age. */
  passTime(ms: Millis): void {
    const until = this.now + ms;
    while (this.#place.clock.step(until));
  }

  /** Waits for the log, and calls what waits for the clock without moving it. */
  async settle<T>(running: Promise<T>): Promise<T> {
    let isSettled = false;
    const settling = running.finally(() => {
      isSettled = true;
    });
    // Whoever awaits the result handles it.
    settling.catch(() => {});
    for (;;) {
      this.passTime(0);
      await new Promise((resolve) => setImmediate(resolve));
      if (isSettled) return running;
    }
  }

  pick<T>(from: readonly T[]): T {
    return from[randomInteger(this.random, 0, from.length - 1)]!;
  }

  integer(low: number, high: number): number {
    return randomInteger(this.random, low, high);
  }

  percent(percent: number): boolean {
    return this.random.next() * 100 < percent;
  }

  /** Some token in and around what the stream keeps. */
  tokenIn({ earliest, latest }: OracleStream): Token {
    return Math.max(0, this.percent(10) ? this.integer(0, latest + 3) : this.integer(earliest - 2, latest + 1));
  }

  see(position: Position): void {
    if (this.seen.length < MAX_SEEN) this.seen.push(position);
    else this.seen[this.integer(0, MAX_SEEN - 1)] = position;
  }

  /** Makes the stream in the oracle where it is not there. */
  make(stream: StreamName): OracleStream {
    const kept = this.oracle.streams.get(stream);
    if (kept !== undefined) return kept;
    const deletedIn = this.oracle.deletedIn.get(stream);
    if (deletedIn === this.era) this.ledger.expect(stream, { kind: 'era' });
    if (deletedIn !== undefined) this.reach('make again');
    this.reach(declarations.find(stream)!.name.includes(':') ? 'make by pattern' : 'make by name');
    this.#list(stream, 'made');
    return this.oracle.make(stream);
  }

  delete(stream: StreamName): void {
    this.oracle.delete(stream, this.era);
    this.#list(stream, 'deleted');
    this.ledger.expect(stream, { kind: 'deleted' });
  }

  /** Compares what every step must leave right. */
  async finishStep(): Promise<void> {
    const listed = await this.#readCatalog();
    for (const stream of this.oracle.streams.keys()) this.#retain(stream, this.appendedTo.has(stream));
    for (const stream of this.appendedTo) {
      const deletedIn = this.oracle.deletedIn.get(stream);
      if (this.oracle.streams.has(stream))
        assert.notEqual(this.log.era, deletedIn, `stream ${stream} to be made again in another era`);
    }
    this.ledger.finish(listed);
    this.era = this.log.era;
    this.appendedTo.clear();
    compareBounds(this.log, this.oracle, SERVED);
  }

  #list(stream: StreamName, what: 'made' | 'deleted'): void {
    this.#listed.push([stream, what]);
    this.ledger.expect(stream, { kind: 'listed' });
  }

  #retain(stream: StreamName, wasAppendedTo: boolean): void {
    const kept = this.oracle.at(stream);
    const { retain } = declarations.find(stream)!;
    const dropped = adoptRetention({ log: this.log, stream, kept, retain, now: this.now });
    if (dropped.length > 0) this.reach(retain.ageMs === undefined ? 'drop by rows' : 'drop by age');
    if (wasAppendedTo) checkOverdue({ stream, kept, retain, now: this.now });
  }

  /** Reads the new rows of the catalog, which must be about what the step made and deleted. */
  async #readCatalog(): Promise<Map<StreamName, Token[]>> {
    const { catalog } = this.oracle;
    const turn: Turn = { after: catalog.latest, rows: 0 };
    const tokens = new Map<StreamName, Token[]>();
    const found: [StreamName, string][] = [];
    const pages: [Page, ReadOptions][] = [];
    const { latest } = this.log.bounds(this.log.catalog);
    for (let after = catalog.latest; after < latest; ) {
      const options = { after, maxBytes: 1_000 };
      const page = await this.settle((async () => this.log.read(this.log.catalog, options))());
      assert.ok(this.ledger.eras.includes(page.history), `the history ${page.history} of the catalog to be an era`);
      for (const { token, rows } of parseBatches(page)) {
        assert.equal(rows.length, 1, 'the rows of a batch of the catalog');
        const { stream, ...what } = JSON.parse(rows[0]!) as { stream: StreamName; [what: string]: unknown };
        found.push([stream, Object.keys(what).join()]);
        assert.ok(Object.values(what).every(Number.isSafeInteger), `times in row ${rows[0]} of the catalog`);
        tokens.set(stream, [...(tokens.get(stream) ?? []), token]);
        catalog.append({ token, history: page.history, rows, atMs: this.now, turn });
      }
      pages.push([page, options]);
      after = page.upTo;
    }
    const inOrder = (rows: readonly (readonly [StreamName, string])[]): unknown =>
      SERVED.map((name) => rows.filter(([stream]) => stream === name));
    assert.deepEqual(inOrder(found), inOrder(this.#listed), 'the new rows of the catalog');
    assert.equal(found.length, this.#listed.length, 'the number of new rows of the catalog');
    for (const [page, options] of pages) comparePage(page, catalog, this.log.catalog, options);
    this.#listed = [];
    return tokens;
  }
}
