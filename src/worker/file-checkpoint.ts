/**
 * A checkpoint in one file. The file is a journal: each save appends a line, so its cost depends on
 * what changed and not on how many streams there are. From time to time it is replaced by a file
 * that has all positions in one line.
 *
 *   rowcast checkpoint 3
 *   <checksum> <positions>           all of them
 *   <checksum> <positions> <gone>    what one save changed; `gone` is left out where it is empty
 *
 * Positions are written as by formatPositions, gone keys percent-encoded and joined by commas. The
 * checksum, of the text behind it, is 8 hex digits of CRC-32.
 */

import { constants } from 'node:fs';
import { open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import { HandlerError, messageOf } from '../core/model/errors.ts';
import { filePath } from '../core/model/option-kinds.ts';
import { checkArgument } from '../core/model/options.ts';
import { formatPositions, parsePositions, type Position } from '../core/model/position.ts';
import type { Checkpoint } from './checkpoint.ts';

const HEADER = 'rowcast checkpoint 3';
/** With the space behind it. */
const CHECKSUM_LENGTH = 9;
/** A smaller file is not worth being replaced. */
const SMALL_BYTES = 16 * 1024;

/**
 * Keeps positions in a file. After a crash at any instant, also a power cut, it holds the positions
 * before or after the save that ran then. A damaged file is an error, never a fresh start. Its
 * methods reject with HandlerError CHECKPOINT_FAILED.
 * @throws UsageError INVALID_OPTION
 */
export function fileCheckpoint(path: string): Required<Checkpoint> {
  checkArgument('fileCheckpoint', 'path', path, filePath);
  const file = new CheckpointFile(path);
  return { load: async () => file.load(), save: async (changed, all) => file.save(changed, all) };
}

class CheckpointFile {
  readonly #path: string;
  /**
   * The size of the file after the last save. Undefined: its end may be torn or is not known, so the
   * next save replaces it.
   */
  #size: number | undefined;
  /** The size of the file when it was replaced last. */
  #wholeSize = 0;

  constructor(path: string) {
    this.#path = path;
  }

  async load(): Promise<Map<string, Position>> {
    let text: string;
    try {
      text = await readFile(this.#path, 'latin1');
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return new Map();
      throw this.#failure('read', cause);
    }
    return parse(this.#path, text);
  }

  async save(changed: ReadonlyMap<string, Position | undefined>, all: ReadonlyMap<string, Position>): Promise<void> {
    try {
      const size = this.#size;
      // Until the last byte is certain, the end of the file is not.
      this.#size = undefined;
      const line = formatLine(changed);
      const isSmall = size !== undefined && size + line.length <= Math.max(2 * this.#wholeSize, SMALL_BYTES);
      if (isSmall && (await this.#append(line, size))) this.#size = size + line.length;
      else await this.#replace(all);
    } catch (cause) {
      throw this.#failure('write', cause);
    }
  }

  /** @returns false when the file is not the one that the last save has left */
  async #append(line: string, size: number): Promise<boolean> {
    let file: Awaited<ReturnType<typeof open>>;
    try {
      file = await open(this.#path, constants.O_WRONLY | constants.O_APPEND);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return false;
      throw cause;
    }
    try {
      if ((await file.stat()).size !== size) return false;
      await file.writeFile(line, 'latin1');
      await file.datasync();
      return true;
    } finally {
      await file.close();
    }
  }

  async #replace(all: ReadonlyMap<string, Position>): Promise<void> {
    const text = `${HEADER}\n${formatLine(all)}`;
    await replaceFile(this.#path, text);
    this.#size = text.length;
    this.#wholeSize = text.length;
  }

  #failure(verb: string, cause: unknown): HandlerError {
    return new HandlerError('CHECKPOINT_FAILED', `cannot ${verb} checkpoint ${this.#path}: ${messageOf(cause)}`, {
      cause,
    });
  }
}

async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.new`;
  const file = await open(temporary, 'w', 0o600);
  try {
    await file.writeFile(text, 'latin1');
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  // The rename changes the directory, so only a sync of the directory makes it survive a crash of
  // the machine.
  const directory = await open(dirname(path), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
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

function parse(path: string, text: string): Map<string, Position> {
  const damaged = (what: string, cause?: unknown): HandlerError =>
    new HandlerError(
      'CHECKPOINT_FAILED',
      `checkpoint ${path} is damaged (${what}): restore it, or delete it to start without one`,
      { cause },
    );
  const lines = text.split('\n');
  if (lines.shift() !== HEADER) throw damaged(`it does not begin with the line ${HEADER}`);
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
  return positions;
}

function applyLine(positions: Map<string, Position>, content: string): void {
  const [moved = '', gone = ''] = content.split(' ');
  if (moved !== '')
    for (const position of parsePositions(moved, moved.length)) positions.set(position.stream, position);
  if (gone !== '') for (const key of gone.split(',')) positions.delete(decodeURIComponent(key));
}
