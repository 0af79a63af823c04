/** What one worker of a world reads, and how. Drawn once, the same for each of its processes. */

import { type Random, randomInteger } from '../base/random.ts';
import type { Stream, StreamName } from '../core/model/stream.ts';

export interface StreamPlan {
  readonly stream: StreamName;
  /** Where it begins when its checkpoint is empty. */
  readonly fallback: 'start' | 'now';
  readonly onReset: 'fail' | 'earliest' | 'now';
}

export interface ReadingPlan {
  readonly hasCheckpoint: boolean;
  /** By subscribeAll, all in the same way. */
  readonly followsAll: boolean;
  readonly streams: readonly StreamPlan[];
}

export function drawReadingPlan(random: Random, streams: readonly Stream[]): ReadingPlan {
  const pick = <Choice>(...choices: readonly Choice[]): Choice =>
    choices[randomInteger(random, 0, choices.length - 1)]!;
  const followsAll = random.next() < 0.25;
  const hasCheckpoint = random.next() < 0.8;
  if (followsAll) {
    const fallback = pick<'start' | 'now'>('start', 'now');
    const onReset = pick<'earliest' | 'now'>('earliest', 'now');
    return { hasCheckpoint, followsAll, streams: streams.map(({ name }) => ({ stream: name, fallback, onReset })) };
  }
  const some = streams.filter(() => random.next() < 0.8);
  return {
    hasCheckpoint,
    followsAll,
    streams: (some.length > 0 ? some : streams).map(({ name }) => ({
      stream: name,
      fallback: pick<'start' | 'now'>('start', 'start', 'now'),
      onReset: pick<'fail' | 'earliest' | 'now'>('fail', 'earliest', 'earliest', 'now'),
    })),
  };
}
