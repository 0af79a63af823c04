/**
 * A log of your own: one file of JSON lines, which is only appended to. For a primary whose rows fit in its memory.
 *
 *   const primary = await createPrimary({ name: 'example.com', log: journalLog({ path: 'data/rows.jsonl' }), streams });
 *
 * The rows are kept in memory by KeptLog; the file makes them durable. A line is one change, with its CRC in front:
 *
 *   8c1f03a2 {"appended":[{"stream":"notes","chunks":[…]}]}
 *
 * A line without its LF, or with another CRC, was not finished when the process or the machine ended. Only the last
 * line may be such a one, and no append that it holds was acknowledged: it is cut off.
 */
import { closeSync, existsSync, fstatSync, fsyncSync, ftruncateSync, openSync, readFileSync } from 'node:fs';
import { mkdirSync, renameSync, statSync, writeSync } from 'node:fs';
import path from 'node:path';
import { crc32 } from 'node:zlib';
import { LogError } from 'rowcast';
import { formatChange, KeptLog, parseChange } from 'rowcast/log';

export function journalLog({ path: file, ...options }) {
  return new KeptLog({ name: `journal ${file}`, store: new Journal(file), ...options });
}

const LF = 0x0a;
const OWNER_ONLY = 0o600;

class Journal {
  #path;
  #fd;
  /** The length of the file. Another process that writes it changes that. */
  #bytes = 0;

  constructor(file) {
    this.#path = path.resolve(file);
  }

  open() {
    mkdirSync(path.dirname(this.#path), { recursive: true, mode: 0o700 });
    const isNew = !existsSync(this.#path);
    this.#fd = openSync(this.#path, 'a', OWNER_ONLY);
    if (isNew) syncDirectory(path.dirname(this.#path));
    const { changes, bytes } = readChanges(this.#path);
    // What follows is the line that was not finished: the next one must not join on to it.
    ftruncateSync(this.#fd, bytes);
    fsyncSync(this.#fd);
    this.#bytes = bytes;
    return changes;
  }

  /** Throws only when it is not known whether the change is there: KeptLog then refuses all others. */
  write(change) {
    this.#checkPlace();
    this.#bytes += writeLine(this.#fd, change);
    fsyncSync(this.#fd);
  }

  /** The same in fewer lines, in a new file that takes the place of this one. */
  rewrite(changes) {
    const draft = `${this.#path}.new`;
    const fd = openSync(draft, 'w', OWNER_ONLY);
    let bytes = 0;
    for (const change of changes) bytes += writeLine(fd, change);
    fsyncSync(fd);
    renameSync(draft, this.#path);
    syncDirectory(path.dirname(this.#path));
    closeSync(this.#fd);
    this.#fd = fd;
    this.#bytes = bytes;
  }

  close() {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  /** Another process has opened the log when the file is not what this one left. So at most one goes on. */
  #checkPlace() {
    const { ino, size } = statSync(this.#path, { throwIfNoEntry: false }) ?? {};
    if (ino === fstatSync(this.#fd).ino && size === this.#bytes) return;
    throw new LogError('LOG_FENCED', `${this.#path} is written by another process, moved or replaced`);
  }
}

function writeLine(fd, change) {
  const json = formatChange(change);
  const line = Buffer.from(`${crcOf(json)} ${json}\n`);
  for (let done = 0; done < line.length; ) done += writeSync(fd, line, done);
  return line.length;
}

/** The changes of all whole lines, and where those end. */
function readChanges(file) {
  const bytes = readFileSync(file);
  const changes = [];
  let start = 0;
  for (let end = bytes.indexOf(LF); end >= 0; end = bytes.indexOf(LF, start)) {
    const line = bytes.toString('utf8', start, end);
    const json = line.slice(line.indexOf(' ') + 1);
    if (line !== `${crcOf(json)} ${json}`) {
      // Lines after it were written once this one was durable, so the file has been damaged since.
      if (bytes.indexOf(LF, end + 1) >= 0) throw new LogError('LOG_DAMAGED', `${file} is damaged at byte ${start}`);
      break;
    }
    changes.push(parseChange(json));
    start = end + 1;
  }
  return { changes, bytes: start };
}

function crcOf(text) {
  return crc32(text).toString(16).padStart(8, '0');
}

/** Makes the names of the files in it durable. */
function syncDirectory(directory) {
  const fd = openSync(directory, 'r');
  fsyncSync(fd);
  closeSync(fd);
}
