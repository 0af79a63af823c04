import { describe, expect, test } from 'vitest';
import { checkBatch, defaultBatchLimits } from './batch.ts';
import { memoryOf } from './row-memory.ts';

describe('what can be sent whatever its token will be', () => {
  const longestToken = String(Number.MAX_SAFE_INTEGER);
  const row = '"éé"';
  const lineBytes = Buffer.byteLength(`RDATA events ${longestToken} ${row}`);

  test('a line of exactly maxLineBytes, in bytes', () => {
    expect(() => checkBatch('events', [row], { ...defaultBatchLimits, maxLineBytes: lineBytes })).not.toThrow();
    expect(() => checkBatch('events', ['1', row], { ...defaultBatchLimits, maxLineBytes: lineBytes - 1 })).toThrow(
      expect.objectContaining({
        code: 'ROW_TOO_LARGE',
        message: `row 1 of the batch for stream events makes a line of ${lineBytes} bytes, over maxLineBytes ${lineBytes - 1}`,
      }),
    );
  });

  test('rows that take exactly maxBatchBytes of memory once they are read, in all', () => {
    const line = `RDATA events ${longestToken} [{},{}]`;
    const maxBatchBytes = 2 * memoryOf(line);
    const rows = ['[{},{}]', '[{},{}]'];
    expect(() => checkBatch('events', rows, { ...defaultBatchLimits, maxBatchBytes })).not.toThrow();
    expect(() => checkBatch('events', rows, { ...defaultBatchLimits, maxBatchBytes: maxBatchBytes - 1 })).toThrow(
      expect.objectContaining({ code: 'BATCH_TOO_LARGE', facts: { stream: 'events', rows: 2, memory: maxBatchBytes } }),
    );
  });

  test('at least one row', () => {
    expect(() => checkBatch('events', [], defaultBatchLimits)).toThrow(
      expect.objectContaining({ code: 'INVALID_ROW' }),
    );
  });
});
