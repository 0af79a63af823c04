/**
 * A checkpoint in one file. The file is a journal: each save appends a line, so its cost depends on
 * what changed and not on how many streams there are. From time to time it is replaced by a file
 * that has all positions in one line.
 *
 *   rowcast checkpoint 4 <worker> <host> <pid> <id>
 *   <checksum> <positions>           all of them
 *   <checksum> <positions> <gone>    what one save changed; `gone` is left out where it is empty
 *
 * The first line names the worker, and the process that wrote it; `id` is its own. Positions are
 * written as by formatPositions, gone keys percent-encoded and joined by commas. The checksum, of the
 * text behind it, is 8 hex digits of CRC-32.
 */

import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { open, readdir, readFile, readlink, realpath, rename, unlink } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { crc32 } from 'node:zlib';
import { HandlerError, messageOf, quote, RowcastError } from '../core/model/errors.ts';
import { filePath } from '../core/model/option-kinds.ts';
import { checkArgument } from '../core/model/options.ts';
import { formatPositions, parsePositions, type Position } from '../core/model/position.ts';
import type { CheckpointReader, SavingCheckpoint } from './checkpoint.ts';
import { type CheckpointLock, type CheckpointOwner, lockCheckpoint } from './checkpoint-lock.ts';

const FORMAT = 'rowcast checkpoint 4';
const HEADER = new RegExp(`^${FORMAT} (\\S+) (\\S+) (\\d+) ([0-9a-f]{16})$`);
/** Stands for a reader without a name. It is no percent-encoded text. */
const NOBODY = '%';
const NO_FILE = Symbol('no file');
/** With the space behind it. */
const CHECKSUM_LENGTH = 9;
/** A smaller file is not worth being replaced. */
const SMALL_BYTES = 16 * 1024;

/** A checkpoint in a file. */
export interface FileCheckpoint extends SavingCheckpoint {
  /** Closes the file, and lets other workers have it. */
  close(): Promise<void>;
}

/**
 * Keeps positions in a file, of one worker. After a crash at any instant, also a power cut, it holds
 * the positions before or after the save that ran then. A damaged file is an error, never a fresh
 * start. Its methods reject with HandlerError CHECKPOINT_FAILED, or CHECKPOINT_LOCKED when another
 * worker has the file open or has written it.
 * @throws UsageError INVALID_OPTION
 */
export function fileCheckpoint(path: string): FileCheckpoint {
  checkArgument('fileCheckpoint', 'path', path, filePath);
  const file = new CheckpointFile(path);
  return {
    load: async (reader) => file.load(reader),
    save: async (changed, all) => file.save(changed, all),
    close: async () => file.close(),
  };
}

interface Header extends CheckpointOwner {
  readonly id: string;
}

class CheckpointFile {
  /** What links lead to, once it was opened. */
  #path: string;
  readonly #id = randomBytes(8).toString('hex');
  #owner: CheckpointOwner | undefined;
  #lock: CheckpointLock | undefined;
  #isClosed = false;
  /** Settles when the load that runs is over. */
  #loading: Promise<void> = Promise.resolve();
  /** Settles when the save that runs is over. */
  #saving: Promise<void> = Promise.resolve();
  /** The id in the file when it was read or written last. Undefined before that. */
  #seen: string | typeof NO_FILE | undefined;
  /**
   * The file after the last save. Undefined: its end may be torn or is not known, so the next save
   * replaces it.
   */
  #left: { readonly size: number; readonly inode: number } | undefined;
  /** The size of the file when it was replaced last. */
  #wholeSize = 0;

  constructor(path: string) {
    // A process that changes its directory still means this file.
    this.#path = resolve(path);
  }

  async load(reader: CheckpointReader | undefined): Promise<Map<string, Position>> {
    const loading = this.#load(reader);
    this.#loading = loading.then(
      () => {},
      () => {},
    );
    return loading;
  }

  async #load(reader: CheckpointReader | undefined): Promise<Map<string, Position>> {
    await this.#open(reader);
    try {
      const text = await this.#read();
      this.#seen = NO_FILE;
      if (text === undefined) return new Map();
      const { header, positions } = parse(this.#path, text);
      this.#checkWorker(header);
      this.#seen = header.id;
      return positions;
    } catch (error) {
      this.#release();
      throw error;
    }
  }

  async save(changed: ReadonlyMap<string, Position | undefined>, all: ReadonlyMap<string, Position>): Promise<void> {
    const saving = this.#save(changed, all);
    this.#saving = saving.catch(() => {});
    return saving;
  }

  async close(): Promise<void> {
    // Whoever has the file next writes positions that are later than those of this save.
    this.#isClosed = true;
    // A load that is closed while it runs has its lock only at its end.
    await this.#loading;
    await this.#saving;
    this.#release();
  }

  async #save(changed: ReadonlyMap<string, Position | undefined>, all: ReadonlyMap<string, Position>): Promise<void> {
    if (this.#isClosed) throw this.#failure('write', new Error('it was closed'));
    try {
      if (this.#owner === undefined) await this.#open(undefined);
      const left = this.#left;
      // Until the last byte is certain, the end of the file is not.
      this.#left = undefined;
      const line = formatLine(changed);
      const isSmall = left !== undefined && left.size + line.length <= Math.max(2 * this.#wholeSize, SMALL_BYTES);
      if (isSmall && (await this.#append(line, left))) this.#left = { ...left, size: left.size + line.length };
      else await this.#replace(all);
    } catch (cause) {
      throw cause instanceof RowcastError ? cause : this.#failure('write', cause);
    }
  }

  #release(): void {
    this.#lock?.release();
    this.#lock = undefined;
    this.#left = undefined;
  }

  /** @throws HandlerError CHECKPOINT_LOCKED, CHECKPOINT_FAILED */
  async #open(reader: CheckpointReader | undefined): Promise<void> {
    if (this.#lock !== undefined) throw this.#locked(this.#owner!);
    this.#isClosed = false;
    try {
      this.#path = await realPath(this.#path);
      const owner = { workerName: reader?.workerName ?? NOBODY, host: hostname(), pid: process.pid };
      // Without a name it is no worker: a test, or a person who looks at the file.
      if (reader === undefined) {
        this.#owner = owner;
        return;
      }
      const lock = await lockCheckpoint(this.#path, owner);
      if ('heldBy' in lock) throw this.#locked(lock.heldBy);
      this.#lock = lock;
      // Not before: another load of this object may run at the same time, and is refused.
      this.#owner = owner;
      await this.#removeLeftovers();
    } catch (cause) {
      throw cause instanceof RowcastError ? cause : this.#failure('open', cause);
    }
  }

  /** A save that a crash cut short leaves its unfinished file behind. */
  async #removeLeftovers(): Promise<void> {
    const name = basename(this.#path);
    // A directory that may not be listed keeps them. They do no harm.
    for (const file of await readdir(dirname(this.#path)).catch(() => [])) {
      const isOurs = file.startsWith(`${name}.`) && /^\.[0-9a-f]{16}\.new$/.test(file.slice(name.length));
      if (isOurs) await unlink(join(dirname(this.#path), file)).catch(() => {});
    }
  }

  async #read(): Promise<string | undefined> {
    try {
      return await readFile(this.#path, 'latin1');
    } catch (cause) {
      if (isMissing(cause)) return undefined;
      throw this.#failure('read', cause);
    }
  }

  /** Positions of one worker say nothing of what another one has applied. */
  #checkWorker({ workerName }: Header): void {
    const mine = this.#owner!.workerName;
    if (workerName === mine || workerName === NOBODY || mine === NOBODY) return;
    const text =
      `checkpoint ${this.#path} is of worker ${quote(workerName)}, and this one is ${quote(mine)}: give each worker ` +
      'a file of its own. If the worker was renamed, write its new name into the first line of the file';
    throw new HandlerError('CHECKPOINT_LOCKED', text, { facts: { path: this.#path, workerName } });
  }

  /** @returns false when the file is not the one that the last save has left */
  async #append(line: string, left: { readonly size: number; readonly inode: number }): Promise<boolean> {
    let file: Awaited<ReturnType<typeof open>>;
    try {
      file = await open(this.#path, constants.O_WRONLY | constants.O_APPEND);
    } catch (cause) {
      if (isMissing(cause)) return false;
      throw cause;
    }
    try {
      const { size, ino } = await file.stat();
      if (size !== left.size || ino !== left.inode) return false;
      await file.writeFile(line, 'latin1');
      await file.datasync();
      return true;
    } finally {
      await file.close();
    }
  }

  async #replace(all: ReadonlyMap<string, Position>): Promise<void> {
    // A lock is of one machine. What another one has written since is not overwritten.
    const before = await this.#read();
    const header = before === undefined ? undefined : parseHeader(before.slice(0, before.indexOf('\n')));
    // A save that failed at its end has left the id of this one.
    const known = [this.#id, this.#seen];
    const isForeign = header !== undefined && this.#seen !== undefined && !known.includes(header.id);
    if (isForeign) throw this.#locked(header);
    const { workerName, host, pid } = this.#owner!;
    const worker = workerName === NOBODY ? NOBODY : encodeURIComponent(workerName);
    const text = `${FORMAT} ${worker} ${encodeURIComponent(host)} ${pid} ${this.#id}\n${formatLine(all)}`;
    const inode = await replaceFile(this.#path, text);
    this.#seen = this.#id;
    this.#left = { size: text.length, inode };
    this.#wholeSize = text.length;
  }

  #locked({ workerName, host, pid }: Partial<CheckpointOwner>): HandlerError {
    const name = workerName === undefined || workerName === NOBODY ? 'another worker' : `worker ${quote(workerName)}`;
    const where = pid === undefined ? '' : ` (process ${pid} on ${quote(host ?? '?')})`;
    const text = `checkpoint ${this.#path} is in use by ${name}${where}: give each worker a file of its own`;
    const facts = { path: this.#path, workerName, host, pid };
    return new HandlerError('CHECKPOINT_LOCKED', text, { facts });
  }

  #failure(verb: string, cause: unknown): HandlerError {
    return new HandlerError('CHECKPOINT_FAILED', `cannot ${verb} checkpoint ${this.#path}: ${messageOf(cause)}`, {
      cause,
    });
  }
}

function isMissing(cause: unknown): boolean {
  return (cause as NodeJS.ErrnoException).code === 'ENOENT';
}

/** What links lead to, also before there is a file. */
async function realPath(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (cause) {
    if (!isMissing(cause)) throw cause;
    const directory = await realpath(dirname(path));
    const target = await linkTarget(path);
    return target === undefined ? join(directory, basename(path)) : realPath(resolve(directory, target));
  }
}

/** Undefined where there is no link. */
async function linkTarget(path: string): Promise<string | undefined> {
  try {
    return await readlink(path);
  } catch (cause) {
    if (!isMissing(cause)) throw cause;
    return undefined;
  }
}

/** @returns the inode of the new file */
async function replaceFile(path: string, text: string): Promise<number> {
  // A name that nobody can have made before, so it is no link to elsewhere.
  const temporary = `${path}.${randomBytes(8).toString('hex')}.new`;
  const file = await open(temporary, 'wx', 0o600);
  try {
    let inode: number;
    try {
      await file.writeFile(text, 'latin1');
      await file.sync();
      inode = (await file.stat()).ino;
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    await syncDirectory(dirname(path));
    return inode;
  } catch (error) {
    await unlink(temporary).catch(() => {});
    throw error;
  }
}

/** What systems and file systems answer that do not sync directories. */
const NOT_SYNCED = new Set(['EINVAL', 'EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EISDIR', 'EACCES', 'EBADF']);

/**
 * A rename changes the directory, so only a sync of the directory makes it survive a crash of the
 * machine.
 */
export async function syncDirectory(path: string, openDirectory: typeof open = open): Promise<void> {
  try {
    const directory = await openDirectory(path, 'r');
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  } catch (cause) {
    if (!NOT_SYNCED.has((cause as NodeJS.ErrnoException).code ?? '')) throw cause;
  }
}

/** Every character is ASCII. */
function formatLine(positions: ReadonlyMap<string, Position | undefined>): string {
  const moved: Position[] = [];
  const gone: string[] = [];
  for (const [key, position] of positions) {
    if (position === undefined) gone.push(encodeURIComponent(key));
    else moved.push(position);
  }
  const text = formatPositions(moved) + (gone.length === 0 ? '' : ` ${gone.join(',')}`);
  return `${checksumOf(text)} ${text}\n`;
}

function isWhole(line: string): boolean {
  const content = line.slice(CHECKSUM_LENGTH);
  return line === `${checksumOf(content)} ${content}`;
}

function checksumOf(text: string): string {
  return crc32(text).toString(16).padStart(8, '0');
}

function parseHeader(line: string): Header | undefined {
  const [, worker, host, pid, id] = HEADER.exec(line) ?? [];
  if (id === undefined) return undefined;
  try {
    const workerName = worker === NOBODY ? NOBODY : decodeURIComponent(worker!);
    return { workerName, host: decodeURIComponent(host!), pid: Number(pid), id };
  } catch {
    return undefined;
  }
}

function parse(path: string, text: string): { header: Header; positions: Map<string, Position> } {
  const damaged = (what: string, cause?: unknown): HandlerError =>
    new HandlerError(
      'CHECKPOINT_FAILED',
      `checkpoint ${path} is damaged (${what}): restore it, or delete it to start without one`,
      { cause },
    );
  const lines = text.split('\n');
  const header = parseHeader(lines.shift()!);
  if (header === undefined) throw damaged(`it does not begin with a line ${FORMAT} …`);
  // What stands behind the last line end is a line that was not finished.
  lines.pop();
  const positions = new Map<string, Position>();
  for (const [index, line] of lines.entries()) {
    if (!isWhole(line)) {
      // A power cut in the last save leaves any content behind the lines before it, also some that
      // looks like lines. The first line was whole before it got its name.
      if (index > 0 && !lines.slice(index + 1).some(isWhole)) break;
      throw damaged(`line ${index + 2} has another checksum than its text`);
    }
    try {
      applyLine(positions, line.slice(CHECKSUM_LENGTH));
    } catch (cause) {
      throw damaged(`line ${index + 2}: ${messageOf(cause)}`, cause);
    }
  }
  if (lines.length === 0) throw damaged('it has no positions');
  return { header, positions };
}

function applyLine(positions: Map<string, Position>, content: string): void {
  const [moved = '', gone = ''] = content.split(' ');
  if (moved !== '')
    for (const position of parsePositions(moved, moved.length)) positions.set(position.stream, position);
  if (gone !== '') for (const key of gone.split(',')) positions.delete(decodeURIComponent(key));
}
