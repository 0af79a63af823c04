import { expect, test } from 'vitest';
import { silentLogger } from './logger.ts';

test('who wants to hear nothing hears nothing', () => {
  for (const level of ['debug', 'info', 'warn', 'error'] as const)
    expect(silentLogger[level]({ worker: 1 }, 'text')).toBeUndefined();
});
