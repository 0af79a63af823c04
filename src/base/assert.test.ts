import { expect, test } from 'vitest';
import { assert, assertNever } from './assert.ts';

test('what holds passes', () => {
  expect(() => assert(true, 'the sun to rise')).not.toThrow();
});

test('what does not is a bug in Rowcast, and says what was expected', () => {
  expect(() => assert(false, 'the sun to rise')).toThrow('Bug in Rowcast: expected the sun to rise');
});

test('a case that was forgotten says which', () => {
  expect(() => assertNever({ kind: 'new' } as never)).toThrow('Bug in Rowcast: no case for {"kind":"new"}');
});
