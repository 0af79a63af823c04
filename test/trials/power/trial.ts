/**
 * A trial runs rounds. A round records the changes of a workload, and checks many images of the
 * disk as a power cut may have left it. The next round begins on one of these images.
 *
 *   base ─▶ workload, killed, workload, killed, workload ─▶ trace ─▶ image, image, image …
 *    ▲                                                                      │
 *    └──────────────────────────────── one of them ◀────────────────────────┘
 */

import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Random, randomInteger, seededRandom } from '../../../src/base/random.ts';
import { checkFolder, type Findings } from './check.ts';
import { Disk } from './disk.ts';
import { Facts } from './facts.ts';
import { type Image, imageAfterCut, writeImage } from './image.ts';
import { buildRecorder, runRecorded } from './recorder.ts';
import { parseTrace, type TraceRecord } from './trace.ts';

const WORKLOAD = fileURLToPath(new URL('workload.js', import.meta.url));
/** Processes in a round. Most are killed. */
const PROCESSES = 2;
/**
 * The approximate number of file changes of an append. It places kills in the middle of a workload,
 * or never.
 */
const CHANGES_PER_APPEND = 12;
/** By then the WAL holds rows and was not moved into the database yet. */
const CHANGES_BEFORE_RECOVERY = 400;
/** Places a failed sync before the end of a process's syncs. */
const SYNCS_PER_FAILURE = 4;
/** Many cuts come this close before a sync, when most is pending. */
const NEAR_SYNC = 12;
/** Many others come this close after a failed sync, during recovery. */
const NEAR_FAILURE = 200;

export interface RoundOptions {
  readonly seed: number;
  /** The log's option, which decides what it promises. */
  readonly synchronous: 'full' | 'normal';
  /** Overrides the promise, to see the checks fail. */
  readonly promised?: 'full' | 'normal';
  readonly checkpoint?: 'file' | 'unsynced';
  /** One random sync fails in each process but the last. */
  readonly failsSyncs?: boolean;
  /** For each process. */
  readonly appends: number;
  readonly images: number;
  /** False for a round that is expected to fail. */
  readonly keepsFailures?: boolean;
}

export interface Failure {
  readonly image: number;
  readonly text: string;
}

export interface RoundResult {
  readonly images: number;
  readonly acknowledged: number;
  readonly changes: number;
  /** Images with pending changes at the cut. */
  readonly unsynced: number;
  /** Images that lost seen rows. */
  readonly withLoss: number;
  readonly failures: readonly Failure[];
  /** The folder of a failed round, for checkKeptImage. */
  readonly kept?: string;
}

/** All files of a trial on disk. Removed at its end, except failed rounds. */
export class Trial {
  /** In memory where possible, because there are many images. */
  readonly #folder = realpathSync(mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'rowcast-power-')));
  readonly #recorder = buildRecorder(this.#folder);
  /** The start of the next round. */
  #base: Base | undefined;
  #rounds = 0;

  /**
   * Runs the workload on the result of the last round, and checks images of it.
   * @throws Error when the trial itself is at fault
   */
  async round(options: RoundOptions): Promise<RoundResult> {
    const folder = join(this.#folder, `round-${this.#rounds++}`);
    record(folder, this.#recorder, options, this.#base);
    const next = join(folder, 'next');
    const { known, ...result } = await checkRound(folder, options, { keepAs: next });
    this.#base = known === undefined ? undefined : { folder: next, known };
    if (result.failures.length > 0 && options.keepsFailures !== false)
      return { ...result, kept: keep(folder, options) };
    rmSync(join(folder, 'root'), { recursive: true });
    rmSync(join(folder, 'trace'));
    return result;
  }

  /**
   * Kills a workload and opens its log again, as if no sync of the WAL had succeeded.
   * @returns how many sectors of the WAL were in doubt by the kill, and when the database was first
   * written after it
   */
  recover(seed: number): { readonly atKill: number; readonly atFirstWrite: number } {
    const folder = join(this.#folder, `recovery-${this.#rounds++}`);
    const root = join(folder, 'root');
    const trace = join(folder, 'trace');
    mkdirSync(root, { recursive: true });
    const run = (appends: number, killAt: number): TraceRecord[] => {
      writeFileSync(trace, '');
      const argv = [WORKLOAD, root, 'full', String(seed), String(appends), 'file'];
      runRecorded({ recorder: this.#recorder, root, trace, argv, killAt });
      return parseTrace(readFileSync(trace));
    };
    const disk = new Disk();
    for (const change of run(Infinity, CHANGES_BEFORE_RECOVERY)) disk.apply(change);
    const wal = disk.file('log/deep/rows.db-wal');
    wal.change({ kind: 'write', at: 0, data: Buffer.from(wal.now.bytes) });
    wal.failSync();
    const atKill = wal.doubtful.size;
    const database = disk.file('log/deep/rows.db');
    for (const change of run(10, Infinity)) {
      disk.apply(change);
      if (database.pending.length > 0) break;
    }
    return { atKill, atFirstWrite: wal.doubtful.size };
  }

  /** The next round begins with an empty disk. */
  startAfresh(): void {
    this.#base = undefined;
  }

  close(): void {
    rmSync(this.#folder, { recursive: true });
  }
}

/**
 * Checks one image of a kept round. Leaves it in a folder for inspection, as it was before opening.
 */
export async function checkKeptImage(kept: string, image: number, keepAs: string): Promise<RoundResult> {
  const options = JSON.parse(readFileSync(join(kept, 'options.json'), 'utf8')) as RoundOptions;
  const { known: _, ...result } = await checkRound(kept, options, { only: image, keepAs });
  return result;
}

/** A folder on the disk, and the known facts about it as lines of the workload. */
interface Base {
  readonly folder: string;
  readonly known: string;
}

function record(folder: string, recorder: string, options: RoundOptions, base: Base | undefined): void {
  const { seed, synchronous, appends, checkpoint = 'file' } = options;
  const random = seededRandom(seed);
  const root = join(folder, 'root');
  const trace = join(folder, 'trace');
  mkdirSync(root, { recursive: true });
  if (base !== undefined) {
    cpSync(base.folder, root, { recursive: true });
    cpSync(base.folder, join(folder, 'base'), { recursive: true });
  }
  const disk = Disk.of(root);
  writeFileSync(join(folder, 'known.ndjson'), base?.known ?? '');
  writeFileSync(trace, '');
  for (let run = 1; run <= PROCESSES; run++) {
    const argv = [WORKLOAD, root, synchronous, String(seed * PROCESSES + run), String(appends), checkpoint];
    const fails = options.failsSyncs === true && run < PROCESSES;
    const killAt = randomInteger(random, 1, appends * CHANGES_PER_APPEND);
    const failAt = fails ? randomInteger(random, 1, appends / SYNCS_PER_FAILURE) : undefined;
    runRecorded({ recorder, root, trace, argv, killAt, ...(failAt !== undefined && { failAt }) });
  }
  for (const change of parseTrace(readFileSync(trace))) disk.apply(change);
  const difference = disk.differenceFrom(root);
  if (difference !== undefined) throw new Error(`the recorder has missed something: ${difference}`);
}

interface RoundChecks {
  /** Only this image. */
  readonly only?: number;
  /**
   * Where to leave one image, as it was before opening: `only`, or one for the start of the next
   * round.
   */
  readonly keepAs: string;
}

async function checkRound(
  folder: string,
  options: RoundOptions,
  { only, keepAs }: RoundChecks,
): Promise<RoundResult & { readonly known: string | undefined }> {
  const { seed, synchronous, promised = synchronous, images } = options;
  const records = parseTrace(readFileSync(join(folder, 'trace')));
  const base = join(folder, 'base');
  const disk = existsSync(base) ? Disk.of(base) : new Disk();
  const facts = new Facts();
  facts.hear(readFileSync(join(folder, 'known.ndjson'), 'utf8'));
  const kept = only ?? randomInteger(seededRandom(seed), 0, images - 1);
  const failures: Failure[] = [];
  let known: string | undefined;
  let unsynced = 0;
  let withLoss = 0;
  let applied = 0;
  const cuts = only === undefined ? allCuts(records, seed, images) : [cutOf(records, seed, only)];
  for (const { number, at, random } of cuts) {
    for (; applied < at; applied++) {
      const change = records[applied]!;
      disk.apply(change);
      if (change.kind === 'say') facts.hear(change.text);
    }
    const image = imageAfterCut(disk, random);
    if (image.pending > 0) unsynced++;
    const place = join(folder, 'image');
    writeImage(image, place);
    if (number === kept) writeImage(image, keepAs);
    const findings = await checkFolder(place, facts, promised);
    rmSync(place, { recursive: true });
    if (findings.lost > 0) withLoss++;
    if (findings.faults.length > 0) failures.push({ image: number, text: describe(image, at, findings.faults) });
    else if (number === kept) known = knownAfterCut(facts, findings);
  }
  return {
    images: cuts.length,
    acknowledged: facts.acknowledged,
    changes: records.length,
    unsynced,
    withLoss,
    failures,
    known,
  };
}

interface Cut {
  readonly number: number;
  /** Cut before this record of the trace. */
  readonly at: number;
  /** Decides what survives. */
  readonly random: Random;
}

/** In the order of the trace, so that one pass is enough. */
function allCuts(records: readonly TraceRecord[], seed: number, images: number): Cut[] {
  const cuts = Array.from({ length: images }, (_, number) => cutOf(records, seed, number));
  return cuts.sort((a, b) => a.at - b.at);
}

function cutOf(records: readonly TraceRecord[], seed: number, number: number): Cut {
  const random = seededRandom(seed * 1_000_003 + number);
  let at = randomInteger(random, 0, records.length);
  const failed = records.findIndex(({ kind }) => kind === 'sync-failed');
  const chosen = random.next();
  if (failed !== -1 && chosen < 0.7) at = Math.min(records.length, failed + randomInteger(random, 1, NEAR_FAILURE));
  else if (chosen < 0.5) {
    const sync = records.findIndex(({ kind }, i) => i >= at && (kind === 'sync' || kind === 'sync-directory'));
    if (sync !== -1) at = Math.max(0, sync - Math.floor(random.next() ** 2 * NEAR_SYNC));
  }
  return { number, at, random };
}

function describe({ mood, pending }: Image, at: number, faults: readonly string[]): string {
  const some = faults.slice(0, 5).join('\n  ');
  return `cut before record ${at}, ${pending} changes pending, survived: ${mood}\n  ${some}`;
}

/**
 * The facts for the next round, as lines of the workload: everything that the cut left, and no
 * more.
 */
function knownAfterCut(facts: Facts, { streams, checkpoint }: Findings): string {
  const said: unknown[] = [];
  for (const [stream, { earliest, batches }] of streams) {
    for (const { batch, token, history } of facts.of(stream).ever.values())
      said.push({ was: stream, batch, token, history });
    for (const [token, { history, rows }] of batches) {
      const { batch, of } = rows[0]!;
      said.push({ begun: stream, batch, of }, { acknowledged: stream, batch, token, history });
    }
    said.push({ trimming: stream, upTo: earliest - 1 }, { trimmed: stream, upTo: earliest - 1 });
  }
  said.push({ closed: true }, { saved: checkpoint });
  return said.map((fact) => `${JSON.stringify(fact)}\n`).join('');
}

/** Moves a round to a place that outlives the trial. */
function keep(folder: string, options: RoundOptions): string {
  const kept = mkdtempSync(join(tmpdir(), 'rowcast-power-kept-'));
  for (const name of ['base', 'trace', 'known.ndjson'])
    if (existsSync(join(folder, name))) cpSync(join(folder, name), join(kept, name), { recursive: true });
  writeFileSync(join(kept, 'options.json'), JSON.stringify(options));
  return kept;
}
