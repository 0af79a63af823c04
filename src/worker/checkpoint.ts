/** Where a worker keeps its positions, so that it resumes there after a crash. */

import { open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { HandlerError, messageOf } from '../core/model/errors.ts';
import { formatPosition, parsePosition, type Position } from '../core/model/position.ts';

/**
 * Implement it over your own database to store positions in the transaction that applies the rows.
 * The key of a position is its stream's name. Keys that begin with `$` are the worker's own; store
 * them like the others. formatPosition and parsePosition write and read a position as one word.
 */
export interface Checkpoint {
  /** Returns what was stored last; empty when nothing was. Called once, when the worker starts. */
  load(): Promise<ReadonlyMap<string, Position>>;
  /** Stores every position, all or none. Called after batches were applied, one call at a time. */
  save(positions: ReadonlyMap<string, Position>): Promise<void>;
}

/**
 * Keeps positions within this process: for tests, and for workers that need not resume in another
 * process.
 */
export function memoryCheckpoint(): Checkpoint {
  let stored: ReadonlyMap<string, Position> = new Map();
  return {
    load: async () => stored,
    save: async (positions) => {
      stored = new Map(positions);
    },
  };
}

const VERSION = 2;

/**
 * Keeps positions in a JSON file that is replaced as a whole: after a crash at any instant it holds
 * the old or the new positions. A damaged file is an error, never a fresh start. Its methods reject
 * with HandlerError CHECKPOINT_FAILED.
 */
export function fileCheckpoint(path: string): Checkpoint {
  return {
    async load() {
      let text: string;
      try {
        text = await readFile(path, 'utf8');
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return new Map();
        throw new HandlerError('CHECKPOINT_FAILED', `cannot read checkpoint ${path}: ${messageOf(cause)}`, { cause });
      }
      return parse(path, text);
    },
    async save(positions) {
      const lines = Array.from(positions.values(), formatPosition);
      const text = `${JSON.stringify({ version: VERSION, positions: lines }, null, 2)}\n`;
      try {
        await replaceFile(path, text);
      } catch (cause) {
        throw new HandlerError('CHECKPOINT_FAILED', `cannot write checkpoint ${path}: ${messageOf(cause)}`, { cause });
      }
    },
  };
}

async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.new`;
  const file = await open(temporary, 'w', 0o600);
  try {
    await file.writeFile(text);
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

function parse(path: string, text: string): Map<string, Position> {
  const damaged = (what: string, cause?: unknown): HandlerError =>
    new HandlerError(
      'CHECKPOINT_FAILED',
      `checkpoint ${path} is damaged (${what}): restore it, or delete it to start without one`,
      { cause },
    );
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (cause) {
    throw damaged(messageOf(cause), cause);
  }
  const { version, positions } = (content ?? {}) as { version?: unknown; positions?: unknown };
  if (version !== VERSION) throw damaged(`version ${JSON.stringify(version)}, expected ${VERSION}`);
  if (!Array.isArray(positions)) throw damaged('no positions');
  const parsed = new Map<string, Position>();
  for (const entry of positions as unknown[]) {
    if (typeof entry !== 'string') throw damaged(`a position is ${JSON.stringify(entry)}`);
    try {
      const position = parsePosition(entry);
      parsed.set(position.stream, position);
    } catch (cause) {
      throw damaged(messageOf(cause), cause);
    }
  }
  return parsed;
}
