import { describe, expect, test } from 'vitest';
import { Queue } from './queue.ts';

describe('a queue', () => {
  test('gives what went in, in order, however pushes and shifts alternate', () => {
    const queue = new Queue<number>();
    let pushed = 0;
    let shifted = 0;
    for (let round = 0; round < 200; round++) {
      for (let i = 0; i < (round * 37) % 101; i++) queue.push(pushed++);
      for (let i = 0; i < (round * 53) % 97; i++) {
        const entry = queue.shift();
        if (entry === undefined) expect(shifted).toBe(pushed);
        else expect(entry).toBe(shifted++);
      }
      expect(queue.length).toBe(pushed - shifted);
      expect([...queue]).toEqual(Array.from({ length: pushed - shifted }, (_, i) => shifted + i));
    }
    expect(pushed).toBeGreaterThan(9_000);
  });

  test('takes entries by the thousand that wait at once', () => {
    const queue = new Queue<number>();
    for (let i = 0; i < 10_000; i++) queue.push(i);
    for (let i = 0; i < 10_000; i++) expect(queue.shift()).toBe(i);
    expect(queue.shift()).toBeUndefined();
    expect(queue.length).toBe(0);
  });

  test('is empty once cleared, and goes on', () => {
    const queue = new Queue<string>();
    queue.push('a');
    queue.push('b');
    queue.shift();
    queue.clear();
    expect(queue.length).toBe(0);
    expect(queue.shift()).toBeUndefined();
    queue.push('b');
    expect([...queue]).toEqual(['b']);
    expect(queue.shift()).toBe('b');
  });
});
