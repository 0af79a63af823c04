/** What a world is asked for, and what it answers. */

import type { Millis } from '../base/clock.ts';
import type { Follower, FollowerOptions } from '../core/follow/follower.ts';
import type { PrimarySession, PrimarySessionOptions } from '../core/sessions/primary-session.ts';
import type { CrashableLog, CrashableLogOptions } from './crashable-log.ts';
import type { WorldShape } from './world-shape.ts';

export interface WorldOptions {
  readonly seed: number;
  /** In the place of what the seed draws. */
  readonly shape?: Partial<WorldShape>;
  /** In the place of the real machines and the log: to see that a broken one is found. */
  readonly parts?: Partial<WorldParts>;
  /** Keeps a line for everything that happens. */
  readonly keepsTrace?: boolean;
}

export interface WorldParts {
  readonly makeSession: (options: PrimarySessionOptions) => PrimarySession;
  readonly makeFollower: (options: FollowerOptions) => Follower;
  readonly makeLog: (options: CrashableLogOptions) => CrashableLog;
  /** Workers store positions before their rows are applied. */
  readonly storesEarly: boolean;
}

export interface WorldResult {
  readonly seed: number;
  /** Undefined: all is well. */
  readonly failure: WorldFailure | undefined;
  /** What befell the world, in order. */
  readonly faults: readonly string[];
  /** Empty unless it was asked for. */
  readonly trace: readonly string[];
  readonly appliedBatches: number;
  readonly elapsedMs: Millis;
}

export interface WorldFailure {
  /** Which checkers reported, the first of them first. */
  readonly checkers: readonly string[];
  readonly saw: string;
  readonly atMs: Millis;
}

/** A failure in words, with how to see it again. */
export function describeFailure({ seed, failure, faults }: WorldResult): string {
  if (failure === undefined) return `seed ${seed}: all is well`;
  const { checkers, saw, atMs } = failure;
  const list = faults.map((fault) => `  ${fault}`).join('\n');
  return `SEED=${seed} npm run simulate\n${checkers.join(', ')}, at ${atMs} ms: ${saw}\nWhat befell it:\n${list}`;
}
