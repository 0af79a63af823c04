/**
 * The promises of every log (log/log.ts), as tests. Runs under any test runner with a
 * `test(name, function)`:
 *
 *     logSuite(test, {
 *       name: 'my log',
 *       create: ({ directory, clock }) => myLog(directory, clock),
 *       supports: {
 *         durable: true, ids: true, explicitTokens: false, relays: false,
 *         acknowledgements: false, backup: false, foreignHints: false,
 *       },
 *     });
 *
 * What is skipped says so, and why, in the name of a test.
 */

import assert from 'node:assert/strict';

import { randomInteger, seededRandom } from '../base/random.ts';
import { pageOf } from '../log/chunk-page.ts';
import type { RowsEvent } from '../log/log.ts';
import { originOf } from '../core/model/history.ts';
import { aFunction, boolean, nested, oneLine, required } from '../core/model/option-kinds.ts';
import { checkArgument, checkOptions, type OptionTable } from '../core/model/options.ts';
import { defineStream, type Stream } from '../core/model/stream.ts';
import { registerAcknowledgements } from './log-suite-acknowledgements.ts';
import { registerBackup, type RestoreLog } from './log-suite-backup.ts';
import { registerCrash } from './log-suite-crash.ts';
import { registerForeign } from './log-suite-foreign.ts';
import { registerAttributes } from './log-suite-attributes.ts';
import { registerHistories } from './log-suite-histories.ts';
import { registerKeeping } from './log-suite-keeping.ts';
import { registerIds, registerRelayed, registerTokens } from './log-suite-options.ts';
import { registerStreams } from './log-suite-streams.ts';
import {
  type CreateLog,
  LogPlace,
  numberedRows,
  parseBatches,
  type StoredBatch,
  smallLimits,
  type TestAt,
  watchRows,
} from './log-suite-place.ts';
import type { RegisterTest } from './transport-suite.ts';

/** What a log may or may not offer (log/log.ts). */
export interface LogFeatures {
  /** Appends are still there after a restart. */
  readonly durable: boolean;
  /** It remembers the ids of appends. */
  readonly ids: boolean;
  /** It takes tokens that are given. */
  readonly explicitTokens: boolean;
  /** It takes histories that are given, `truncate` and `rebase`: it can keep the rows of a relay. */
  readonly relays: boolean;
  /** It has `backup`. */
  readonly backup: boolean;
  /** It has `holders`: retention by acknowledgement. */
  readonly acknowledgements: boolean;
  /**
   * It is in another process, where others may append to it: its hints have no rows, and its reads
   * and verdicts are promises.
   */
  readonly foreignHints: boolean;
}

/** Options of `logSuite`. */
export interface LogSuiteOptions {
  /** The first words of each test's name. */
  readonly name: string;
  /**
   * Makes a log that is not open yet. A second call with the same directory must find the rows that
   * the first log kept.
   */
  readonly create: CreateLog;
  /** What the log offers. The parts of the suite on other things are skipped and say why. */
  readonly supports: LogFeatures;
  /**
   * For a durable log: the command line of a process that calls `writeUntilKilled`
   * (testing/log-writer.ts) with a log on the directory. The suite kills it with SIGKILL while it
   * writes.
   */
  readonly writer?: (directory: string) => readonly string[];
  /** For a log with `backup`: makes a log on the file that it wrote. */
  readonly restore?: RestoreLog;
}

const events: Stream = defineStream('events');
const others: Stream = defineStream('others');

const featureTable: OptionTable<LogFeatures> = {
  durable: required(boolean),
  ids: required(boolean),
  explicitTokens: required(boolean),
  relays: required(boolean),
  backup: required(boolean),
  acknowledgements: required(boolean),
  foreignHints: required(boolean),
};

/** Of every suite of logs. */
export const logSuiteTable: OptionTable<LogSuiteOptions> = {
  name: required(oneLine),
  create: required(aFunction()),
  supports: required(nested(featureTable)),
  writer: aFunction(),
  restore: aFunction(),
};

/**
 * Registers a test for each promise of a log.
 * @throws UsageError INVALID_OPTION
 */
export function logSuite(test: RegisterTest, given: LogSuiteOptions): void {
  checkArgument('logSuite', 'test', test, aFunction());
  const options = checkOptions('logSuite', given, logSuiteTable);
  const testAt: TestAt = (title, run) => {
    test(`${options.name}: ${title}`, async () => {
      const place = await LogPlace.make(options.create);
      try {
        await run(place);
      } finally {
        await place.remove();
      }
    });
  };
  const { supports, writer } = options;
  registerAppends(testAt);
  registerReads(testAt);
  registerHints(testAt);
  registerHistories(testAt, supports);
  registerStreams(testAt, supports);
  registerAttributes(testAt);
  registerKeeping(testAt, supports);
  const skipped = (what: string, why: string): void => testAt(`${what} is not tested: ${why}`, async () => {});
  if (supports.ids) registerIds(testAt, supports);
  else skipped('the id of an append', 'the log remembers none (supports.ids)');
  if (supports.explicitTokens) registerTokens(testAt, supports);
  else skipped('a given token', 'the log takes none (supports.explicitTokens)');
  if (supports.relays) registerRelayed(testAt, supports);
  else skipped('a given history', 'the log keeps no rows of relays (supports.relays)');
  if (supports.acknowledgements) registerAcknowledgements(testAt, supports);
  else skipped('retention by acknowledgement', 'the log keeps no holders (supports.acknowledgements)');
  if (supports.backup) registerBackup(testAt, options.restore);
  else skipped('a backup', 'the log has none (supports.backup)');
  if (supports.foreignHints) registerForeign(testAt);
  else skipped('a log of others', 'its hints have rows, or its reads take no time (supports.foreignHints)');
  if (!supports.durable) skipped('a crash', 'the log keeps nothing (supports.durable)');
  else if (writer === undefined) skipped('a crash', 'the suite was given no writer');
  else registerCrash(testAt, writer);
}

function registerAppends(testAt: TestAt): void {
  testAt('an append resolves to the token under which the whole batch is read', async (place) => {
    await place.open([events]);
    const token = await place.append('events', ['{"a":1}', '{"a":2}', '[]']);
    assert.deepEqual(await place.readAll('events'), [{ token, rows: ['{"a":1}', '{"a":2}', '[]'] }]);
  });

  testAt('tokens start above 0 and rise from batch to batch, in each stream for itself', async (place) => {
    const log = await place.open([events, others]);
    assert.deepEqual(place.extent('events'), { earliest: 1, latest: 0 });
    let last = 0;
    for (const row of numberedRows(20)) {
      const token = await place.append('events', [row]);
      assert.ok(Number.isSafeInteger(token) && token > last, `${token} after ${last}`);
      assert.equal(log.bounds('events').latest, token);
      last = token;
    }
    assert.deepEqual(place.extent('others'), { earliest: 1, latest: 0 });
    assert.deepEqual(await place.readAll('others'), []);
  });

  testAt('1,000 concurrent appends are all there: whole, in order, each with a token of its own', async (place) => {
    await place.open([events, others]);
    const streams = ['events', 'others'];
    const appended = Array.from({ length: 1_000 }, (_, i) => {
      const stream = streams[i % 2]!;
      const rows = numberedRows(1 + (i % 3), `batch ${i}`);
      return place.append(stream, rows).then((token) => ({ stream, token, rows }));
    });
    const batches = await Promise.all(appended);
    for (const stream of streams) {
      const expected = batches.filter((batch) => batch.stream === stream).map(({ token, rows }) => ({ token, rows }));
      assert.deepEqual(await place.readAll(stream), expected);
    }
  });

  testAt('rows of any text come back as the bytes they were', async (place) => {
    await place.open([events]);
    const rows = [
      '"é 漢字 🦀 \u2028 \u0085"',
      '"\\ud800 \\u0000"',
      `"${'🦀x'.repeat(60_000)}"`,
      '  {"spaces" : true}  ',
      '{"batch":"batch 7 RDATA"}',
    ];
    const token = await place.append('events', rows);
    assert.deepEqual(await place.readAll('events'), [{ token, rows }]);
  });

  testAt('streams of any name keep their own rows', async (place) => {
    const names = [
      'events',
      'Events',
      'EVENTS',
      '"',
      '""',
      "it's",
      'a;DROP',
      '%_',
      '漢字🦀',
      'é',
      'e\u0301',
      '../x',
      '7',
      'rows',
      'streams',
      'batch',
      'x'.repeat(255),
    ];
    await place.open(names.map((name) => defineStream(name)));
    const tokens = await Promise.all(names.map((name, i) => place.append(name, [`${i}`, '"more"'])));
    for (const [i, name] of names.entries())
      assert.deepEqual(await place.readAll(name), [{ token: tokens[i], rows: [`${i}`, '"more"'] }]);
  });

  testAt('a batch that cannot be sent is refused, and nothing of it is kept', async (place) => {
    await place.open([events], smallLimits);
    const before = await place.append('events', ['1']);
    const neighbour = place.append('events', ['2']);
    const tooLong = `"${'x'.repeat(smallLimits.maxLineBytes)}"`;
    const many = Array.from({ length: 20 }, () => `"${'x'.repeat(smallLimits.maxLineBytes / 2)}"`);
    await assert.rejects(place.append('events', ['3', tooLong, '4']), { name: 'UsageError', code: 'ROW_TOO_LARGE' });
    await assert.rejects(place.append('events', many), { name: 'UsageError', code: 'BATCH_TOO_LARGE' });
    await assert.rejects(place.append('events', []), { name: 'UsageError', code: 'INVALID_ROW' });
    const after = await place.append('events', ['5']);
    assert.deepEqual(await place.readAll('events'), [
      { token: before, rows: ['1'] },
      { token: await neighbour, rows: ['2'] },
      { token: after, rows: ['5'] },
    ]);
  });
}

function registerReads(testAt: TestAt): void {
  testAt('reads from every position with every size of page give the same whole', async (place) => {
    const random = seededRandom(4711);
    const log = await place.open([events]);
    const whole: StoredBatch[] = [];
    // Alone and together, so that some batches share a chunk and some do not.
    for (let round = 0; round < 12; round++) {
      const together = Array.from({ length: randomInteger(random, 1, 6) }, (_, i) =>
        numberedRows(randomInteger(random, 1, 4), `round ${round} batch ${i}`),
      );
      const tokens = await Promise.all(together.map((rows) => place.append('events', rows)));
      whole.push(...together.map((rows, i) => ({ token: tokens[i]!, rows })));
    }
    for (const maxBytes of [1, 60, 200, 1_000, 1_000_000]) {
      for (let after = 0; after <= log.bounds('events').latest; after++) {
        const expected = whole.filter((batch) => batch.token > after);
        assert.deepEqual(
          await place.readAll('events', { after, maxBytes }),
          expected,
          `after ${after}, pages of ${maxBytes}`,
        );
      }
    }
  });

  testAt('a page says how far it reaches, how many rows it has and whether more follow', async (place) => {
    const log = await place.open([events]);
    const first = await place.append('events', numberedRows(3));
    const second = await place.append('events', numberedRows(2));
    const page = await log.read('events', { after: 0, maxBytes: 1 });
    assert.deepEqual(
      { ...page, chunks: parseBatches(page) },
      {
        stream: 'events',
        rows: 3,
        upTo: first,
        hasMore: true,
        history: log.era,
        chunks: [{ token: first, rows: numberedRows(3) }],
      },
    );
    const rest = await log.read('events', { after: first, maxBytes: 1_000 });
    assert.deepEqual(
      { ...rest, chunks: parseBatches(rest) },
      {
        stream: 'events',
        rows: 2,
        upTo: second,
        hasMore: false,
        history: log.era,
        chunks: [{ token: second, rows: numberedRows(2) }],
      },
    );
  });

  testAt('a batch larger than a page is read whole', async (place) => {
    const log = await place.open([events]);
    const rows = numberedRows(5_000, 'x'.repeat(150));
    const token = await place.append('events', rows);
    await place.append('events', ['"next"']);
    const page = await log.read('events', { after: 0, maxBytes: 1_000 });
    assert.deepEqual(parseBatches(page), [{ token, rows }]);
    assert.equal(page.hasMore, true);
  });

  testAt('a read at or beyond latest gives an empty page that reaches latest', async (place) => {
    const log = await place.open([events]);
    const empty = { stream: 'events', chunks: [], rows: 0, hasMore: false };
    const read = async (after: number): Promise<unknown> => log.read('events', { after, maxBytes: 1_000 });
    assert.deepEqual(await read(0), { ...empty, upTo: 0, history: originOf(log.id) });
    const latest = await place.append('events', ['1']);
    assert.deepEqual(await read(latest), { ...empty, upTo: latest, history: log.era });
    assert.deepEqual(await read(latest + 1_000), { ...empty, upTo: latest, history: log.era });
  });
}

function registerHints(testAt: TestAt): void {
  testAt('a hint comes when the rows can be read and before their append resolves', async (place) => {
    const log = await place.open([events]);
    const happened: string[] = [];
    const read: Promise<StoredBatch[]>[] = [];
    watchRows(log, ({ stream, latest }) => {
      happened.push(`hint ${stream} ${latest}`);
      assert.equal(log.bounds(stream).latest, latest);
      read.push(place.readAll(stream));
    });
    const token = await place.append('events', ['1']);
    happened.push(`resolved ${token}`);
    assert.deepEqual(happened, [`hint events ${token}`, `resolved ${token}`]);
    assert.deepEqual(await Promise.all(read), [[{ token, rows: ['1'] }]]);
  });

  testAt('the chunks of hints, where they have any, are the rows that were appended', async (place) => {
    const log = await place.open([events]);
    const hints: RowsEvent[] = [];
    watchRows(log, (hint) => void hints.push(hint));
    const tokens = [
      await place.append('events', ['1', '2']),
      ...(await Promise.all([place.append('events', ['3']), place.append('events', ['4'])])),
    ];
    assert.equal(hints.at(-1)?.latest, tokens.at(-1));
    if (hints.some((hint) => hint.chunks === undefined)) return;
    const chunks = hints.flatMap((hint) => hint.chunks ?? []);
    const page = pageOf('events', chunks, log.bounds('events'));
    assert.deepEqual(parseBatches(page), await place.readAll('events'));
    assert.equal(
      chunks.reduce((rows, chunk) => rows + chunk.rows, 0),
      4,
    );
    for (const [i, chunk] of chunks.entries()) assert.equal(chunk.after, chunks[i - 1]?.upTo ?? 0);
  });

  testAt('every watch is told until it ends', async (place) => {
    const log = await place.open([events]);
    // Made before, so that each append is one hint.
    await place.append('events', ['0']);
    const told: string[] = [];
    const listener = (): void => void told.push('twice watched');
    const endFirst = log.watch(listener);
    const endSecond = log.watch(listener);
    log.watch(() => void told.push('other'));
    await place.append('events', ['1']);
    endFirst();
    endFirst();
    await place.append('events', ['2']);
    endSecond();
    await place.append('events', ['3']);
    assert.deepEqual(told, ['twice watched', 'twice watched', 'other', 'twice watched', 'other', 'other']);
  });
}
