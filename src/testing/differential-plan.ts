/**
 * What the differential test does how often, and how often each kind of operation must have
 * succeeded before it stops.
 */

import { type Random, randomInteger } from '../base/random.ts';
import type { LogFeatures } from './log-suite.ts';

export type StepKind =
  | 'append'
  | 'append around a deletion'
  | 'trim'
  | 'delete'
  | 'open again'
  | 'read'
  | 'read on'
  | 'judge'
  | 'count rows'
  | 'pass time'
  | 'misuse'
  | 'truncate'
  | 'rebase';

/** A step draws the rest from its own seed, so that it can be done again without those before it. */
export interface Step {
  readonly kind: StepKind;
  readonly seed: number;
}

interface StepPlan {
  readonly weight: number;
  /** Left out where the log does not have it. */
  readonly needs?: keyof LogFeatures;
}

const steps: Readonly<Record<StepKind, StepPlan>> = {
  append: { weight: 34 },
  'append around a deletion': { weight: 2 },
  trim: { weight: 4 },
  delete: { weight: 4 },
  'open again': { weight: 1 },
  read: { weight: 12 },
  'read on': { weight: 3 },
  judge: { weight: 16 },
  'count rows': { weight: 6 },
  'pass time': { weight: 6 },
  misuse: { weight: 2 },
  truncate: { weight: 5, needs: 'relays' },
  rebase: { weight: 2, needs: 'relays' },
};

/** What has succeeded. */
export type Achievement =
  | 'append alone'
  | 'append together'
  | 'append with attributes'
  | 'append a large batch'
  | 'append before and after a deletion'
  | 'make by name'
  | 'make by pattern'
  | 'make again'
  | 'repeat an id'
  | 'repeat an id in one turn'
  | 'refuse an id with other rows'
  | 'take an id whose time is over'
  | 'skip tokens'
  | 'refuse a token that fell'
  | 'give a history'
  | 'trim'
  | 'trim all'
  | 'delete'
  | 'open again'
  | 'read a page'
  | 'read a page that ends before latest'
  | 'read all pages'
  | 'refuse a read of rows that are gone'
  | 'judge on'
  | 'judge gap'
  | 'judge reset'
  | 'judge a position of another log'
  | 'judge a position without a history'
  | 'judge a position that was given'
  | 'judge an unmade stream'
  | 'count rows exactly'
  | 'count rows about'
  | 'drop by rows'
  | 'drop by age'
  | 'refuse misuse'
  | 'truncate'
  | 'truncate into a skip'
  | 'rebase';

interface Minimum {
  readonly least: number;
  readonly needs?: keyof LogFeatures;
}

const achievements: Readonly<Record<Achievement, Minimum>> = {
  'append alone': { least: 50 },
  'append together': { least: 100 },
  'append with attributes': { least: 50 },
  'append a large batch': { least: 3 },
  'append before and after a deletion': { least: 3 },
  'make by name': { least: 5 },
  'make by pattern': { least: 5 },
  'make again': { least: 5 },
  'repeat an id': { least: 10, needs: 'ids' },
  'repeat an id in one turn': { least: 3, needs: 'ids' },
  'refuse an id with other rows': { least: 3, needs: 'ids' },
  'take an id whose time is over': { least: 2, needs: 'ids' },
  'skip tokens': { least: 20, needs: 'explicitTokens' },
  'refuse a token that fell': { least: 10, needs: 'explicitTokens' },
  'give a history': { least: 10, needs: 'relays' },
  trim: { least: 10 },
  'trim all': { least: 3 },
  delete: { least: 10 },
  'open again': { least: 3 },
  'read a page': { least: 50 },
  'read a page that ends before latest': { least: 10 },
  'read all pages': { least: 10 },
  'refuse a read of rows that are gone': { least: 5 },
  'judge on': { least: 20 },
  'judge gap': { least: 10 },
  'judge reset': { least: 20 },
  'judge a position of another log': { least: 10 },
  'judge a position without a history': { least: 10 },
  'judge a position that was given': { least: 20 },
  'judge an unmade stream': { least: 3 },
  'count rows exactly': { least: 10 },
  'count rows about': { least: 3 },
  'drop by rows': { least: 5 },
  'drop by age': { least: 2 },
  'refuse misuse': { least: 10 },
  truncate: { least: 10, needs: 'relays' },
  'truncate into a skip': { least: 2, needs: 'relays' },
  rebase: { least: 5, needs: 'relays' },
};

/** Draws the next step. */
export function drawStep(random: Random, supports: LogFeatures): Step {
  const possible = Object.entries(steps).filter(([, { needs }]) => needs === undefined || supports[needs]);
  let left = random.next() * possible.reduce((sum, [, { weight }]) => sum + weight, 0);
  const [kind] = possible.find(([, { weight }]) => (left -= weight) < 0) ?? possible[0]!;
  return { kind: kind as StepKind, seed: randomInteger(random, 1, 1_000_000_000) };
}

/** Counts what was achieved, and says what is missing. */
export class Achievements {
  readonly #counts = new Map<Achievement, number>();
  readonly #minimums: [Achievement, Minimum][];

  constructor(supports: LogFeatures) {
    const all = Object.entries(achievements) as [Achievement, Minimum][];
    this.#minimums = all.filter(([, { needs }]) => needs === undefined || supports[needs]);
  }

  add(achievement: Achievement): void {
    this.#counts.set(achievement, (this.#counts.get(achievement) ?? 0) + 1);
  }

  get missing(): string[] {
    return this.#minimums
      .map(([name, { least }]) => ({ name, least, count: this.#counts.get(name) ?? 0 }))
      .filter(({ least, count }) => count < least)
      .map(({ name, least, count }) => `${name} (${count} of ${least})`);
  }

  get isComplete(): boolean {
    return this.#minimums.every(([name, { least }]) => (this.#counts.get(name) ?? 0) >= least);
  }
}
