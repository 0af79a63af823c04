/**
 * The differential test of a log: random operations on the log and on a plain oracle
 * (differential-oracle.ts), with the same answers and the same bounds at each step. It finds what no
 * single promise of the log suite names: what operations do to each other.
 */

import { describeDifference, runDifferential } from './differential-run.ts';
import { aFunction, integerFrom } from '../core/model/option-kinds.ts';
import { checkArgument, checkOptions, type OptionTable } from '../core/model/options.ts';
import { type LogSuiteOptions, logSuiteTable } from './log-suite.ts';
import type { RegisterTest } from './transport-suite.ts';

/** Options of `differentialTest`: those of `logSuite`, of which it uses the first three. */
export interface DifferentialTestOptions extends LogSuiteOptions {
  /** How many seeds are run, each in a test of its own. Default 2. */
  readonly seeds?: number;
}

const optionTable: OptionTable<DifferentialTestOptions> = { ...logSuiteTable, seeds: integerFrom(1) };

const DEFAULT_SEEDS = 2;

/**
 * Registers a test for each of a few seeds, which are others in every run. Use it beside `logSuite`,
 * with the same options:
 *
 *     differentialTest(test, {
 *       name: 'my log',
 *       create: ({ directory, clock }) => myLog(directory, clock),
 *       supports: {
 *         durable: true, ids: true, explicitTokens: false, relays: false,
 *         acknowledgements: false, backup: false, foreignHints: false,
 *       },
 *     });
 *
 * Each test appends (alone and together, by name and by pattern, with ids, tokens, histories and
 * attributes), trims, deletes, makes again, opens again, reads, judges, counts, truncates, rebases
 * and lets time pass, until each of these has succeeded a certain number of times
 * (differential-plan.ts). What the log does not support is left out. Where the promises of a log
 * leave room, only the promise is compared (differential-compare.ts).
 *
 * The log must take its time from the given clock, and draw on nothing else that a second run would
 * not repeat, besides its id and its eras. A failure names the seed and the operations that led to
 * it, without those that are not needed. `SEED=n` in the environment runs that seed alone.
 * @throws UsageError INVALID_OPTION
 */
export function differentialTest(test: RegisterTest, given: DifferentialTestOptions): void {
  checkArgument('differentialTest', 'test', test, aFunction());
  const { name, create, supports, seeds } = checkOptions('differentialTest', given, optionTable);
  for (const seed of seedsOf(seeds ?? DEFAULT_SEEDS)) {
    test(`${name}: does what a plain oracle does, from seed ${seed}`, async () => {
      const result = await runDifferential({ create, supports, seed });
      if (result.failure === undefined) return;
      throw new Error(describeDifference(result), { cause: result.failure.error });
    });
  }
}

const LARGEST_SEED = 1_000_000_000;

function seedsOf(count: number): number[] {
  const { SEED } = process.env;
  if (SEED !== undefined) return [Number(SEED)];
  const first = 1 + Math.floor(Math.random() * LARGEST_SEED);
  return Array.from({ length: count }, (_, i) => first + i);
}
