import { Writable } from 'node:stream';
import { expect, test } from 'vitest';
import { print, RowOutput } from './row-output.ts';

/** Takes one write at a time, when the test says so. */
class SlowReader extends Writable {
  readonly taken: string[] = [];
  #release: ((error?: Error) => void) | undefined;

  constructor(highWaterMark: number) {
    super({ highWaterMark, decodeStrings: false });
  }

  override _write(text: string, _encoding: string, callback: (error?: Error | null) => void): void {
    this.#release = (error) => {
      if (error === undefined) this.taken.push(text);
      callback(error);
    };
  }

  release(error?: Error): void {
    this.#release!(error);
  }
}

const noFailure = (error: Error): void => {
  throw error;
};

async function turn(): Promise<void> {
  await new Promise((resolve) => {
    setImmediate(resolve);
  });
}

test('what one turn of the event loop brings is one write', async () => {
  const reader = new SlowReader(1_000);
  const output = new RowOutput(reader, noFailure);
  for (const text of ['a', 'b', 'c']) expect(output.write(text)).toBeUndefined();
  await turn();
  reader.release();
  expect(reader.taken).toEqual(['abc']);
});

test('while the reader has not taken what it was given, a write answers with a promise', async () => {
  const reader = new SlowReader(2);
  const output = new RowOutput(reader, noFailure);
  expect(output.write('abc')).toBeUndefined();
  await turn();
  let isRoom = false;
  const room = Promise.resolve(output.write('d')).then(() => {
    isRoom = true;
  });
  await turn();
  expect(isRoom).toBe(false);
  reader.release();
  await turn();
  reader.release();
  await room;
  expect(reader.taken).toEqual(['abc', 'd']);
});

test('it is flushed when the reader has everything, not before', async () => {
  const reader = new SlowReader(1_000);
  const output = new RowOutput(reader, noFailure);
  await output.flushed();
  void output.write('a');
  let isFlushed = false;
  const flushed = output.flushed().then(() => {
    isFlushed = true;
  });
  await turn();
  expect(isFlushed).toBe(false);
  reader.release();
  await flushed;
});

test('a failure reaches whoever waits, whoever asks later, and the owner once', async () => {
  const reader = new SlowReader(2);
  const failures: Error[] = [];
  const output = new RowOutput(reader, (error) => failures.push(error));
  void output.write('abc');
  await turn();
  const waiting = [output.write('d'), output.flushed()].map(async (promise) => expect(promise).rejects.toThrow('gone'));
  reader.release(new Error('gone'));
  await Promise.all(waiting);
  expect(() => output.write('e')).toThrow('gone');
  await expect(output.flushed()).rejects.toThrow('gone');
  expect(failures).toEqual([output.failure]);
});

test('a result that nobody reads to its end is no failure; one that cannot be written is', async () => {
  for (const [code, expected] of [
    ['EPIPE', undefined],
    ['ENOSPC', 'ENOSPC'],
  ]) {
    const reader = new SlowReader(1);
    const printed = print(reader, 'text').then(
      () => undefined,
      (error: NodeJS.ErrnoException) => error.code,
    );
    reader.release(Object.assign(new Error(code), { code }));
    expect(await printed).toBe(expected);
  }
});
