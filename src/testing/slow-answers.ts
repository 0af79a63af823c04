/**
 * The answers of a source that is elsewhere: they may come late, be out of date by then, or fail.
 * What fails fails with anything.
 */

import type { Clock, Millis } from '../base/clock.ts';
import { type Random, randomInteger } from '../base/random.ts';
import { LogError } from '../core/model/errors.ts';
import { LateAnswer } from './late-answer.ts';

export interface AnswerTimes {
  /** The longest time from a question to its answer. 0 means at once. */
  readonly maxReadMs: Millis;
  /** How many of a hundred questions fail. */
  readonly failsPercent: number;
}

export interface SlowAnswersOptions extends AnswerTimes {
  readonly clock: Clock;
  readonly random: Random;
  /** Called when the code that awaits an answer throws and nothing would catch it. */
  readonly onThrown: (thrown: unknown) => void;
}

export class SlowAnswers {
  readonly #options: SlowAnswersOptions;
  /** While true, questions may fail. */
  mayFail = true;
  #hasEnded = false;

  constructor(options: SlowAnswersOptions) {
    this.#options = options;
  }

  /** Nothing is answered from now on. */
  end(): void {
    this.#hasEnded = true;
  }

  ask<Answer>(find: () => Answer): Answer | Promise<Answer> {
    const { maxReadMs, failsPercent, random, clock, onThrown } = this.#options;
    const answer = this.mayFail && random.next() * 100 < failsPercent ? () => this.#fail() : find;
    if (maxReadMs === 0 || random.next() < 0.5) return answer();
    // Elsewhere a question is answered by what is true there, and the answer then travels.
    const found = random.next() < 0.5 ? settle(answer) : undefined;
    return new LateAnswer(onThrown, (resolve, reject) => {
      clock.wakeIn(randomInteger(random, 0, maxReadMs), () => {
        if (this.#hasEnded) return;
        const { value, thrown } = found ?? settle(answer);
        if (value === undefined) reject(thrown);
        else resolve(value);
      });
    });
  }

  #fail(): never {
    const draw = this.#options.random.next();
    if (draw < 0.4) throw new LogError('LOG_UNAVAILABLE', 'the log cannot be read now');
    if (draw < 0.8) throw new Error('connection refused');
    // oxlint-disable-next-line no-throw-literal -- a library may throw what it likes
    throw 'out of reach';
  }
}

function settle<Answer>(find: () => Answer): { value?: Answer; thrown?: unknown } {
  try {
    return { value: find() };
  } catch (thrown) {
    return { thrown };
  }
}
