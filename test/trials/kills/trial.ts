/**
 * Random `kill -9` of a primary and its followers under load, with real processes. A kill comes
 * after a random number of acknowledged batches or printed lines, so it comes under load on any
 * machine.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Random, randomInteger, seededRandom } from '../../../src/base/random.ts';
import { freePorts, type RunningProcess, runRowcast } from '../../support/processes.ts';
import { TrialFollower } from './follower.ts';
import { positionOfAnswer, tokenOf, type TrialRow } from './surface.ts';

export interface KillsOptions {
  readonly seed: number;
  readonly primaryKills: number;
  /** The number of kills of each follower with a checkpoint. */
  readonly followerKills: number;
  /** The most acknowledged batches before a kill. */
  readonly mostBatches: number;
  /** The most printed lines before a kill of a follower. */
  readonly mostLines: number;
}

export interface KillsResult {
  readonly faults: readonly string[];
  readonly acknowledgedBatches: number;
  readonly acknowledgedRows: number;
  /** Appends that got no answer because of a kill. */
  readonly unanswered: number;
  readonly primaryKills: number;
  readonly followerKills: number;
  readonly printedLines: number;
  /** Lines that a follower printed again after a kill. */
  readonly repeatedLines: number;
}

const STREAMS = ['orders', 'stock'] as const;
const HTTP_WRITERS = 3;
const LARGEST_BATCH = 7;

export async function runKills(options: KillsOptions): Promise<KillsResult> {
  const trial = await KillTrial.create(options);
  try {
    return await trial.run();
  } finally {
    await trial.close();
  }
}

class KillTrial {
  readonly #options: KillsOptions;
  readonly #random: Random;
  readonly #folder: string;
  readonly #admin: string;
  readonly #serve: readonly string[];
  readonly #followers: readonly TrialFollower[];
  readonly #faults: string[] = [];
  /** Batches by name, with the position as text when the answer gave it. */
  readonly #acknowledged = new Map<string, { readonly stream: string; readonly position: string | undefined }>();
  readonly #appends = new Set<RunningProcess>();
  readonly #waiters = new Set<() => void>();
  #acknowledgedRows = 0;
  #unanswered = 0;
  #primaryKills = 0;
  #primary: RunningProcess | undefined;
  /** Settles when the running or starting primary listens. */
  #listening: Promise<void> = Promise.resolve();
  #isEnding = false;

  static async create(options: KillsOptions): Promise<KillTrial> {
    const folder = await mkdtemp(join(tmpdir(), 'rowcast-kills-'));
    const [port, admin] = await freePorts(2);
    return new KillTrial(options, folder, `127.0.0.1:${port}`, `127.0.0.1:${admin}`);
  }

  private constructor(options: KillsOptions, folder: string, address: string, admin: string) {
    this.#options = options;
    this.#random = seededRandom(options.seed);
    this.#folder = folder;
    this.#admin = admin;
    const socket = `unix:${join(folder, 'rowcast.sock')}`;
    this.#serve = ['serve', '--listen', address, '--listen', socket, '--admin', admin];
    this.#serve = [
      ...this.#serve,
      '--log',
      `sqlite:${join(folder, 'rowcast.db')}`,
      ...STREAMS.flatMap((s) => ['--stream', s]),
    ];
    const follower = (name: string, connect: string, checkpoint?: string): TrialFollower =>
      new TrialFollower({
        name,
        connect,
        streams: STREAMS,
        ...(checkpoint !== undefined && { checkpoint: join(folder, checkpoint) }),
        onPrinted: () => this.#poke(),
        onFault: (fault) => this.#fault(fault),
      });
    this.#followers = [
      follower('steady', address),
      follower('over-tcp', address, 'tcp.json'),
      follower('over-unix', socket, 'unix.json'),
    ];
  }

  async run(): Promise<KillsResult> {
    this.#startPrimary();
    await this.#listening;
    await Promise.all(this.#followers.map(async (follower) => follower.start()));
    const [, ...killed] = this.#followers;
    const killing = [this.#keepKillingPrimary(), ...killed.map(async (follower) => this.#keepKilling(follower))];
    const ended = Promise.all(killing).finally(() => {
      this.#isEnding = true;
    });
    const writers = Array.from({ length: HTTP_WRITERS }, async (_, i) => this.#keepPosting(`http-${i}`));
    await Promise.all([ended, ...writers, this.#keepAppending('cli')]);
    const latest = await this.#latest();
    const isPrinted = (): boolean =>
      this.#followers.every((follower) =>
        latest.every(([stream, token]) => token === 0 || follower.has(stream, token)),
      );
    await this.#until(isPrinted);
    for (const follower of this.#followers) this.#checkAll(follower);
    await Promise.all(this.#followers.map(async (follower) => follower.end('SIGTERM')));
    await this.#primary!.kill('SIGTERM');
    const code = await this.#primary!.ended;
    if (code !== 0) this.#fault(`the primary ended with ${code}`);
    return {
      faults: this.#faults,
      acknowledgedBatches: this.#acknowledged.size,
      acknowledgedRows: this.#acknowledgedRows,
      unanswered: this.#unanswered,
      primaryKills: this.#primaryKills,
      followerKills: sum(this.#followers, ({ kills }) => kills),
      printedLines: sum(this.#followers, ({ lines }) => lines),
      repeatedLines: sum(this.#followers, ({ repeats }) => repeats),
    };
  }

  async close(): Promise<void> {
    this.#isEnding = true;
    const processes = [...this.#appends, ...(this.#primary === undefined ? [] : [this.#primary])];
    await Promise.all([
      ...processes.map(async (process) => process.kill('SIGKILL')),
      ...this.#followers.map(async (follower) => follower.end('SIGKILL')),
    ]);
    await rm(this.#folder, { recursive: true, force: true });
  }

  #startPrimary(): void {
    const primary = runRowcast(this.#serve);
    this.#primary = primary;
    this.#listening = primary.saw(/listens at/);
    void primary.ended.then(() => {
      if (/LOG_|damaged/.test(primary.stderr())) this.#fault(`the primary says: ${primary.stderr()}`);
    });
  }

  async #keepKillingPrimary(): Promise<void> {
    while (this.#primaryKills < this.#options.primaryKills) {
      const due = this.#acknowledged.size + this.#someOf(this.#options.mostBatches);
      await this.#until(() => this.#acknowledged.size >= due);
      this.#primaryKills++;
      const { promise, resolve } = promiseWithResolvers();
      this.#listening = promise;
      await this.#primary!.kill('SIGKILL');
      this.#startPrimary();
      this.#listening.then(resolve, resolve);
      await this.#listening;
    }
  }

  async #keepKilling(follower: TrialFollower): Promise<void> {
    while (follower.kills < this.#options.followerKills) {
      const due = follower.lines + this.#someOf(this.#options.mostLines);
      await this.#until(() => follower.lines >= due);
      await follower.kill();
    }
  }

  /** Often few: a kill soon after a start hits work that has just begun. */
  #someOf(most: number): number {
    return randomInteger(this.#random, 1, this.#random.next() < 0.3 ? 10 : most);
  }

  async #keepPosting(writer: string): Promise<void> {
    for (let n = 0; !this.#isEnding; n++) {
      await this.#listening;
      const stream = STREAMS[randomInteger(this.#random, 0, STREAMS.length - 1)]!;
      const of = randomInteger(this.#random, 1, LARGEST_BATCH);
      const batches = randomInteger(this.#random, 1, 4);
      const { names, body } = makeBatches(`${writer}/${n}`, batches, of);
      try {
        const answer = await fetch(`http://${this.#admin}/streams/${stream}/rows?batch=${of}`, {
          method: 'POST',
          headers: { 'content-type': 'application/x-ndjson' },
          body,
        });
        const said: unknown = await answer.json();
        if (!answer.ok) this.#fault(`an append was refused: ${JSON.stringify(said)}`);
        this.#acknowledge(stream, names, of, positionOfAnswer(said));
      } catch {
        this.#unanswered++;
      }
    }
  }

  /** Runs `rowcast append` with input that ends late, so that a kill comes in the middle of it. */
  async #keepAppending(writer: string): Promise<void> {
    for (let n = 0; !this.#isEnding; n++) {
      await this.#listening;
      const stream = STREAMS[n % STREAMS.length]!;
      const { names, body } = makeBatches(`${writer}/${n}`, randomInteger(this.#random, 1, 400), LARGEST_BATCH);
      let lastLine = '';
      const append = runRowcast(['append', stream, '--batch', String(LARGEST_BATCH), '--admin', this.#admin], {
        onLine: (line) => {
          lastLine = line;
        },
        input: body,
      });
      this.#appends.add(append);
      const code = await append.ended;
      this.#appends.delete(append);
      if (code === 0) this.#acknowledge(stream, names, LARGEST_BATCH, lastLine);
      else this.#unanswered++;
    }
  }

  #acknowledge(stream: string, names: readonly string[], of: number, position: string): void {
    names.forEach((name, i) =>
      this.#acknowledged.set(name, { stream, position: i === names.length - 1 ? position : undefined }),
    );
    this.#acknowledgedRows += names.length * of;
    this.#poke();
  }

  async #latest(): Promise<(readonly [stream: string, token: number])[]> {
    const answer = await fetch(`http://${this.#admin}/status`);
    const { streams } = (await answer.json()) as { streams: { stream: string; latest: number }[] };
    return streams.filter(({ stream }) => STREAMS.some((name) => name === stream)).map((s) => [s.stream, s.latest]);
  }

  #checkAll(follower: TrialFollower): void {
    const positions = new Map<string, string>();
    for (const [stream, printed] of follower.printed) {
      for (const [token, { batch, position }] of printed) {
        if (tokenOf(position) !== token)
          this.#fault(`${follower.name}: ${token} of ${stream} has position ${position}`);
        if (positions.has(batch)) this.#fault(`${follower.name}: ${batch} of ${stream} is there twice`);
        positions.set(batch, position);
        const other = this.#followers[0]!.printed.get(stream)!.get(token);
        if (other?.batch !== batch || other.position !== position)
          this.#fault(`${follower.name}: ${batch} is at ${position}, elsewhere ${other?.batch} at ${other?.position}`);
      }
    }
    for (const [name, { stream, position }] of this.#acknowledged) {
      const at = positions.get(name);
      if (at === undefined) this.#fault(`${follower.name}: ${name} of ${stream} was acknowledged and not printed`);
      else if (position !== undefined && position !== at)
        this.#fault(`${follower.name}: ${name} was acknowledged at ${position} and printed at ${at}`);
    }
  }

  #fault(fault: string): void {
    this.#faults.push(fault);
    this.#poke();
  }

  /** Rejects at the first fault: the awaited state may then never come. */
  async #until(isReached: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const check = (): void => {
        if (this.#faults.length > 0) reject(new Error(this.#faults[0]));
        else if (isReached()) resolve();
        else return;
        this.#waiters.delete(check);
      };
      this.#waiters.add(check);
      check();
    });
  }

  #poke(): void {
    for (const check of this.#waiters) check();
  }
}

function makeBatches(name: string, batches: number, of: number): { readonly names: string[]; readonly body: string } {
  const names = Array.from({ length: batches }, (_, b) => `${name}/${b}`);
  const rows = names.flatMap((batch) => Array.from({ length: of }, (_, i): TrialRow => ({ batch, i, of })));
  return { names, body: rows.map((row) => `${JSON.stringify(row)}\n`).join('') };
}

function promiseWithResolvers(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}
