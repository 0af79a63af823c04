/** Where a worker keeps how far it got, so that it resumes there after a crash. */

import { open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { HandlerError, messageOf } from '../core/model/errors.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Position } from '../core/follow/interests.ts';

/** Implement it over your own database to store positions in the transaction that applies the rows. */
export interface Checkpoint {
  /** What was stored last; empty when nothing was. Called once, when the worker starts. */
  load(): Promise<ReadonlyMap<StreamName, Position>>;
  /** Stores every position, all or none. Called after batches were applied, one call at a time. */
  save(positions: ReadonlyMap<StreamName, Position>): Promise<void>;
}

/** Keeps positions within this process: for tests, and for workers that a new process does not continue. */
export function memoryCheckpoint(): Checkpoint {
  let stored: ReadonlyMap<StreamName, Position> = new Map();
  return {
    load: async () => stored,
    save: async (positions) => {
      stored = new Map(positions);
    },
  };
}

const VERSION = 1;

/**
 * Keeps positions in a JSON file, replaced as a whole: after a crash at any instant it holds the old or the new ones.
 * A file that is damaged is an error (HandlerError CHECKPOINT_FAILED), never a fresh start.
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
      const text = `${JSON.stringify({ version: VERSION, streams: Object.fromEntries(positions) }, null, 2)}\n`;
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
  // The rename itself must survive a crash of the machine: it is a change of the directory.
  const directory = await open(dirname(path), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function parse(path: string, text: string): Map<StreamName, Position> {
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
  const { version, streams } = (content ?? {}) as { version?: unknown; streams?: unknown };
  if (version !== VERSION) throw damaged(`version ${JSON.stringify(version)}, expected ${VERSION}`);
  if (typeof streams !== 'object' || streams === null || Array.isArray(streams)) throw damaged('no streams');
  const positions = new Map<StreamName, Position>();
  for (const [stream, position] of Object.entries(streams)) {
    const { token, logId } = (position ?? {}) as { token?: unknown; logId?: unknown };
    if (!Number.isSafeInteger(token) || (token as number) < 0)
      throw damaged(`the token of ${stream} is ${JSON.stringify(token)}`);
    if (logId !== undefined && typeof logId !== 'string')
      throw damaged(`the log id of ${stream} is ${JSON.stringify(logId)}`);
    positions.set(stream, { token: token as number, ...(logId !== undefined && { logId }) });
  }
  return positions;
}
