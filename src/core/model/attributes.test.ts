import { expect, test } from 'vitest';

import { checkAttributes } from './attributes.ts';
import { defaultBatchLimits } from './batch.ts';

const limits = { ...defaultBatchLimits, maxLineBytes: 100 };

test('attributes are one line of JSON of an object', () => {
  for (const json of ['{}', '{"traceparent":"00-4bf9"}', '  { "a" : [1] } ', '{"é":"🦀"}'])
    expect(() => checkAttributes('events', json, limits)).not.toThrow();
  for (const json of ['', '[]', 'null', '5', '"{}"', '{', '{}x', '{"a":\n1}', '{"a":1}\r', '{"a":"\ud800"}']) {
    expect(() => checkAttributes('events', json, limits), json).toThrow(
      expect.objectContaining({ name: 'UsageError', code: 'INVALID_ATTRIBUTES' }),
    );
  }
});

test('attributes fit on a line with their stream and the longest token', () => {
  const around = 'ATTR events 9007199254740991 {"a":""}'.length;
  const fits = `{"a":"${'x'.repeat(limits.maxLineBytes - around)}"}`;
  expect(() => checkAttributes('events', fits, limits)).not.toThrow();
  expect(() => checkAttributes('events', fits.replace('x', 'xx'), limits)).toThrow(/101 bytes, over maxLineBytes 100/);
  expect(() => checkAttributes('events', fits.replace('x', 'é'), limits)).toThrow(/101 bytes/);
  expect(() => checkAttributes('events2', fits, limits)).toThrow(/101 bytes/);
});
