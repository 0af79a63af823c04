/** A log in memory that keeps nothing after a restart. It is the reference for all others. */

import type { Clock } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import { clockKind, randomKind } from '../core/model/option-kinds.ts';
import { checkOptions, type OptionTable } from '../core/model/options.ts';
import { KeptLog } from './kept-log.ts';
import type { Log } from './log.ts';

/** Options of `memoryLog`. */
export interface MemoryLogOptions {
  readonly clock?: Clock;
  readonly random?: Random;
}

const optionTable: OptionTable<MemoryLogOptions> = { clock: clockKind, random: randomKind };

/** A log in memory. Each `open` starts a new log with a new id. */
export function memoryLog(options?: MemoryLogOptions): Log {
  return new KeptLog({ name: 'memory', ...checkOptions('memoryLog', options, optionTable) });
}
