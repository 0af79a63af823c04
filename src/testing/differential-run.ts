/** Runs the differential test from one seed, and shortens the way to a difference that it finds. */

import { seededRandom } from '../base/random.ts';
import { Achievements, drawStep, type Step } from './differential-plan.ts';
import { Scene } from './differential-scene.ts';
import { doStep } from './differential-steps.ts';
import { type CreateLog, LogPlace } from './log-suite-place.ts';
import type { LogFeatures } from './log-suite.ts';

/** The log under test. */
export interface DifferentialSubject {
  readonly create: CreateLog;
  readonly supports: LogFeatures;
}

export interface DifferentialOptions extends DifferentialSubject {
  readonly seed: number;
  /** Default 20,000. */
  readonly maxSteps?: number;
}

export interface Difference {
  readonly error: unknown;
  /** The operations that lead to it, the last one included. */
  readonly operations: readonly string[];
}

export interface DifferentialResult {
  readonly seed: number;
  /** How many operations were done, or until the difference. */
  readonly steps: number;
  readonly failure: Difference | undefined;
}

/** Far more than any log needs. A kind of operation that never succeeds is a fault of the log or the test. */
const DEFAULT_MAX_STEPS = 20_000;

/** How long it tries to do without some of the operations. Test runners have little patience. */
const MAX_SHORTENING_MS = 4_000;

/** Does random operations until each kind has succeeded often enough, or log and oracle differ. */
export async function runDifferential(options: DifferentialOptions): Promise<DifferentialResult> {
  const { seed, supports, maxSteps = DEFAULT_MAX_STEPS } = options;
  const random = seededRandom(seed);
  const achieved = new Achievements(supports);
  const plan: Step[] = [];
  function* drawn(): Generator<Step> {
    while (!achieved.isComplete && plan.length < maxSteps) {
      const step = drawStep(random, supports);
      plan.push(step);
      yield step;
    }
  }
  const difference = await play(options, drawn(), achieved);
  if (difference !== undefined) {
    return { seed, steps: plan.length, failure: await shorten(options, plan, difference) };
  }
  if (achieved.isComplete) return { seed, steps: plan.length, failure: undefined };
  const error = new Error(`after ${plan.length} operations these succeeded too rarely: ${achieved.missing.join(', ')}`);
  return { seed, steps: plan.length, failure: { error, operations: [] } };
}

/** What a failed run says, with all that is needed to repeat it. */
export function describeDifference({ seed, steps, failure }: DifferentialResult): string {
  if (failure === undefined) return `Seed ${seed}: ${steps} operations, no difference.`;
  const { error, operations } = failure;
  const text = error instanceof Error ? error.message : String(error);
  const numbered = operations.map((operation, i) => `  ${i + 1}. ${operation}`);
  return [
    `SEED=${seed} repeats it. At operation ${steps} log and oracle differ: ${text}`,
    ...(numbered.length > 0 ? ['These operations are enough:', ...numbered] : []),
  ].join('\n');
}

/** Does the steps with a new log. Returns the first difference. */
async function play(
  { create, supports }: DifferentialSubject,
  steps: Iterable<Step>,
  achieved = new Achievements(supports),
): Promise<Difference | undefined> {
  const place = await LogPlace.make(create);
  const operations: string[] = [];
  const scene = new Scene({ place, supports, reach: (achievement) => achieved.add(achievement) });
  try {
    await scene.open();
    for (const step of steps) {
      try {
        await doStep(scene, step);
      } finally {
        operations.push(scene.text);
      }
    }
    return undefined;
  } catch (error) {
    return { error, operations };
  } finally {
    await scene.close();
    await place.remove();
  }
}

/** Leaves out operations, first many and then single ones, as long as there is still a difference. */
async function shorten(subject: DifferentialSubject, plan: readonly Step[], found: Difference): Promise<Difference> {
  let difference = found;
  let needed = plan;
  const until = performance.now() + MAX_SHORTENING_MS;
  for (let size = needed.length >> 1; size > 0; size >>= 1) {
    // From the end: what comes last rarely needs what comes first.
    for (let from = needed.length - 1 - size; from >= 0; from -= size) {
      if (performance.now() > until) return difference;
      const fewer = [...needed.slice(0, from), ...needed.slice(from + size)];
      const again = await play(subject, fewer);
      if (again === undefined) continue;
      difference = again;
      needed = fewer.slice(0, again.operations.length);
      from = Math.min(from, needed.length - 1);
    }
  }
  return difference;
}
