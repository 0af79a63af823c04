/** What a closed primary keeps of logs and sources that outlive it: nothing. */

import { expect, test } from 'vitest';

import { defaultBatchLimits } from '../core/model/batch.ts';
import { Declarations } from '../core/model/declarations.ts';
import { defineStream } from '../core/model/stream.ts';
import type { Log, Source } from '../log/log.ts';
import { memoryLog } from '../log/memory.ts';
import { createPrimary } from './primary.ts';

/** Counts who watches it. */
function watched(source: Source): { readonly watchers: number } {
  let watchers = 0;
  const watch = source.watch.bind(source);
  source.watch = (listener) => {
    watchers++;
    const end = watch(listener);
    return () => {
      watchers--;
      end();
    };
  };
  return {
    get watchers() {
      return watchers;
    },
  };
}

/** A source over a log in memory, whose catalog is named after its log id. */
async function far(): Promise<Log> {
  const log = memoryLog();
  const declarations = new Declarations([defineStream('far')]);
  await log.open({ declarations, limits: defaultBatchLimits, catalog: '$far' });
  Object.defineProperty(log, 'catalog', { value: `$streams.${log.id}` });
  const bounds = log.bounds.bind(log);
  log.bounds = (stream) => bounds(stream.startsWith('$') ? '$far' : stream);
  return log;
}

// SPEC B19
test('a primary that was closed, or could not open, listens to none of its logs and sources', async () => {
  const log = memoryLog();
  const [one, two] = [await far(), await far()];
  const counts = [log, one, two].map(watched);
  const streams = [defineStream('events')];
  for (let i = 0; i < 3; i++) {
    const primary = await createPrimary({ name: 'main', log, streams, sources: [one, two] });
    expect(counts.map(({ watchers }) => watchers)).toEqual([2, 2, 2]);
    await primary.append('events', [1]);
    await primary.close();
    expect(counts.map(({ watchers }) => watchers)).toEqual([0, 0, 0]);
  }
  two.bounds = () => {
    throw new Error('it is gone');
  };
  await expect(createPrimary({ name: 'main', log, streams, sources: [one, two] })).rejects.toThrow('it is gone');
  expect(counts.map(({ watchers }) => watchers)).toEqual([0, 0, 0]);
});
