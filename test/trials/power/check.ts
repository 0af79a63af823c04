/** Checks the promises on a folder after a power cut. Opens the log, so it changes the folder. */

import { join } from 'node:path';
import { messageOf } from '../../../src/core/model/errors.ts';
import type { Log } from '../../../src/log/log.ts';
import { fileCheckpoint } from '../../../src/worker/file-checkpoint.ts';
import {
  type Facts,
  isSame,
  KEPT_ROWS,
  type PlacedBatch,
  type StoredPositions,
  type StreamFacts,
  streamNames,
} from './facts.ts';
import { appendTo, openLog, readCatalog, readStream, type StoredStream } from './surface.ts';

/** The content of the folder. */
export interface Findings {
  readonly faults: readonly string[];
  readonly streams: ReadonlyMap<string, StoredStream>;
  readonly checkpoint: StoredPositions;
  /** Seen batches that are gone. With `normal` that is no fault. */
  readonly lost: number;
}

export async function checkFolder(folder: string, facts: Facts, synchronous: 'full' | 'normal'): Promise<Findings> {
  const faults = [...facts.faults];
  const streams = new Map<string, StoredStream>();
  let lost = 0;
  const path = join(folder, 'log', 'deep', 'rows.db');
  try {
    const log = await openLog(path);
    try {
      for (const name of streamNames) {
        const stored = await readStream(log, name);
        streams.set(name, stored);
        const inStream = checkStream(stored, facts, facts.of(name), synchronous);
        faults.push(...inStream.faults.map((fault) => `${name}: ${fault}`));
        lost += inStream.lost;
      }
      faults.push(...(await checkCatalog(log)), ...(await checkPositions(log, facts, streams, 'all')));
      faults.push(...(await checkThatItGoesOn(log, streams)));
      // New appends do not take the positions of lost rows.
      faults.push(...(await checkPositions(log, facts, streams, 'lost')));
    } finally {
      await log.close();
    }
    faults.push(...(await checkThatAppendsAreThere(path, facts, streams)));
  } catch (error) {
    faults.push(`the log: ${messageOf(error)}`);
  }
  let checkpoint: StoredPositions = [];
  try {
    checkpoint = [...(await fileCheckpoint(join(folder, 'checkpoint.json')).load())];
    if (!facts.checkpoints.some((saved) => isSame(saved, checkpoint)))
      faults.push(`the checkpoint is ${JSON.stringify(checkpoint)}, not ${JSON.stringify(facts.checkpoints)}`);
  } catch (error) {
    faults.push(`the checkpoint: ${messageOf(error)}`);
  }
  return { faults, streams, checkpoint, lost };
}

function checkStream(
  { earliest, latest, batches }: StoredStream,
  facts: Facts,
  known: StreamFacts,
  synchronous: 'full' | 'normal',
): { readonly faults: string[]; readonly lost: number } {
  const faults: string[] = [];
  let rows = 0;
  for (const [token, batch] of batches) {
    const { batch: name, of } = batch.rows[0]!;
    rows += batch.rows.length;
    if (facts.begun.get(name) !== of) faults.push(`token ${token} is ${name}, which nobody had appended by then`);
    if (batch.rows.length !== of || batch.rows.some((row, i) => row.batch !== name || row.i !== i))
      faults.push(`token ${token} is a part of ${name}: ${batch.rows.length} of ${of} rows`);
    const seen = known.seen.get(token);
    if (seen !== undefined && seen !== name) faults.push(`token ${token} is ${name}, and was ${seen}`);
  }
  for (let token = earliest; token <= latest; token++)
    if (!batches.has(token)) faults.push(`token ${token} is not there, between ${earliest} and ${latest}`);

  const isRetained = known === facts.of('kept');
  if (isRetained ? earliest > 1 && rows < KEPT_ROWS : earliest > known.trimming + 1)
    faults.push(`earliest is ${earliest}, beyond what was dropped`);
  const lastSeen = Math.max(0, ...known.seen.keys());
  const lost = Math.max(0, lastSeen - latest);
  const mustReach = synchronous === 'full' ? lastSeen : known.settled;
  if (latest < mustReach) faults.push(`latest is ${latest}, and ${mustReach} had been acknowledged`);
  if (synchronous === 'full' && earliest <= known.trimmed)
    faults.push(`earliest is ${earliest}, and the trim up to ${known.trimmed} was done`);
  return { faults, lost };
}

/** A stream is in the catalog, once, exactly if a batch of it was ever durable. */
async function checkCatalog(log: Log): Promise<string[]> {
  const names = await readCatalog(log);
  const made = streamNames.filter((name) => log.bounds(name).latest > 0);
  const isRight = names.length === made.length && made.every((name) => names.includes(name));
  return isRight ? [] : [`the catalog has ${names.join(', ')}, and there are rows of ${made.join(', ')}`];
}

/** A position is on the history exactly if the log has its batch. A lost one is RESET for ever. */
async function checkPositions(
  log: Log,
  facts: Facts,
  streams: ReadonlyMap<string, StoredStream>,
  which: 'all' | 'lost',
): Promise<string[]> {
  const faults: string[] = [];
  for (const [stream, read] of streams) {
    const known = facts.of(stream);
    // Retention has moved on since it was read.
    const stored = { ...read, earliest: log.bounds(stream).earliest };
    for (const { token, history, batch } of known.ever.values()) {
      if (which === 'lost' && token <= read.latest) continue;
      // A cut may have left no log; the one made since has another id.
      const expected = history.startsWith(log.id) ? expectedVerdict({ token, batch }, known, stored) : 'reset';
      const verdict = await log.judge({ stream, token, history });
      if (expected !== undefined && verdict !== expected)
        faults.push(`${stream}: ${token}@${history} of ${batch} is judged ${verdict}, not ${expected}`);
    }
  }
  return faults;
}

function expectedVerdict(
  { token, batch }: Pick<PlacedBatch, 'token' | 'batch'>,
  known: StreamFacts,
  { earliest, latest, batches }: StoredStream,
): 'on' | 'gap' | 'reset' | undefined {
  if (token > latest) return 'reset';
  if (token < earliest - 1) return 'gap';
  const there = batches.get(token)?.rows[0]?.batch ?? known.seen.get(token);
  // Dropped, and nobody had seen it.
  if (there === undefined) return undefined;
  return there === batch ? 'on' : 'reset';
}

const more = [{ batch: 'after the cut', i: 0, of: 1 }];

async function checkThatItGoesOn(log: Log, streams: ReadonlyMap<string, StoredStream>): Promise<string[]> {
  const faults: string[] = [];
  for (const [name, { latest }] of streams) {
    const token = await appendTo(log, name, more);
    if (token !== latest + 1) faults.push(`${name}: after the cut the token after ${latest} is ${token}`);
  }
  return faults;
}

async function checkThatAppendsAreThere(
  path: string,
  facts: Facts,
  streams: ReadonlyMap<string, StoredStream>,
): Promise<string[]> {
  const faults: string[] = [];
  const log = await openLog(path);
  try {
    for (const [name, before] of streams) {
      const { latest, batches } = await readStream(log, name, before.latest);
      if (latest !== before.latest + 1 || batches.get(latest)?.rows[0]?.batch !== more[0]!.batch)
        faults.push(`${name}: what was appended after the cut is gone`);
    }
    faults.push(...(await checkPositions(log, facts, streams, 'lost')));
  } finally {
    await log.close();
  }
  return faults;
}
