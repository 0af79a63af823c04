/** The options of a world and its result. */

import type { Millis } from '../base/clock.ts';
import { aFunction, boolean, integerFrom, nested, required } from '../core/model/option-kinds.ts';
import type { OptionTable } from '../core/model/options.ts';
import type { Connection } from '../transport/transport.ts';
import { createPrimary, type Primary } from '../primary/primary.ts';
import type { PrimaryOptions } from '../primary/options.ts';
import type { Checkpoint, SavingCheckpoint } from '../worker/checkpoint.ts';
import type { WorkerOptions } from '../worker/options.ts';
import { createWorker, type Worker } from '../worker/worker.ts';
import { FakeLog, type FakeLogOptions } from './fake-log.ts';
import type { LinkEnd } from './fake-link.ts';
import { shapeTable, type WorldShape } from './world-shape.ts';

/** Options of `runWorld`. */
export interface WorldOptions {
  readonly seed: number;
  /** Replaces what the seed draws. */
  readonly shape?: Partial<WorldShape>;
  /** Replaces the real machines, to check that a broken one is found. */
  readonly parts?: Partial<WorldParts>;
  /** Keeps a line for every happening. */
  readonly keepsTrace?: boolean;
}

/** The parts of a world. */
export interface WorldParts {
  /** Makes the primary. */
  readonly makePrimary: (options: PrimaryOptions) => Promise<Primary>;
  /** Makes a worker. */
  readonly makeWorker: (options: WorkerOptions) => Worker;
  /** Makes the log under the faults. */
  readonly makeLog: (options: FakeLogOptions) => FakeLog;
  /** The connection for one side. */
  readonly connection: (end: LinkEnd, side: 'worker' | 'primary') => Connection;
  /** The checkpoint for a worker. */
  readonly checkpoint: (checkpoint: SavingCheckpoint) => Checkpoint;
}

export const realParts: WorldParts = Object.freeze({
  makePrimary: createPrimary,
  makeWorker: (options: WorkerOptions): Worker => createWorker(options),
  makeLog: (options: FakeLogOptions): FakeLog => new FakeLog(options),
  connection: (end: LinkEnd): Connection => end,
  checkpoint: (checkpoint: SavingCheckpoint): Checkpoint => checkpoint,
});

const partTable: OptionTable<Partial<WorldParts>> = {
  makePrimary: aFunction(),
  makeWorker: aFunction(),
  makeLog: aFunction(),
  connection: aFunction(),
  checkpoint: aFunction(),
};

export const worldTable: OptionTable<WorldOptions> = {
  seed: required(integerFrom(0)),
  shape: nested(shapeTable),
  parts: nested(partTable),
  keepsTrace: boolean,
};

/** The result of `runWorld`. */
export interface WorldResult {
  readonly seed: number;
  /** Undefined when all is well. */
  readonly failure: WorldFailure | undefined;
  /** The faults in order. */
  readonly faults: readonly string[];
  /** Empty unless it was asked for. */
  readonly trace: readonly string[];
  readonly appliedBatches: number;
  readonly elapsedMs: Millis;
}

/** The first violation in a world. */
export interface WorldFailure {
  /** The checker that reported. */
  readonly checker: string;
  readonly saw: string;
  readonly atMs: Millis;
}

/** Describes a failure, and how to reproduce it. */
export function describeFailure({ seed, failure, faults }: WorldResult): string {
  if (failure === undefined) return `seed ${seed}: all is well`;
  const { checker, saw, atMs } = failure;
  const list = faults.map((fault) => `  ${fault}`).join('\n');
  return `SEED=${seed} npm run simulate\n${checker}, at ${atMs} ms: ${saw}\nWhat befell it:\n${list}`;
}
