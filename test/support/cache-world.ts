/**
 * A worker with caches, a database and a primary under the test's control. Rows are committed to
 * the database, then invalidated, then sent; connections are cut, histories end, and loads take
 * time. After every read it compares the result with the positions that were reached.
 *
 * The model: for each entry, `floors` has the version that every later read must at least return,
 * because a token that stands for it was reached.
 */

import { setMaxListeners } from 'node:events';
import { type CachedFunction, createCaches, type WhenSuspect, type WorkerCaches } from '../../src/cache/index.ts';
import { seededRandom } from '../../src/base/random.ts';
import { type History, logIdOf, originOf } from '../../src/core/model/history.ts';
import type { Token } from '../../src/core/model/token.ts';
import { VirtualClock } from '../../src/testing/virtual-clock.ts';
import { createWorker, type Worker } from '../../src/worker/worker.ts';
import { ScriptedPrimary } from './scripted-primary.ts';

const VOLATILE_ERA: History = 'ffffffffffffffff.1.00000001';
const ROOMS = ['a', 'b'];
const USERS = ['1', '2'];
const ENTRIES: readonly (readonly [string, string])[] = ROOMS.flatMap((room) =>
  USERS.map((user) => [room, user] as const),
);

/** The entries that a write changes, and the row that says so. */
const WRITES: readonly { readonly row: string; readonly changes: (room: string, user: string) => boolean }[] = [
  { row: '["get",["a","1"],0]', changes: (room, user) => room === 'a' && user === '1' },
  { row: '["get",["b","2"],0]', changes: (room, user) => room === 'b' && user === '2' },
  { row: '["get",["a"],0]', changes: (room) => room === 'a' },
  { row: '["get",[],0]', changes: () => true },
  { row: '["get",null,0]', changes: () => true },
  { row: '["room",["b","1","2"],0]', changes: (room) => room === 'b' },
  { row: '"no invalidation"', changes: () => true },
  { row: '["throws",["x"],0]', changes: () => true },
];

export type Step =
  | { readonly kind: 'commit'; readonly write: number }
  /** Appends the rows of all committed writes that are not appended yet, as one batch. */
  | { readonly kind: 'append' }
  /** Sends the next lines of the wire, without the last `held` bytes of the last one. */
  | { readonly kind: 'send'; readonly lines: number; readonly held: number }
  | { readonly kind: 'read'; readonly entry: number }
  /** Reads as soon as everything appended so far has come. */
  | { readonly kind: 'wait-and-read'; readonly entry: number }
  | { readonly kind: 'prefill' }
  /** A load reads the database, ends, or fails. */
  | { readonly kind: 'query' | 'finish' | 'fail'; readonly load: number }
  | { readonly kind: 'cut' | 'connect' | 'reset' | 'trim' | 'turn' };

interface RunningLoad {
  readonly entries: readonly (readonly [string, string])[];
  versions: readonly number[] | undefined;
  readonly resolve: (versions: readonly number[]) => void;
  readonly reject: (error: Error) => void;
}

interface Row {
  readonly token: Token;
  readonly lines: readonly string[];
  /** The versions that the batch stands for. */
  readonly versions: ReadonlyMap<string, number>;
}

export class CacheWorld {
  readonly faults: string[] = [];
  reads = 0;
  readonly caches: WorkerCaches;
  readonly #clock = new VirtualClock();
  readonly #primary = new ScriptedPrimary();
  readonly #worker: Worker;
  readonly #get: CachedFunction<readonly [string, string], number, void>;
  readonly #database = new Map<string, number>();
  readonly #floors = new Map<string, number>();
  #version = 0;
  #committed: { write: number; versions: Map<string, number> }[] = [];
  #logNumber = 1;
  #log: Row[] = [];
  #latest = 0;
  #earliest = 1;
  /** The token sent last on this connection; undefined while the stream is not replicated. */
  #sentUpTo: Token | undefined;
  /** Lines still to be sent on this connection. */
  #wire: string[] = [];
  #isPositionSent = false;
  /** The history that was named last on this connection. */
  #named: History | undefined;
  #loads: RunningLoad[] = [];
  readonly #pending: Promise<unknown>[] = [];
  readonly #over = new AbortController();

  constructor({ whenSuspect, prefixes, max }: { whenSuspect: WhenSuspect; prefixes: number; max: number }) {
    this.#worker = createWorker({
      name: 'reader-1',
      connect: { path: '/script' },
      transport: this.#primary.transport,
      clock: this.#clock,
      random: seededRandom(1),
      limits: { minBackoffMs: 1, maxBackoffMs: 1 },
    });
    this.#worker.on('error', () => {});
    this.caches = createCaches(this.#worker, { whenSuspect, clock: this.#clock });
    this.#get = this.caches.cached(
      'get',
      { prefixes, max },
      async (room: string, user: string) => (await this.#load([[room, user]]))[0]!,
    );
    this.caches.group('room', ([room, ...users]) => users.map((user) => ['get', [room, user]] as const));
    this.caches.group('throws', () => {
      throw new Error('a group that throws');
    });
    setMaxListeners(0, this.#over.signal);
    this.#worker.start().catch(() => {});
  }

  async run(steps: readonly Step[]): Promise<void> {
    await turn();
    for (const step of steps) {
      this.#take(step);
      this.#notePosition();
      // Not after each step: bytes within one turn of the event loop meet promises that have not
      // settled.
      if (step.kind === 'turn' || step.kind === 'connect') await turn();
      this.#notePosition();
    }
  }

  /** Lets everything settle. Then every entry must have the database's value. */
  async end(): Promise<void> {
    this.#append();
    for (let rounds = 0; !this.#isAtRest; rounds++) {
      if (rounds > 20) throw new Error(`the worker does not become live: ${JSON.stringify(this.caches.stats())}`);
      if (this.#primary.isLeft) this.#primary.cut();
      this.#connect();
      await turn();
      this.#send(Infinity, 0);
      await turn();
      this.#notePosition();
    }
    // Remaining waits are for a token of a history that ended.
    this.#over.abort(new Error('the test is over'));
    for (let i = 0; i < 20; i++) {
      this.#finishAll();
      await turn();
    }
    await Promise.all(this.#pending);
    this.#raise(this.#database);
    const last = ENTRIES.map(async (entry, i) => this.#read(i, `${entry.join('')} at the end`));
    await turn();
    this.#finishAll();
    await Promise.all(last);
    const stopped = this.#worker.stop();
    this.#primary.cut();
    await stopped;
  }

  #take(step: Step): void {
    switch (step.kind) {
      case 'commit':
        return this.#commit(step.write);
      case 'append':
        return this.#append();
      case 'send':
        return this.#send(step.lines, step.held);
      case 'read':
        this.#pending.push(this.#read(step.entry, 'read'));
        return;
      case 'wait-and-read':
        this.#pending.push(this.#waitAndRead(step.entry));
        return;
      case 'prefill':
        this.#pending.push(this.#prefill());
        return;
      case 'query':
      case 'finish':
      case 'fail':
        return this.#goOn(step.kind, step.load);
      case 'cut':
        return this.#cut();
      case 'connect':
        return this.#connect();
      case 'reset':
        return this.#reset();
      case 'trim':
        this.#earliest = this.#latest + 1;
        this.#log = [];
        return;
      case 'turn':
        return;
    }
  }

  // --- the primary ---

  #commit(write: number): void {
    const version = ++this.#version;
    const versions = new Map<string, number>();
    for (const [room, user] of ENTRIES) if (WRITES[write]!.changes(room, user)) versions.set(room + user, version);
    for (const [key, value] of versions) this.#database.set(key, value);
    this.#committed.push({ write, versions });
  }

  #append(): void {
    if (this.#committed.length === 0) return;
    const token = ++this.#latest;
    const rows = this.#committed.map(({ write }) => WRITES[write]!.row);
    const lines = rows.map((row, i) => `RDATA caches ${i < rows.length - 1 ? 'batch' : token} ${row}`);
    const versions = new Map(this.#committed.flatMap((committed) => [...committed.versions]));
    this.#committed = [];
    this.#log.push({ token, lines, versions });
    this.#floorsOf.set(`${this.#logId} ${token}`, versions);
  }

  /** By log and token, also of histories that ended. */
  readonly #floorsOf = new Map<string, ReadonlyMap<string, number>>();

  #connect(): void {
    if (this.#primary.isOpen) return;
    this.#clock.step(this.#clock.now() + 2);
    if (!this.#primary.isAwaited) return;
    this.#primary.open();
    this.#primary.send(['SERVER example.com', `PING 1 rowcast/2 log=${this.#era} mem=${VOLATILE_ERA}`]);
  }

  get #logId(): string {
    return String(this.#logNumber).padStart(16, '0');
  }

  /** The era of every row of this log. */
  get #era(): History {
    return `${this.#logId}.1.00000001`;
  }

  #historyAt(token: Token): History {
    return token === 0 ? originOf(this.#logId) : this.#era;
  }

  #send(count: number, held: number): void {
    if (!this.#primary.isOpen) return;
    this.#hear();
    if (this.#sentUpTo !== undefined && this.#sentUpTo < this.#earliest - 1) this.#refuse('GAP');
    for (const { token, lines } of this.#log) {
      if (this.#sentUpTo === undefined || token <= this.#sentUpTo) continue;
      if (this.#named !== this.#era) this.#wire.push(`HISTORY caches ${this.#sentUpTo} ${this.#era}`);
      this.#named = this.#era;
      this.#wire.push(...lines);
      this.#sentUpTo = token;
    }
    if (this.#sentUpTo !== undefined && !this.#isPositionSent) {
      this.#named = this.#historyAt(this.#sentUpTo);
      this.#wire.push(`POSITION caches ${this.#sentUpTo} ${this.#named}`);
      this.#isPositionSent = true;
    }
    this.#primary.send(this.#wire.splice(0, count), held);
  }

  /** Reads the worker's requests. */
  #hear(): void {
    for (const line of this.#primary.takeLines()) {
      const [name, stream, from, history] = line.split(' ');
      if (name === 'RELEASE') {
        this.#sentUpTo = undefined;
        this.#wire.push(`RELEASED ${stream}`);
      }
      if (name !== 'REPLICATE') continue;
      this.#isPositionSent = false;
      this.#named = history;
      this.#sentUpTo = from === 'NOW' ? this.#latest : Number(from);
      if (history !== undefined && logIdOf(history) !== this.#logId) this.#refuse('RESET');
    }
  }

  #refuse(code: 'GAP' | 'RESET'): void {
    this.#sentUpTo = undefined;
    this.#wire.push(`REFUSED caches ${code} {"earliest":${this.#earliest},"latest":${this.#latest}}`);
  }

  #cut(): void {
    this.#sentUpTo = undefined;
    this.#wire = [];
    this.#isPositionSent = false;
    this.#primary.cut();
  }

  /**
   * Begins another history, as after the loss of the log. The database keeps its committed rows.
   */
  #reset(): void {
    this.#cut();
    this.#logNumber++;
    this.#log = [];
    this.#latest = 0;
    this.#earliest = 1;
  }

  // --- the worker ---

  /** A position was reached: no read that begins from now on may be older. */
  #notePosition(): void {
    const position = this.#worker.position('caches');
    if (position === undefined) return;
    this.#raiseUpTo(logIdOf(position.history!), position.token);
  }

  #raiseUpTo(logId: string, upTo: Token): void {
    for (let token = 1; token <= upTo; token++) this.#raise(this.#floorsOf.get(`${logId} ${token}`));
  }

  #raise(versions: ReadonlyMap<string, number> = new Map()): void {
    for (const [key, version] of versions) this.#floors.set(key, Math.max(version, this.#floors.get(key) ?? 0));
  }

  async #read(entry: number, what: string): Promise<void> {
    const [room, user] = ENTRIES[entry]!;
    const floor = this.#floors.get(room + user) ?? 0;
    this.reads++;
    let version: number;
    try {
      version = await this.#get(room, user);
    } catch {
      return;
    }
    if (version < floor) this.faults.push(`${what}: ${room}${user} is ${version}, and ${floor} was waited for`);
  }

  async #waitAndRead(entry: number): Promise<void> {
    const logId = this.#logId;
    const token = this.#latest;
    const position = { stream: 'caches', token, history: this.#historyAt(token) };
    try {
      await this.#worker.waitFor(position, { timeoutMs: 1_000_000_000, signal: this.#over.signal });
    } catch {
      return;
    }
    this.#raiseUpTo(logId, token);
    await this.#read(entry, `after waitFor(${token})`);
  }

  async #prefill(): Promise<void> {
    const entries = ENTRIES.slice(0, 3);
    try {
      await this.#get.prefill(async () =>
        (await this.#load(entries)).map((version, i) => [entries[i]!, version] as const),
      );
    } catch {
      // A load that was made to fail.
    }
  }

  #load(entries: RunningLoad['entries']): Promise<readonly number[]> {
    return new Promise((resolve, reject) => {
      this.#loads.push({ entries, versions: undefined, resolve, reject });
    });
  }

  #goOn(kind: 'query' | 'finish' | 'fail', index: number): void {
    if (this.#loads.length === 0) return;
    const at = index % this.#loads.length;
    const load = this.#loads[at]!;
    if (kind !== 'fail') load.versions ??= load.entries.map(([room, user]) => this.#database.get(room + user) ?? 0);
    if (kind === 'query') return;
    this.#loads.splice(at, 1);
    if (kind === 'finish') load.resolve(load.versions!);
    else load.reject(new Error('a load that fails'));
  }

  #finishAll(): void {
    while (this.#loads.length > 0) this.#goOn('finish', 0);
  }

  get #isAtRest(): boolean {
    return (
      this.caches.stats().isLive &&
      this.#primary.isOpen &&
      !this.#primary.isLeft &&
      this.#sentUpTo === this.#latest &&
      this.#wire.length + this.#primary.heldBytes === 0
    );
  }
}

/** Lets every promise settle that can. */
async function turn(): Promise<void> {
  for (let i = 0; i < 12; i++) await Promise.resolve();
}
