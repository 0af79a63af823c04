/** The steps of the differential test, but the appends: each does one thing to a log and its oracle. */

import assert from 'node:assert/strict';
import { setTimeout } from 'node:timers/promises';

import type { Millis } from '../base/clock.ts';
import { seededRandom } from '../base/random.ts';
import { originOf } from '../core/model/history.ts';
import type { Position } from '../core/model/position.ts';
import type { StreamName } from '../core/model/stream.ts';
import { appendAroundDeletion, appendSome } from './differential-appends.ts';
import { comparePage, compareRowsAfter } from './differential-compare.ts';
import type { OracleStream } from './differential-oracle.ts';
import type { Step, StepKind } from './differential-plan.ts';
import { FOREIGN, type Scene, SERVED } from './differential-scene.ts';
import type { ReadOptions } from '../log/log.ts';

/** After this a drop by age that was due is done. Real time: a log's own timers keep no process alive. */
const DROP_PAUSE_MS: Millis = 2;

/** Does the step. Throws when log and oracle differ. */
export async function doStep(scene: Scene, { kind, seed }: Step): Promise<void> {
  scene.random = seededRandom(seed);
  scene.text = `${kind}: `;
  await actions[kind](scene);
  await scene.finishStep();
}

const actions: Readonly<Record<StepKind, (scene: Scene) => Promise<void>>> = {
  append: appendSome,
  'append around a deletion': appendAroundDeletion,
  trim,
  delete: deleteStream,
  'open again': async (scene) => {
    await scene.open();
    scene.reach('open again');
  },
  read: readPage,
  'read on': readOn,
  judge,
  'count rows': countRowsAfter,
  'pass time': async (scene) => {
    const ms = scene.integer(0, 2_500);
    scene.text += `${ms} ms`;
    scene.passTime(ms);
    // A log may drop what is too old now by itself, in a turn of its own: in this step, not in one that reads.
    await setTimeout(DROP_PAUSE_MS);
  },
  misuse,
  truncate,
  rebase,
};

function pickStream(scene: Scene): [StreamName, OracleStream] {
  // Mostly one that is there.
  const { streams } = scene.oracle;
  const stream = streams.size > 0 && scene.percent(90) ? scene.pick([...streams.keys()]) : scene.pick(SERVED);
  return [stream, scene.oracle.at(stream)];
}

/** Also the catalog, for what only reads. */
function pickReadable(scene: Scene): [StreamName, OracleStream] {
  return scene.percent(15) ? [scene.log.catalog, scene.oracle.catalog] : pickStream(scene);
}

async function trim(scene: Scene): Promise<void> {
  const [stream, kept] = pickStream(scene);
  const upTo = scene.percent(15) ? kept.latest + scene.integer(0, 5) : scene.tokenIn(kept);
  scene.text += `${stream} up to ${upTo}`;
  await scene.settle(scene.log.trim(stream, upTo));
  if (kept.drop(upTo).length === 0) return;
  scene.reach(kept.batches.length === 0 ? 'trim all' : 'trim');
}

async function deleteStream(scene: Scene): Promise<void> {
  const [stream] = pickStream(scene);
  scene.text += stream;
  await scene.settle(scene.log.delete(stream));
  if (!scene.oracle.streams.has(stream)) return;
  scene.delete(stream);
  scene.reach('delete');
}

function drawReading(scene: Scene, kept: OracleStream): ReadOptions {
  return { after: scene.tokenIn(kept), maxBytes: scene.pick([1, 60, 200, 1_000, 1_000_000]) };
}

async function readPage(scene: Scene): Promise<void> {
  const [stream, kept] = pickReadable(scene);
  const options = drawReading(scene, kept);
  scene.text += `${stream} after ${options.after}, ${options.maxBytes} bytes`;
  const reading = scene.settle((async () => scene.log.read(stream, options))());
  if (options.after < kept.earliest - 1) {
    await assert.rejects(reading, { name: 'LogError', code: 'LOG_GAP' });
    scene.reach('refuse a read of rows that are gone');
    return;
  }
  const page = await reading;
  comparePage(page, kept, stream, options);
  scene.reach('read a page');
  if (page.hasMore) scene.reach('read a page that ends before latest');
}

async function readOn(scene: Scene): Promise<void> {
  const [stream, kept] = pickReadable(scene);
  const { maxBytes } = drawReading(scene, kept);
  scene.text += `${stream}, ${maxBytes} bytes a page`;
  let after = kept.earliest - 1;
  for (let hasMore = true; hasMore; ) {
    const options = { after, maxBytes };
    const page = await scene.settle((async () => scene.log.read(stream, options))());
    comparePage(page, kept, stream, options);
    ({ upTo: after, hasMore } = page);
  }
  assert.equal(after, kept.latest, 'where the last page ends');
  scene.reach('read all pages');
}

async function judge(scene: Scene): Promise<void> {
  const isSeen = scene.seen.length > 0 && scene.percent(30);
  const position = isSeen ? scene.pick(scene.seen) : drawPosition(scene);
  const { stream, token, history } = position;
  const kept = stream === scene.log.catalog ? scene.oracle.catalog : scene.oracle.at(stream);
  scene.text += `${stream} ${token} ${history}`;
  const verdict = await scene.settle((async () => scene.log.judge(position))());
  assert.equal(verdict, kept.judge(token, history), `the verdict on token ${token} of stream ${stream}, of ${history}`);
  scene.reach(`judge ${verdict as 'on' | 'gap' | 'reset'}`);
  if (isSeen) scene.reach('judge a position that was given');
  if (history === undefined) scene.reach('judge a position without a history');
  else if (FOREIGN.includes(history)) scene.reach('judge a position of another log');
  if (stream !== scene.log.catalog && !scene.oracle.streams.has(stream)) scene.reach('judge an unmade stream');
}

function drawPosition(scene: Scene): Position {
  const [stream, kept] = pickReadable(scene);
  const token = scene.tokenIn(kept);
  const isKept = token >= kept.earliest - 1 && token <= kept.latest;
  const present = isKept ? kept.historyAt(token) : kept.bounds.history;
  const { log, seen } = scene;
  const other = scene.pick([log.era, originOf(log.id), seen[0]?.history, kept.bounds.history, ...FOREIGN]);
  return { stream, token, history: scene.percent(40) ? present : scene.percent(25) ? undefined : other };
}

async function countRowsAfter(scene: Scene): Promise<void> {
  const [stream, kept] = pickReadable(scene);
  const after = scene.tokenIn(kept);
  scene.text += `${stream} after ${after}`;
  const isExact = compareRowsAfter(scene.log.rowsAfter(stream, after), kept, after);
  scene.reach(isExact ? 'count rows exactly' : 'count rows about');
}

async function misuse(scene: Scene): Promise<void> {
  const { log, supports } = scene;
  const { catalog } = log;
  const append = async (stream: StreamName, rows: string[], options = {}): Promise<unknown> =>
    log.append(stream, rows, options);
  const nobody = { stream: 'nobody', token: 0, history: undefined };
  const wrongs: [code: string, what: string, run: () => Promise<unknown>][] = [
    ['NO_SUCH_STREAM', 'append to no stream', async () => append('nobody', ['1'])],
    ['NO_SUCH_STREAM', 'append to a pattern across a border', async () => append('room:1:2', ['1'])],
    ['NO_SUCH_STREAM', 'append to the catalog', async () => append(catalog, ['1'])],
    ['NO_SUCH_STREAM', 'delete the catalog', async () => log.delete(catalog)],
    ['NO_SUCH_STREAM', 'delete no stream', async () => log.delete('nobody')],
    ['NO_SUCH_STREAM', 'trim no stream', async () => log.trim('nobody', 1)],
    ['NO_SUCH_STREAM', 'trim the catalog', async () => log.trim(catalog, 1)],
    ['NO_SUCH_STREAM', 'read no stream', async () => log.read('nobody', { after: 0, maxBytes: 1 })],
    ['NO_SUCH_STREAM', 'judge no stream', async () => log.judge(nobody)],
    ['NO_SUCH_STREAM', 'bounds of no stream', async () => log.bounds('nobody')],
    ['NO_SUCH_STREAM', 'rows of no stream', async () => log.rowsAfter('nobody', 0)],
    ['INVALID_ROW', 'a batch without rows', async () => append('events', [])],
  ];
  if (supports.ids)
    wrongs.push(['INVALID_OPTION', 'an id without text', async () => append('events', ['1'], { id: '' })]);
  if (supports.explicitTokens)
    wrongs.push(['INVALID_TOKEN', 'half a token', async () => append('events', ['1'], { token: 0.5 })]);
  if (supports.relays) {
    const [history] = FOREIGN;
    const { latest } = scene.oracle.at('events');
    wrongs.push(
      ['INVALID_OPTION', 'a history without a token', async () => append('events', ['1'], { history })],
      ['INVALID_TOKEN', 'truncate beyond latest', async () => log.truncate!('events', latest + 1)],
      ['NO_SUCH_STREAM', 'truncate the catalog', async () => log.truncate!(catalog, 0)],
      ['NO_SUCH_STREAM', 'rebase no stream', async () => log.rebase!({ ...nobody, history: history! })],
    );
  }
  const [code, what, run] = scene.pick(wrongs);
  scene.text += what;
  await assert.rejects(scene.settle(run()), { name: 'UsageError', code }, what);
  assert.equal(log.serves('nobody'), false, 'a stream that is not declared to be served');
  assert.equal(log.serves(catalog), true, 'the catalog to be served');
  scene.reach('refuse misuse');
}

async function truncate(scene: Scene): Promise<void> {
  const [stream, kept] = pickStream(scene);
  // Mostly little, so that something is left.
  const lowest = Math.max(kept.earliest - 1, scene.percent(80) ? kept.latest - 8 : 0);
  const after = scene.integer(lowest, kept.latest);
  scene.text += `${stream} after ${after}`;
  await scene.settle(scene.log.truncate!(stream, after));
  const isLess = after < kept.latest;
  kept.truncate(after);
  scene.ledger.expect(stream, { kind: 'rebased' });
  if (isLess) scene.reach('truncate');
  if (isLess && kept.batches.at(-1)?.rows.length === 0) scene.reach('truncate into a skip');
}

async function rebase(scene: Scene): Promise<void> {
  const stream = scene.pick(SERVED);
  const { latest } = scene.oracle.at(stream);
  const token = scene.percent(10) ? 0 : scene.integer(0, latest + 10);
  const history = scene.percent(70) ? scene.pick(FOREIGN) : scene.log.era;
  scene.text += `${stream} to ${token} of ${history}`;
  await scene.settle(scene.log.rebase!({ stream, token, history }));
  scene.make(stream).rebase(token, history);
  scene.ledger.expect(stream, { kind: 'rebased' });
  scene.see({ stream, token, history });
  scene.reach('rebase');
}
