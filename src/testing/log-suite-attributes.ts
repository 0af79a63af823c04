/** The part of the log suite on the attributes of batches. */

import assert from 'node:assert/strict';

import { encodeBatch } from '../core/model/batch.ts';
import type { BatchAttributes } from '../core/model/page.ts';
import { defineStream, type Stream } from '../core/model/stream.ts';
import { numberedRows, smallLimits, type TestAt } from './log-suite-place.ts';

const events: Stream = defineStream('events');

export function registerAttributes(testAt: TestAt): void {
  testAt('attributes are read with their batch, and say where it stands in the lines', async (place) => {
    const log = await place.open([events]);
    // Chunks of one batch and of several; with attributes and without, at the edges and between.
    const groups = [[0], [1, 0, 1], [1], [0, 0], [0, 1, 1, 0], [1]];
    let n = 0;
    for (const group of groups) {
      await Promise.all(
        group.map(async (has) => {
          const json = `{"n":${++n},"t":"é"}`;
          await log.append('events', numberedRows(1 + (n % 3), 'é'), has === 1 ? { attributes: json } : {});
        }),
      );
    }
    const having = groups.flat().flatMap((has, i) => (has === 1 ? [i + 1] : []));
    for (const maxBytes of [1, 100, 300, 1_000_000]) {
      for (let from = 0; from <= n; from++) {
        const read: BatchAttributes[] = [];
        for (let after = from, hasMore = true; hasMore; ) {
          const page = await log.read('events', { after, maxBytes });
          for (const one of page.attributes ?? []) {
            const batch = encodeBatch('events', one.token, numberedRows(1 + (one.token % 3), 'é'));
            const lines = Buffer.from(page.lines).subarray(one.at, one.at + Buffer.byteLength(batch));
            assert.equal(lines.toString(), batch);
            read.push(one);
          }
          if (page.attributes !== undefined) assert.notEqual(page.attributes.length, 0);
          ({ upTo: after, hasMore } = page);
        }
        assert.deepEqual(
          read.map(({ token, json }) => ({ token, json })),
          having.filter((token) => token > from).map((token) => ({ token, json: `{"n":${token},"t":"é"}` })),
          `after ${from}, pages of ${maxBytes}`,
        );
      }
    }
  });

  testAt('a page of batches without attributes says nothing of them', async (place) => {
    const log = await place.open([events]);
    await log.append('events', ['1'], { attributes: '{"a":1}' });
    await log.append('events', ['2']);
    const page = await log.read('events', { after: 1, maxBytes: 1_000 });
    assert.equal(page.attributes, undefined);
  });

  testAt(
    'attributes that are no line of JSON of an object are refused, and nothing of the batch is kept',
    async (place) => {
      const log = await place.open([events], smallLimits);
      const tooLong = JSON.stringify({ a: 'x'.repeat(smallLimits.maxLineBytes) });
      for (const attributes of ['', '[]', 'null', '{"a":', '{"a":\n1}', tooLong])
        await assert.rejects(log.append('events', ['1'], { attributes }), {
          name: 'UsageError',
          code: 'INVALID_ATTRIBUTES',
        });
      assert.equal(log.bounds('events').latest, 0);
    },
  );
}
