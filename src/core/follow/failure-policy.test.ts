// oxlint-disable unicorn/no-thenable -- the member of an option is called `then`, and is no function
import { expect, test } from 'vitest';
import { FailurePolicy, type FailureRule, LONGEST_RETRY_WAIT_MS } from './failure-policy.ts';

/** Each step of a batch that goes on failing; a wait as its ms. `answer`: what the function says. */
function steps(rule: FailureRule, failures: number, { answer, isUnreadable = false }: Case = {}): unknown[] {
  const policy = new FailurePolicy(rule);
  const taken: unknown[] = [];
  for (let i = 0; i < failures; i++) {
    let step = policy.handleFailure(isUnreadable);
    if (step.kind === 'ask') step = policy.handleAnswer(answer);
    taken.push(step.kind === 'retry' ? step.delayMs : step.kind);
  }
  expect(policy.attempt).toBe(failures);
  return taken;
}

interface Case {
  readonly answer?: unknown;
  readonly isUnreadable?: boolean;
}

const thrice: FailureRule = { retry: { times: 3, backoffMs: 50 }, then: 'skip' };

test.each<[string, FailureRule, Case, unknown[]]>([
  ['stops', 'stop', {}, ['stop']],
  ['is skipped', 'skip', {}, ['skip']],
  ['is tried again, each time after twice the wait, and then skipped', thrice, {}, [50, 100, 200, 'skip']],
  ['stops after the last attempt unless it says otherwise', { retry: { times: 1 } }, {}, [100, 'stop']],
  ['is not tried again when it cannot be read', thrice, { isUnreadable: true }, ['skip']],
  ['waits not at all', { retry: { times: 2, backoffMs: 0 } }, {}, [0, 0, 'stop']],
  ['stops when the function says so', 'ask', { answer: 'stop' }, ['stop']],
  ['is skipped when the function says so', 'ask', { answer: 'skip' }, ['skip']],
  ['is tried again as long as the function says so', 'ask', { answer: 'retry' }, [100, 200, 400, 800]],
  ['so is one that cannot be read', 'ask', { answer: 'retry', isUnreadable: true }, [100, 200]],
  ['has no answer when the function says nothing', 'ask', {}, ['no-answer']],
  ['has no answer when the function says something else', 'ask', { answer: 'later' }, ['no-answer']],
])('a batch that fails %s', (_what, rule, options, expected) => {
  expect(steps(rule, expected.length, options)).toEqual(expected);
});

test('a wait is at most a minute, or as long as the first one', () => {
  const waits = steps({ retry: { times: Infinity, backoffMs: 1_000 } }, 2_000);
  expect(waits.slice(0, 8)).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
  expect(waits.at(-1)).toBe(LONGEST_RETRY_WAIT_MS);
  expect(steps({ retry: { times: 3, backoffMs: 90_000 } }, 3)).toEqual([90_000, 90_000, 90_000]);
});
