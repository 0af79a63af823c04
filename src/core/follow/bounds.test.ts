/** What a primary can make a worker hold, and do, is bounded (docs/protocol.md, "Limits"). */

import { describe, expect, test } from 'vitest';
import {
  at,
  ERA,
  FollowerEnd,
  type FollowerEndOptions,
  MEMORY,
  ORIGIN,
  ROWCAST,
  SYNAPSE,
} from '../../../test/support/worker-ends.ts';
import { memoryOf } from '../model/row-memory.ts';
import { MAX_UNREAD_REQUEST_BYTES } from './follower.ts';
import { UnfinishedRows } from './row-cost.ts';

const MIB = 1024 * 1024;
const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `s${i}`);
const containers = (bytes: number): string => `[${'[],'.repeat(bytes / 3 - 1)}[]]`;

function asking(count: number, options: FollowerEndOptions = {}, greeting: string = ROWCAST): FollowerEnd {
  const end = new FollowerEnd(options);
  for (const name of names(count)) end.subscribe(name, greeting === ROWCAST ? at(name, 5) : 'start');
  end.greetedBy(greeting);
  return end;
}

/** Hears lines until the connection ends; how many it took. */
function hearUntilClosed(end: FollowerEnd, lines: Iterable<string>): number {
  let heard = 0;
  for (const line of lines) {
    if (end.outputs.of('close').length > 0) break;
    end.hear(line);
    heard++;
  }
  return heard;
}

describe('unfinished batches', () => {
  test.each([
    ['Rowcast', ROWCAST],
    ['any other', SYNAPSE],
  ])('those of 600 streams of %s primary share one bound', (_who, greeting) => {
    const end = asking(600, { limits: { maxBatchBytes: 4 * MIB } }, greeting);
    const row = `"${'x'.repeat(10_000)}"`;
    const heard = hearUntilClosed(
      end,
      names(600).map((name) => `RDATA ${name} batch ${row}`),
    );
    expect(heard).toBeGreaterThan(400);
    expect(heard).toBeLessThan(430);
    end.close();
    expect(end.disconnected).toMatchObject({
      code: 'BATCH_TOO_LARGE',
      text: expect.stringContaining('with others') as unknown,
    });
  });

  test('a bound of one batch is that of all: what is whole, or dropped, makes room', () => {
    const end = asking(2, { limits: { maxBatchBytes: 2_000 } });
    const row = `"${'x'.repeat(700)}"`;
    for (let token = 6; token < 50; token++) end.hear(`RDATA s0 batch ${row}`, `RDATA s0 ${token} ${row}`);
    end.hear(`RDATA s1 batch ${row}`);
    end.unsubscribe('s1');
    end.hear('RELEASED s1', `RDATA s0 batch ${row}`, 'REFUSED s0 AHEAD {}');
    end.passTime(300);
    end.hear(`RDATA s0 batch ${row}`, `RDATA s0 50 ${row}`);
    expect(end.outputs.of('close')).toEqual([]);
    expect(end.batches).toHaveLength(45);
    end.hear(`RDATA s0 batch ${row}`);
    end.reconnect();
    end.hear('SERVER example.com', `PING ${ROWCAST}`, `RDATA s0 batch ${row}`, `RDATA s0 51 ${row}`);
    expect(end.batches).toHaveLength(46);
  });

  // SPEC B8
  test('rows count by what they make in memory, not by their length', () => {
    const end = asking(2, { limits: { maxBatchBytes: 4 * MIB } });
    const heard = hearUntilClosed(
      end,
      Array.from({ length: 40 }, (_, i) => `RDATA s${i % 2} batch ${containers(30_000)}`),
    );
    expect(heard * 30_000, 'far less than 4 MiB of text').toBeLessThan(MIB / 2);
    end.close();
    expect(end.disconnected.code).toBe('BATCH_TOO_LARGE');
  });

  test('so do many short ones', () => {
    const rows = new UnfinishedRows(100_000);
    const text = containers(900);
    let held = 0;
    expect(() => {
      for (let i = 0; i < 1_000; i++) {
        rows.add('events', { text, start: 0, end: text.length }, 0);
        held += memoryOf(text);
      }
    }).toThrow(expect.objectContaining({ code: 'BATCH_TOO_LARGE' }));
    // Rows that were counted by their length, while even the worst would have fit, take at most as
    // much again.
    expect(held).toBeLessThan(2 * 100_000);
  });

  test('what was refused is not counted: the books of one batch do not change those of the next', () => {
    const rows = new UnfinishedRows(1_000);
    const line = { text: 'x'.repeat(900), start: 0, end: 900 };
    for (let i = 0; i < 10; i++) {
      const cost = rows.add('events', line, 0)!;
      expect(() => rows.add('events', line, 0)).toThrow(expect.objectContaining({ code: 'BATCH_TOO_LARGE' }));
      expect(rows.add('events', line, cost), 'one batch alone').toBeUndefined();
      rows.remove(900, cost);
    }
  });
});

describe('rows that wait for their handlers', () => {
  test('count by what they make in memory: reading stops after few of them', () => {
    const end = asking(1, { limits: { maxQueuedBytes: MIB } });
    end.isApplying = false;
    for (let token = 6; token < 40; token++) end.hear(`RDATA s0 ${token} ${containers(30_000)}`);
    expect(end.outputs.of('pause')).toHaveLength(1);
    expect(end.subscription('s0').delivery.pushed).toBeLessThan(4);
    end.isApplying = true;
    while (end.follower.isPaused) end.apply();
    expect(end.subscription('s0').next).toEqual(at('s0', 39));
  });

  test('attributes count with them', () => {
    const end = asking(1, { wantsAttributes: true, limits: { maxQueuedBytes: 10_000 } });
    end.isApplying = false;
    for (let token = 6; token < 40; token++)
      end.hear(`ATTR s0 ${token} {"a":"${'x'.repeat(2_000)}"}`, `RDATA s0 ${token} 1`);
    expect(end.outputs.of('pause')).toHaveLength(1);
    expect(end.subscription('s0').delivery.pushed).toBeLessThan(8);
  });

  test('what a list of streams counted for is let go, also where it ends the connection', () => {
    const end = new FollowerEnd({ limits: { maxStreams: 10, maxQueuedBytes: 2_000 } });
    end.subscribeAll('now');
    end.greetedBy(ROWCAST);
    for (let i = 0; i < 50; i++) {
      end.hear(`POSITION $streams 0 ${ORIGIN}`, 'RELEASED $streams', `HISTORY $streams 0 ${ERA}`);
      for (let token = 1; token < 50; token++) end.hear(`RDATA $streams ${token} {"stream":"s${token}","made":1}`);
      end.close();
      expect(end.disconnected.code).toBe('TOO_MANY_STREAMS');
      end.wait();
      end.open();
      end.hear('SERVER example.com', `PING ${ROWCAST}`);
    }
    expect(end.outputs.of('pause').length).toBe(end.outputs.of('resume').length);
    expect(end.follower.isPaused).toBe(false);
  });
});

describe('streams', () => {
  const limits = { maxStreams: 1_000 };

  test('POSITIONs of very many new names end at maxStreams', () => {
    const end = new FollowerEnd({ limits });
    end.subscribeAll('now');
    end.greetedBy(SYNAPSE);
    const heard = hearUntilClosed(
      end,
      names(5_000).map((name) => `POSITION ${name} 1`),
    );
    expect(heard).toBe(1_001);
    end.close();
    expect(end.disconnected).toMatchObject({
      code: 'TOO_MANY_STREAMS',
      text: 'the primary has more streams than maxStreams 1000',
    });
  });

  test('so do rows of very many names', () => {
    const end = new FollowerEnd({ limits });
    end.subscribeAll('now');
    end.greetedBy(SYNAPSE);
    expect(
      hearUntilClosed(
        end,
        names(5_000).map((name) => `RDATA ${name} 1 1`),
      ),
    ).toBe(1_001);
  });

  test('and a list of them', () => {
    const end = new FollowerEnd({ limits });
    end.subscribeAll('now');
    end.greetedBy(ROWCAST);
    end.hear(`POSITION $streams 5000 ${ERA}`, `POSITION $streams.volatile 0 ${MEMORY}`, 'RELEASED $streams');
    end.hear(`HISTORY $streams 0 ${ERA}`);
    const rows = names(5_000).map((name, i) => `RDATA $streams ${i + 1} {"stream":"${name}","made":1}`);
    expect(hearUntilClosed(end, rows)).toBeLessThanOrEqual(4_001);
    end.close();
    expect(end.disconnected.code).toBe('TOO_MANY_STREAMS');
  });

  test('streams that a list names and calls deleted further on count for none', () => {
    const end = new FollowerEnd({ limits: { maxStreams: 5 } });
    end.subscribeAll('start');
    end.greetedBy(ROWCAST);
    end.hear(`POSITION $streams 24 ${ERA}`, `POSITION $streams.volatile 0 ${MEMORY}`, 'RELEASED $streams');
    end.hear(`HISTORY $streams 0 ${ERA}`);
    const row = (i: number, what: string): string => `RDATA $streams ${i} {"stream":"s${i % 12}","${what}":1}`;
    for (let i = 1; i <= 12; i++) end.hear(row(i, 'made'));
    for (let i = 13; i <= 22; i++) end.hear(row(i, 'deleted'));
    expect(end.hear(`POSITION $streams 24 ${ERA}`)).toEqual(['REPLICATE s11 START', 'REPLICATE s0 START']);
  });

  test.each([
    ['Rowcast', ROWCAST],
    ['any other', SYNAPSE],
  ])('twice as many streams of %s primary take twice the work, not four times', (_who, greeting) => {
    const work = (count: number): number => {
      const end = new FollowerEnd();
      end.subscribeAll('now');
      end.greetedBy(greeting);
      const ofAll = names(count);
      let lines = ofAll.map((name) => `POSITION ${name} 1`);
      if (greeting === ROWCAST) {
        end.hear(`POSITION $streams ${count} ${ERA}`, 'RELEASED $streams', `HISTORY $streams 0 ${ERA}`);
        lines = ofAll.flatMap((name, i) => [
          `RDATA $streams ${i + 1} {"stream":"${name}","made":1}`,
          `POSITION ${name} 1 ${ERA}`,
        ]);
      }
      const bytes = Buffer.from(`${lines.join('\n')}\n`);
      const since = process.cpuUsage();
      end.hearBytes(bytes);
      const { user, system } = process.cpuUsage(since);
      return user + system;
    };
    work(2_000);
    const [few, many] = [Math.min(work(2_000), work(2_000)), Math.min(work(8_000), work(8_000))];
    // Four times the streams: sixteen times the work if it were quadratic.
    expect(many / few).toBeLessThan(9);
  });

  test('very many that wait to be asked again cost the others nothing: the next wake is known without a look at all', () => {
    const end = asking(3_000);
    end.subscribe('live', 'now');
    end.hear(`POSITION live 1 ${ERA}`, ...names(3_000).map((name) => `REFUSED ${name} UNAVAILABLE {}`));
    const before = end.outputs.story.length;
    end.passTime(250);
    expect(end.outputs.story.slice(before).filter((line) => line.startsWith('REPLICATE'))).toHaveLength(3_000);
    expect(end.isLive('live')).toBe(true);
  });
});

test('a primary that reads none of its requests is left once MAX_UNREAD_REQUEST_BYTES of them wait', () => {
  const end = new FollowerEnd();
  end.subscribe('events', 'now');
  end.greetedBy(ROWCAST);
  end.follower.handleBlocked(end.now, MAX_UNREAD_REQUEST_BYTES);
  end.drain();
  expect(end.outputs.of('close')).toHaveLength(0);
  end.follower.handleBlocked(end.now, 1);
  end.drain();
  expect(end.outputs.of('close')).toHaveLength(1);
  end.close();
  expect(end.disconnected.text).toContain(`left ${MAX_UNREAD_REQUEST_BYTES + 1} bytes of requests unread`);
});
