/** What one worker of a world reads, and how. Drawn once, the same for each of its processes. */

import { type Random, randomInteger } from '../base/random.ts';
import { EVERY_NAME, matchesPattern, type NamePattern } from '../core/model/pattern.ts';
import type { StreamName } from '../core/model/stream.ts';

interface ReadsHow {
  /** Where it begins when its checkpoint is empty. */
  readonly fallback: 'start' | 'now';
  readonly onReset: 'fail' | 'earliest' | 'now';
}

export interface PatternPlan extends ReadsHow {
  /** EVERY_NAME: by subscribeAll. */
  readonly pattern: NamePattern;
}

export interface StreamPlan extends ReadsHow {
  readonly stream: StreamName;
  /** The pattern through which it is followed. Undefined: by name. */
  readonly pattern: NamePattern | undefined;
}

export interface ReadingPlan {
  readonly hasCheckpoint: boolean;
  /** By their names, whether they are made or not. */
  readonly streams: readonly StreamPlan[];
  /** Each with a handler of its own. */
  readonly patterns: readonly PatternPlan[];
}

/** How a stream is followed. A name wins over a pattern, and a pattern over all. */
export function planOf(plan: ReadingPlan, stream: StreamName): StreamPlan | undefined {
  return plan.streams.find((ofStream) => ofStream.stream === stream) ?? planOfPattern(plan, stream);
}

/** How a stream is followed that no subscription by name has. */
export function planOfPattern({ patterns }: ReadingPlan, stream: StreamName): StreamPlan | undefined {
  const matching = patterns.filter(({ pattern }) => matchesPattern(pattern, stream));
  const best = matching.find(({ pattern }) => pattern !== EVERY_NAME) ?? matching[0];
  return best && { ...best, stream };
}

/** @param patterns those that the primary declares */
export function drawReadingPlan(
  random: Random,
  { names, patterns }: { readonly names: readonly StreamName[]; readonly patterns: readonly NamePattern[] },
): ReadingPlan {
  const pick = <Choice>(...choices: readonly Choice[]): Choice =>
    choices[randomInteger(random, 0, choices.length - 1)]!;
  const drawPattern = (pattern: NamePattern): PatternPlan => ({
    pattern,
    fallback: pick('start', 'now'),
    onReset: pick('earliest', 'now'),
  });
  const planOfName = (stream: StreamName): StreamPlan => ({
    stream,
    pattern: undefined,
    fallback: pick<'start' | 'now'>('start', 'start', 'now'),
    onReset: pick<'fail' | 'earliest' | 'now'>('fail', 'earliest', 'earliest', 'now'),
  });
  const hasCheckpoint = random.next() < 0.8;
  if (random.next() < 0.2) return { hasCheckpoint, streams: [], patterns: [drawPattern(EVERY_NAME)] };
  const some = names.filter(() => random.next() < 0.8);
  const streams = (some.length > 0 ? some : names).map(planOfName);
  if (patterns.length === 0 || random.next() < 0.3) return { hasCheckpoint, streams, patterns: [] };
  const few = streams.filter(() => random.next() < 0.4);
  const every = random.next() < 0.3 ? [drawPattern(EVERY_NAME)] : [];
  return { hasCheckpoint, streams: few, patterns: [...patterns.map(drawPattern), ...every] };
}
