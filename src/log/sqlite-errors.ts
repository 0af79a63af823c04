/**
 * Turns errors of SQLite and the system into a LogError that names the file and says what to do.
 */

import { mkdtempSync, rmdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { type ErrorCode, LogError, messageOf, RowcastError, systemCode } from '../core/model/errors.ts';

type LogErrorCode = Exclude<ErrorCode & `LOG_${string}`, 'LOG_GAP' | 'LOG_DRIVER_MISSING'>;

/** What to do, by code. The causes are mapped to codes below. */
const advice: Record<LogErrorCode, string> = {
  LOG_DAMAGED: 'it is damaged or no Rowcast log: put back a backup, or give another path',
  LOG_FORMAT: 'it is of another format than this Rowcast reads',
  LOG_FENCED: 'another process has opened it, or it was moved or replaced: close this log, and see who writes there',
  LOG_OUTCOME_UNKNOWN:
    'the disk failed while a commit was made durable: open it again to see whether its rows are there',
  LOG_READ_ONLY: 'it or its directory cannot be written: make both writable for this user, or give another path',
  LOG_LOCKED: 'another process has it open for writing: stop that process, or give another path',
  LOG_FULL: 'its disk is full: make room, or trim streams',
  LOG_UNAVAILABLE: 'check the path and the disk under it',
};

/** Matched as a prefix: SQLite extends its codes on the right (SQLITE_IOERR_FSYNC). */
const codesOfCauses: ReadonlyArray<readonly [prefix: string, code: LogErrorCode]> = [
  ['SQLITE_CORRUPT', 'LOG_DAMAGED'],
  ['SQLITE_NOTADB', 'LOG_DAMAGED'],
  // The file ends in the middle of a page.
  ['SQLITE_IOERR_SHORT_READ', 'LOG_DAMAGED'],
  // A missing table or column, or a chunk or stream that exists twice: we did not make these
  // tables.
  ['SQLITE_ERROR', 'LOG_DAMAGED'],
  ['SQLITE_CONSTRAINT', 'LOG_DAMAGED'],
  ['SQLITE_READONLY', 'LOG_READ_ONLY'],
  ['EACCES', 'LOG_READ_ONLY'],
  ['EPERM', 'LOG_READ_ONLY'],
  ['EROFS', 'LOG_READ_ONLY'],
  ['SQLITE_BUSY', 'LOG_LOCKED'],
  ['SQLITE_LOCKED', 'LOG_LOCKED'],
  ['SQLITE_FULL', 'LOG_FULL'],
  // The memory that connections share is a file beside the log, which could not grow.
  ['SQLITE_IOERR_SHMSIZE', 'LOG_FULL'],
  ['ENOSPC', 'LOG_FULL'],
  ['EDQUOT', 'LOG_FULL'],
];

/** `doing` names the attempt, as in `cannot append to`. Returns a Rowcast error unchanged. */
export function sqliteLogError(path: string, doing: string, cause: unknown): RowcastError {
  if (cause instanceof RowcastError) return cause;
  const said = systemCode(cause);
  const driverAdvice = adviceOnDriver(cause);
  if (driverAdvice !== undefined)
    return new LogError('LOG_DRIVER_MISSING', `cannot ${doing} ${path}: ${driverAdvice}`, { cause, facts: { driver } });
  if (said.startsWith('SQLITE_CANTOPEN')) return cannotOpen(path, doing, cause);
  const code = logErrorCode(said);
  return logError(code, `cannot ${doing} ${path}: ${advice[code]}`, cause);
}

/**
 * For damage that SQLite does not see: it reads the file, but the content is not what was written.
 */
export function damaged(path: string, what: string): LogError {
  return new LogError('LOG_DAMAGED', `cannot read ${path}: ${advice.LOG_DAMAGED} (${what})`);
}

export function locked(path: string): LogError {
  return new LogError('LOG_LOCKED', `cannot open ${path}: ${advice.LOG_LOCKED}`);
}

export function fenced(path: string, what: string): LogError {
  return new LogError('LOG_FENCED', `cannot go on with ${path}: ${advice.LOG_FENCED} (${what})`);
}

/**
 * For a COMMIT that failed during write or sync: after a crash its rows may or may not be there.
 */
export function outcomeUnknown(path: string, cause: unknown): LogError {
  return logError('LOG_OUTCOME_UNKNOWN', `cannot append to ${path}: ${advice.LOG_OUTCOME_UNKNOWN}`, cause);
}

export function walFull(path: string, walBytes: number): LogError {
  const held = `its WAL has ${walBytes} bytes, which is its bound, since a reader holds an old snapshot`;
  return new LogError(
    'LOG_FULL',
    `cannot append to ${path}: ${held}: end that reader (a shell, a backup), or raise maxWalBytes`,
  );
}

/**
 * Whether SQLite's error is about the content of the file, not about the disk, locks or a
 * statement.
 */
export function isDamage(cause: unknown): boolean {
  if (cause instanceof LogError) return cause.code === 'LOG_DAMAGED';
  return damageCodes.some((prefix) => systemCode(cause).startsWith(prefix));
}

const damageCodes = ['SQLITE_CORRUPT', 'SQLITE_NOTADB', 'SQLITE_IOERR_SHORT_READ', 'SQLITE_CONSTRAINT_UNIQUE'];

/** Whether it is for want of room on the disk. */
export function isFull(error: unknown): boolean {
  return error instanceof LogError && error.code === 'LOG_FULL' && error.cause !== undefined;
}

export function isInputOutputError(cause: unknown): boolean {
  return systemCode(cause).startsWith('SQLITE_IOERR');
}

function logErrorCode(said: string): LogErrorCode {
  return codesOfCauses.find(([prefix]) => said.startsWith(prefix))?.[1] ?? 'LOG_UNAVAILABLE';
}

const driver = 'better-sqlite3';

/** What to do when the driver or its native part cannot be loaded. Undefined for any other error. */
function adviceOnDriver(cause: unknown): string | undefined {
  switch (systemCode(cause)) {
    case 'ERR_MODULE_NOT_FOUND':
    case 'MODULE_NOT_FOUND':
      return `${driver} is not installed: run npm install ${driver}`;
    case 'ERR_DLOPEN_FAILED':
      return `the native part of ${driver} is not of ${thisSystem()}: run npm rebuild ${driver} here`;
  }
  // Package managers that run no scripts of packages, such as pnpm unless it is told to, leave it
  // out.
  return messageOf(cause).startsWith('Could not locate the bindings file')
    ? `the native part of ${driver} is not built: let its install script run (npm rebuild ${driver} --ignore-scripts=false, pnpm approve-builds)`
    : undefined;
}

function thisSystem(): string {
  return `Node ${process.version} on ${process.platform} ${process.arch}`;
}

/** SQLite does not say why it could not open a file, so we ask the system. */
function cannotOpen(path: string, doing: string, cause: unknown): RowcastError {
  try {
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) {
      return logError('LOG_UNAVAILABLE', `cannot ${doing} ${path}: it is a directory: give a path in it`, cause);
    }
    // Only an attempt tells the truth: permission bits ignore read-only file systems, and access(2)
    // ignores the effective user.
    rmdirSync(mkdtempSync(join(dirname(path), '.rowcast-')));
  } catch (reason) {
    return sqliteLogError(path, doing, reason);
  }
  return logError(
    'LOG_UNAVAILABLE',
    `cannot ${doing} ${path}: check that this process may open it and has file descriptors left`,
    cause,
  );
}

function logError(code: LogErrorCode, text: string, cause: unknown): LogError {
  const said = systemCode(cause);
  // The system's texts begin with their code; SQLite's do not.
  const because = said.startsWith('SQLITE_') ? `${said}: ${messageOf(cause)}` : messageOf(cause);
  return new LogError(code, `${text} (${because})`, { cause });
}
