/** The part of the log suite on the attributes of batches. */

import assert from 'node:assert/strict';

import type { BatchAttributes } from '../core/model/chunk.ts';
import { defineStream, type Stream } from '../core/model/stream.ts';
import { attributesOf, numberedRows, parseBatches, smallLimits, type TestAt } from './log-suite-place.ts';

const events: Stream = defineStream('events');

export function registerAttributes(testAt: TestAt): void {
  testAt('attributes are read with their batch', async (place) => {
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
          const tokens = parseBatches(page).map(({ token }) => token);
          for (const one of attributesOf(page)) {
            assert.ok(tokens.includes(one.token), `attributes of token ${one.token} to be of a batch of the page`);
            read.push(one);
          }
          for (const { attributes } of page.chunks) assert.notEqual(attributes?.length, 0);
          ({ upTo: after, hasMore } = page);
        }
        assert.deepEqual(
          read,
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
    assert.deepEqual(
      page.chunks.map(({ attributes }) => attributes),
      [undefined],
    );
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
