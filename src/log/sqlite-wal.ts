/**
 * Keeps the WAL of an sqlite log small. Usually the commit that reaches CHECKPOINT_BYTES moves the
 * WAL into the database, and SQLite starts the WAL over. A reader with an old snapshot prevents
 * that, and the WAL grows. A thread moves a large WAL, because that takes seconds. Afterwards the
 * file shrinks in steps, because cutting off a gigabyte at once takes as long.
 *
 *   small ──over LARGE_WAL_BYTES──▶ large: the thread moves it until all is moved
 *     ▲                           │
 *     └──cut to LARGE_WAL_BYTES───────┘
 */

import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';

import type Database from 'better-sqlite3';

import type { Millis } from '../base/clock.ts';

/**
 * The size at which a commit moves the WAL into the database. It sets the longest pause of a
 * commit.
 */
const CHECKPOINT_BYTES = 2 * 1024 * 1024;
/** Above this the thread takes over: a commit would take more than about 30 ms. */
export const LARGE_WAL_BYTES: number = 8 * 1024 * 1024;
/** How much of the file is cut off each time the WAL starts over: about 15 ms of a commit. */
const SHRINK_BYTES = 16 * 1024 * 1024;
/** How long the thread rests when it could not move all because a reader is still there. */
const BLOCKED_REST_MS: Millis = 500;
/** The WAL has a header for each page. */
const FRAME_HEADER_BYTES = 24;
/** The share of its bound at which the WAL is reported as slow. */
const SLOW_SHARE = 1 / 4;

export interface WalOptions {
  readonly database: Database.Database;
  readonly path: string;
  /** Appends are refused above this. */
  readonly maxBytes: number;
}

/** SQLite's result of a checkpoint, in pages. */
interface Checkpointed {
  readonly log: number;
  readonly checkpointed: number;
}

export class WalKeeper {
  readonly #database: Database.Database;
  readonly #path: string;
  readonly #maxBytes: number;
  readonly #pageBytes: number;
  #thread: Worker | undefined;
  /** Resolves when the last stopped thread has ended. */
  #threadEnd: Promise<void> = Promise.resolve();
  #canThread = true;
  #isMoving = false;
  #restTimer: NodeJS.Timeout | undefined;
  /** How much of the file is in use. Known only while it is large. */
  #usedBytes = 0;
  #fileBytes = 0;
  /** The last checkpoint could not move all. */
  #isBlocked = false;

  constructor({ database, path, maxBytes }: WalOptions) {
    this.#database = database;
    this.#path = path;
    this.#maxBytes = maxBytes;
    this.#pageBytes = database.pragma('page_size', { simple: true }) as number;
    this.#moveInCommits(true);
    this.#limitFile(LARGE_WAL_BYTES);
  }

  /** The WAL is larger than it should be, or appends are refused because of it. */
  get isHigh(): boolean {
    return this.#usedBytes > this.#maxBytes * SLOW_SHARE;
  }

  /** The size at which the next append must be refused; undefined while appends may go on. */
  get fullBytes(): number | undefined {
    return this.#isBlocked && this.#usedBytes >= this.#maxBytes ? this.#usedBytes : undefined;
  }

  /** Call it before each commit with the size of the file in bytes. */
  handleSize(fileBytes: number): void {
    // The file grows only when all of it is in use.
    if (fileBytes > this.#fileBytes) this.#usedBytes = fileBytes;
    this.#fileBytes = fileBytes;
    // The thread may not come to work on a busy machine. At the bound it is time to know whether a
    // reader is there.
    if (this.#usedBytes >= this.#maxBytes && this.#isMoving) this.#note(this.#moveHere());
    if (fileBytes > LARGE_WAL_BYTES) this.#move();
    else if (this.#thread !== undefined && !this.#isMoving) this.#endLarge();
  }

  /** Resolves when the thread has released the file. */
  async close(): Promise<void> {
    clearTimeout(this.#restTimer);
    this.#endThread();
    await this.#threadEnd;
  }

  #endThread(): void {
    const thread = this.#thread;
    if (thread === undefined) return;
    this.#thread = undefined;
    this.#threadEnd = new Promise((resolve) => thread.once('exit', () => resolve()));
    tell(thread, 'end');
  }

  #move(): void {
    if (this.#isMoving || this.#restTimer !== undefined || !this.#canThread) return;
    if (this.#thread === undefined) {
      this.#moveInCommits(false);
      this.#thread = this.#startThread();
    }
    this.#isMoving = true;
    tell(this.#thread, 'move');
  }

  #handleMoved(byThread: Checkpointed): void {
    this.#isMoving = false;
    // Commits made while the thread ran are few and are moved here. Otherwise no commit would ever
    // start the WAL over.
    if (this.#note(isAllMoved(byThread) ? this.#moveHere() : byThread)) return;
    this.#restTimer = setTimeout(() => {
      this.#restTimer = undefined;
      this.#move();
    }, BLOCKED_REST_MS).unref();
  }

  /** @returns whether all was moved */
  #note({ log, checkpointed }: Checkpointed): boolean {
    // -1 means that another connection was moving it.
    if (log < 0) return false;
    this.#isBlocked = checkpointed < log;
    this.#usedBytes = this.#isBlocked ? log * (this.#pageBytes + FRAME_HEADER_BYTES) : 0;
    if (this.#isBlocked) return false;
    // The next commit starts the WAL over and cuts the file to this limit.
    this.#limitFile(Math.max(LARGE_WAL_BYTES, this.#fileBytes - SHRINK_BYTES));
    return true;
  }

  #moveHere(): Checkpointed {
    try {
      return (this.#database.pragma('wal_checkpoint(PASSIVE)') as [Checkpointed])[0];
    } catch {
      // The rows stay in the WAL until it can be moved.
      return { log: -1, checkpointed: -1 };
    }
  }

  #endLarge(): void {
    this.#endThread();
    this.#isBlocked = false;
    this.#usedBytes = 0;
    this.#limitFile(LARGE_WAL_BYTES);
    this.#moveInCommits(true);
  }

  #startThread(): Worker {
    const driver = createRequire(import.meta.url).resolve('better-sqlite3');
    const thread = new Worker(THREAD, { eval: true, workerData: { driver, path: this.#path } });
    thread.unref();
    thread.on('message', (moved: Checkpointed) => {
      if (this.#thread === thread) this.#handleMoved(moved);
    });
    // The `exit` event follows, and is handled below.
    thread.on('error', () => {});
    thread.on('exit', () => {
      if (this.#thread === thread) this.#handleThreadLost();
    });
    return thread;
  }

  /**
   * The thread could not start, or the disk failed under it. Commits move the WAL again, however
   * long that takes.
   */
  #handleThreadLost(): void {
    this.#thread = undefined;
    this.#isMoving = false;
    this.#canThread = false;
    this.#endLarge();
  }

  #moveInCommits(inCommits: boolean): void {
    this.#database.pragma(`wal_autocheckpoint = ${inCommits ? CHECKPOINT_BYTES / this.#pageBytes : 0}`);
  }

  #limitFile(bytes: number): void {
    this.#database.pragma(`journal_size_limit = ${bytes}`);
  }
}

function isAllMoved({ log, checkpointed }: Checkpointed): boolean {
  return log >= 0 && checkpointed === log;
}

function tell(thread: Worker, command: 'move' | 'end'): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- that is for windows; a thread has no origin
  thread.postMessage(command);
}

/**
 * The thread's code is text, so that it is found in sources, in the build and in a bundle. Its
 * connection uses our process's SQLite library, so both see each other's locks.
 */
const THREAD = `
  const { parentPort, workerData } = require('node:worker_threads');
  const Database = require(workerData.driver);
  const database = new Database(workerData.path, { timeout: 0, fileMustExist: true });
  database.pragma('fullfsync = ON');
  parentPort.on('message', (command) => {
    if (command === 'move') {
      const [{ log, checkpointed }] = database.pragma('wal_checkpoint(PASSIVE)');
      return parentPort.postMessage({ log, checkpointed });
    }
    database.close();
    parentPort.close();
  });
`;
