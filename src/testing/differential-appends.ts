/** The appends of the differential test: one turn of them, or one by one, with every option. */

import assert from 'node:assert/strict';

import type { Position } from '../core/model/position.ts';
import type { RowText } from '../core/model/row.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { AppendOptions } from '../log/log.ts';
import type { Turn } from './differential-oracle.ts';
import { FOREIGN, ID_RETENTION_MS, type Scene, SERVED } from './differential-scene.ts';

interface Append {
  readonly stream: StreamName;
  readonly rows: readonly RowText[];
  readonly options: AppendOptions;
}

/** An append, or the deletion of a stream, which does nothing where it is not made. */
type Action = Append | { readonly stream: StreamName; readonly rows: undefined };

/** What became of an action, and how many events were told by then. */
interface Outcome {
  readonly position?: Position;
  readonly error?: unknown;
  readonly told: number;
}

export async function appendSome(scene: Scene): Promise<void> {
  const streams = Array.from({ length: scene.integer(1, 3) }, () => scene.pick(SERVED));
  const appends = Array.from({ length: scene.integer(1, 6) }, (_, i) => drawAppend(scene, scene.pick(streams), i));
  if (appends.length === 1 || scene.percent(30)) {
    for (const append of appends) {
      await inOneTurn(scene, [append]);
      scene.reach('append alone');
    }
  } else {
    await inOneTurn(scene, appends);
    for (const _ of appends) scene.reach('append together');
  }
}

/** What is queued before a deletion is gone with the stream. What comes later makes it again. */
export async function appendAroundDeletion(scene: Scene): Promise<void> {
  const stream = scene.pick(SERVED);
  const draw = (): Append => drawAppend(scene, stream, 0);
  await inOneTurn(scene, [draw(), { stream, rows: undefined }, draw()]);
  scene.reach('append before and after a deletion');
}

function drawAppend(scene: Scene, stream: StreamName, place: number): Append {
  const batch = ++scene.batchCount;
  const { ids, explicitTokens, relays } = scene.supports;
  const attributes = scene.percent(20) ? { attributes: `{"of":${batch},"t":"é"}` } : {};
  let token: { token?: Token; history?: string } = {};
  if (explicitTokens && scene.percent(20)) {
    token = { token: Math.max(1, scene.oracle.at(stream).latest + place + scene.integer(-2, 6)) };
    if (relays && scene.percent(50)) token = { ...token, history: scene.pick(FOREIGN) };
  }
  if (ids && scene.percent(25)) {
    // Few ids, most with the rows that they had: so they repeat.
    const id = `id-${scene.integer(1, 4)}`;
    const rows = [JSON.stringify({ batch: id, i: 0 })];
    if (scene.percent(20)) rows.push('{"other":true}');
    return { stream, rows, options: { ...attributes, ...token, id } };
  }
  const isLarge = scene.percent(1);
  if (isLarge) scene.reach('append a large batch');
  const padding = isLarge ? 'é'.repeat(scene.integer(50_000, 150_000)) : 'é'.repeat(scene.integer(0, 20));
  const rows = Array.from({ length: scene.integer(1, 4) }, (_, i) => JSON.stringify({ batch, i, padding }));
  return { stream, rows, options: { ...attributes, ...token } };
}

async function inOneTurn(scene: Scene, actions: readonly Action[]): Promise<void> {
  if (!scene.text.endsWith(': ')) scene.text += '; then ';
  scene.text += actions.map(describe).join(' + ');
  const outcomes = await scene.settle(Promise.all(actions.map(async (action) => outcomeOf(scene, action))));
  const turns = new Map<StreamName, Turn>();
  const seenIds = new Set<string>();
  for (const [i, action] of actions.entries()) {
    if (action.rows !== undefined) {
      checkAppend(scene, action, outcomes[i]!, { turns, seenIds });
      continue;
    }
    assert.equal(outcomes[i]!.error, undefined);
    turns.delete(action.stream);
    if (scene.oracle.streams.has(action.stream)) scene.delete(action.stream);
  }
}

async function outcomeOf({ log, ledger }: Scene, action: Action): Promise<Outcome> {
  try {
    if (action.rows === undefined) {
      await log.delete(action.stream);
      return { told: ledger.count };
    }
    const { stream, rows, options } = action;
    const position = await log.append(stream, rows, options);
    return { position, told: ledger.count };
  } catch (error) {
    return { error, told: ledger.count };
  }
}

interface OneTurn {
  /** The turn of each stream, for the oracle. */
  readonly turns: Map<StreamName, Turn>;
  readonly seenIds: Set<string>;
}

function checkAppend(scene: Scene, append: Append, outcome: Outcome, { turns, seenIds }: OneTurn): void {
  const { stream, rows, options } = append;
  const { position, error, told } = outcome;
  const before = scene.oracle.at(stream);
  const oldMs = scene.now - ID_RETENTION_MS;
  const expected = before.expect({ rows, id: options.id, token: options.token, oldMs });
  const idKey = `${stream} ${options.id}`;
  if (expected.kind === 'refused') {
    const { code } = (error ?? {}) as { code?: unknown };
    assert.equal(code, expected.code, `an append to ${stream} to be refused, not ${describeOutcome(outcome)}`);
    scene.reach(code === 'ID_REUSED' ? 'refuse an id with other rows' : 'refuse a token that fell');
    return;
  }
  if (error !== undefined) throw error;
  if (expected.kind === 'first') {
    assert.deepEqual(position, expected.position, `the first position of id ${options.id} of stream ${stream}`);
    scene.reach(seenIds.has(idKey) ? 'repeat an id in one turn' : 'repeat an id');
    return;
  }
  checkPosition(scene, append, position!, before.latest);
  tellOracle(scene, append, position!, told);
  if (options.id !== undefined && before.hasOldId(options.id, oldMs)) scene.reach('take an id whose time is over');
  if (options.id !== undefined) seenIds.add(idKey);
  const kept = scene.oracle.streams.get(stream)!;
  const turn = turns.get(stream) ?? { after: kept.latest, rows: 0 };
  turns.set(stream, turn);
  const batch = {
    token: position!.token,
    history: position!.history!,
    rows,
    attributes: options.attributes,
    atMs: scene.now,
    turn,
  };
  kept.append(batch, options.id === undefined ? undefined : { id: options.id, position: position! });
  scene.ledger.expectRows(stream, batch);
}

/** A repeated id is the only append that gives a position of before. */
function checkPosition(scene: Scene, { stream, options }: Append, position: Position, latest: Token): void {
  assert.equal(position.stream, stream, 'the stream of a position');
  assert.ok(Number.isSafeInteger(position.token), `token ${position.token} to be a safe integer`);
  assert.ok(position.token > latest, `stream ${stream}: token ${position.token} to be above ${latest}`);
  if (options.token !== undefined) assert.equal(position.token, options.token, 'the token that was given');
  if (options.history !== undefined) {
    assert.equal(position.history, options.history, 'the history that was given');
    return;
  }
  const { eras } = scene.ledger;
  const at = eras.indexOf(position.history!);
  assert.ok(
    at >= eras.indexOf(scene.era) && at >= 0,
    `history ${position.history} to be the era, of ${eras.join(', ')}`,
  );
}

function tellOracle(scene: Scene, { stream, options }: Append, position: Position, told: number): void {
  const { latest } = scene.oracle.at(stream);
  const isMade = scene.oracle.streams.has(stream);
  scene.make(stream);
  if (options.history === undefined) {
    const deletedIn = scene.oracle.deletedIn.get(stream);
    if (!isMade) assert.notEqual(position.history, deletedIn, `stream ${stream} to be made again in another era`);
    scene.era = position.history!;
  }
  scene.ledger.checkResolved(stream, position.token, told);
  scene.see(position);
  scene.appendedTo.add(stream);
  if (options.history !== undefined) scene.reach('give a history');
  if (options.token !== undefined && options.token > latest + 1) scene.reach('skip tokens');
  if (options.attributes !== undefined) scene.reach('append with attributes');
}

function describe(action: Action): string {
  if (action.rows === undefined) return `delete ${action.stream}`;
  const { attributes, ...options } = action.options;
  const shown = Object.entries(options).map(([name, value]) => ` ${name}=${value}`);
  return `append to ${action.stream} ${action.rows.length} rows${shown.join('')}${attributes ? ' attributes' : ''}`;
}

function describeOutcome({ position, error }: Outcome): string {
  return position === undefined ? String(error) : `resolved to ${JSON.stringify(position)}`;
}
