/**
 * One `rowcast follow --json` that is killed and started again, and the checks on everything it
 * prints.
 */

import { type RunningProcess, runRowcast } from '../../support/processes.ts';
import { type PrintedBatch, parsePrinted, readCheckpoint } from './surface.ts';

/**
 * A line printed this long before a kill must be in the checkpoint: positions are stored every 0.1
 * s.
 */
const LONGEST_REPEAT_MS = 3_000;

interface Printed {
  readonly batch: string;
  /** As text. */
  readonly position: string;
  /** The time and the run of its last print. */
  at: number;
  run: number;
}

export interface FollowerOptions {
  readonly name: string;
  readonly connect: string;
  readonly streams: readonly string[];
  /** A file. A follower without one is never killed. */
  readonly checkpoint?: string;
  /** Called after each whole line. */
  readonly onPrinted: () => void;
  readonly onFault: (fault: string) => void;
}

export class TrialFollower {
  readonly name: string;
  readonly #options: FollowerOptions;
  /** By stream and token. */
  readonly printed: ReadonlyMap<string, Map<number, Printed>>;
  lines = 0;
  repeats = 0;
  kills = 0;
  #process: RunningProcess | undefined;
  /** The last token of each stream in this run. */
  #reached = new Map<string, number>();
  #torn: string | undefined;
  #isKilled = false;
  #killedAt = 0;
  #run = 0;

  constructor(options: FollowerOptions) {
    this.name = options.name;
    this.#options = options;
    this.printed = new Map(options.streams.map((stream) => [stream, new Map<number, Printed>()]));
  }

  async start(): Promise<void> {
    const { name, connect, streams, checkpoint } = this.#options;
    const stored = checkpoint === undefined ? new Map<string, number>() : await readCheckpoint(checkpoint);
    for (const stream of streams) this.#resume(stream, stored.get(stream) ?? 0);
    this.#run++;
    this.#torn = undefined;
    this.#isKilled = false;
    const args = ['follow', ...streams, '--json', '--from', 'start', '--connect', connect, '--name', name];
    if (checkpoint !== undefined) args.push('--checkpoint', checkpoint);
    const process = runRowcast(args, { onLine: (line) => this.#print(line) });
    this.#process = process;
    void process.ended.then((how) => {
      if (!this.#isKilled) this.#tell(`it ended with ${how}: ${process.stderr()}`);
      if (/warning: stream/.test(process.stderr())) this.#tell(`it was reset: ${process.stderr()}`);
    });
  }

  /** Kills it, reads the rest of its output, and starts it again. */
  async kill(): Promise<void> {
    this.kills++;
    await this.end('SIGKILL');
    await this.start();
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    this.#isKilled = true;
    this.#killedAt = performance.now();
    await this.#process?.kill(signal);
    if (this.#torn !== undefined && signal !== 'SIGKILL') this.#tell(`its last line is torn: ${this.#torn}`);
  }

  has(stream: string, token: number): boolean {
    return this.printed.get(stream)!.has(token);
  }

  #resume(stream: string, after: number): void {
    const printed = this.printed.get(stream)!;
    const isCovered = Array.from({ length: after }, (_, i) => i + 1).every((token) => printed.has(token));
    if (!isCovered) this.#tell(`its checkpoint of ${stream} is ${after}, and not all up to there was printed`);
    this.#reached.set(stream, after);
    const lately = this.#killedAt - LONGEST_REPEAT_MS;
    for (const [token, { at, run }] of printed) {
      if (token > after && run === this.#run && at < lately)
        this.#tell(`its checkpoint of ${stream} is ${after}, and ${token} was printed long before the kill`);
    }
  }

  #print(line: string): void {
    if (this.#torn !== undefined) this.#tell(`a torn line is not its last one: ${this.#torn}`);
    let batch: PrintedBatch;
    try {
      batch = parsePrinted(line);
    } catch {
      this.#torn = line;
      return;
    }
    this.lines++;
    this.#check(batch);
    this.#options.onPrinted();
  }

  #check({ stream, token, position, rows }: PrintedBatch): void {
    const expected = this.#reached.get(stream)! + 1;
    if (token !== expected) this.#tell(`it printed ${token} of ${stream}, where ${expected} was next`);
    this.#reached.set(stream, token);
    const { batch, of } = rows[0]!;
    if (rows.length !== of || rows.some((row, i) => row.batch !== batch || row.i !== i))
      this.#tell(`${token} of ${stream} is a part of ${batch}: ${rows.length} of ${of} rows`);
    const printed = this.printed.get(stream)!;
    const before = printed.get(token);
    if (before === undefined) {
      printed.set(token, { batch, position, at: performance.now(), run: this.#run });
      return;
    }
    this.repeats++;
    if (before.batch !== batch || before.position !== position)
      this.#tell(`${before.position} was ${before.batch}, and ${position} is ${batch}`);
    before.at = performance.now();
    before.run = this.#run;
  }

  #tell(fault: string): void {
    this.#options.onFault(`${this.name}: ${fault}`);
  }
}
