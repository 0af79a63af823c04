/**
 * A folder as the system sees it (`now`) and as the disk has it (`durable`), changed by the records
 * of a trace.
 *
 *   write ─▶ now, pending ── sync of the file ──────▶ durable
 *   rename ─▶ now, pending ── sync of its directory ─▶ durable
 *
 * A power cut leaves the durable part and any part of the pending changes (image.ts).
 */

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { TraceRecord } from './trace.ts';

/** A disk writes a sector wholly or not at all. Larger writes are torn between sectors. */
export const SECTOR_BYTES = 512;

export type FileChange =
  | { readonly kind: 'write'; readonly at: number; readonly data: Buffer }
  | { readonly kind: 'truncate'; readonly size: number };

/** Names that change together or not at all. An undefined node removes the name. */
export type NameChange = ReadonlyArray<readonly [name: string, node: DiskNode | undefined]>;

export type DiskNode = DiskFile | DiskDirectory;

export class DiskFile {
  readonly kind = 'file';
  readonly now: Contents = new Contents();
  readonly durable: Contents = new Contents();
  pending: FileChange[] = [];
  /**
   * After a failed sync: by the offset of a sector, its possible contents besides the durable one.
   * The last one is the system's.
   */
  readonly doubtful: Map<number, readonly Buffer[]> = new Map();
  /** Shared memory may have written past the trace: the contents are unknown. */
  isMapped = false;

  change(change: FileChange): void {
    this.now.apply(change);
    this.pending.push(change);
  }

  sync(): void {
    for (const change of this.pending) {
      this.durable.apply(change);
      for (const at of sectorsOf(change)) this.#settle(at);
      if (change.kind === 'truncate')
        for (const at of this.doubtful.keys()) if (at >= change.size) this.doubtful.delete(at);
    }
    this.pending = [];
  }

  /**
   * The system forgets the writes that failed. No later sync writes them, and the disk's content is
   * unknown.
   */
  failSync(): void {
    const memory = this.memory();
    for (const change of this.pending) {
      memory.apply(change);
      for (const at of sectorsOf(change)) {
        const versions = this.doubtful.get(at) ?? [];
        this.doubtful.set(at, [...versions, Buffer.from(memory.sector(at))]);
      }
    }
    this.durable.resize(this.now.size);
    this.pending = [];
  }

  /** The system's memory without pending changes. */
  memory(): Contents {
    const memory = Contents.of(this.durable);
    for (const [at, versions] of this.doubtful) memory.write(at, versions.at(-1)!);
    return memory;
  }

  /** A sector that was written again is whole. */
  #settle(at: number): void {
    if (this.doubtful.delete(at) && at < this.durable.size) this.durable.write(at, this.now.sector(at));
  }
}

/** The offsets of the sectors that a change writes to. */
export function sectorsOf(change: FileChange): number[] {
  if (change.kind === 'truncate') return [];
  const first = Math.floor(change.at / SECTOR_BYTES);
  const end = Math.ceil((change.at + change.data.length) / SECTOR_BYTES);
  return Array.from({ length: end - first }, (_, i) => (first + i) * SECTOR_BYTES);
}

export class DiskDirectory {
  readonly kind = 'directory';
  readonly now: Map<string, DiskNode> = new Map();
  readonly durable: Map<string, DiskNode> = new Map();
  pending: NameChange[] = [];

  change(change: NameChange): void {
    applyNames(this.now, change);
    this.pending.push(change);
  }

  sync(): void {
    for (const change of this.pending) applyNames(this.durable, change);
    this.pending = [];
  }
}

export function applyNames(names: Map<string, DiskNode>, change: NameChange): void {
  for (const [name, node] of change) {
    if (node === undefined) names.delete(name);
    else names.set(name, node);
  }
}

/** A growing byte array. */
export class Contents {
  #buffer: Buffer = Buffer.alloc(0);
  size = 0;

  static of(contents: Contents): Contents {
    const copy = new Contents();
    copy.#buffer = Buffer.from(contents.bytes);
    copy.size = contents.size;
    return copy;
  }

  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.size);
  }

  sector(at: number): Buffer {
    return this.bytes.subarray(at, at + SECTOR_BYTES);
  }

  apply(change: FileChange): void {
    if (change.kind === 'truncate') this.resize(change.size);
    else this.write(change.at, change.data);
  }

  write(at: number, data: Uint8Array): void {
    if (at + data.length > this.size) this.resize(at + data.length);
    this.#buffer.set(data, at);
  }

  /** New bytes are zero. */
  resize(size: number): void {
    if (size > this.#buffer.length) {
      const larger = Buffer.alloc(Math.max(size, 2 * this.#buffer.length));
      larger.set(this.bytes);
      this.#buffer = larger;
    } else if (size < this.size) {
      this.#buffer.fill(0, size, this.size);
    }
    this.size = size;
  }
}

export class Disk {
  readonly root: DiskDirectory = new DiskDirectory();
  /** Opened files. An inode number is reused once its file has neither a name nor a descriptor. */
  readonly #files = new Map<number, DiskFile>();

  /** The folder as it is now, all of it durable. */
  static of(folder: string): Disk {
    const disk = new Disk();
    const load = (path: string, into: DiskDirectory): void => {
      for (const entry of readdirSync(path, { withFileTypes: true })) {
        const below = join(path, entry.name);
        const node = entry.isDirectory() ? new DiskDirectory() : new DiskFile();
        if (node.kind === 'directory') {
          load(below, node);
        } else {
          node.change({ kind: 'write', at: 0, data: readFileSync(below) });
          node.sync();
        }
        into.change([[entry.name, node]]);
      }
      into.sync();
    };
    load(folder, disk.root);
    return disk;
  }

  apply(record: TraceRecord): void {
    switch (record.kind) {
      case 'open':
        return this.#open(record);
      case 'write':
        // The data belongs to the trace, which lives longer than this disk.
        return this.#file(record.inode).change({ kind: 'write', at: record.at, data: record.data });
      case 'truncate':
        return this.#file(record.inode).change({ kind: 'truncate', size: record.size });
      case 'sync':
        return this.#file(record.inode).sync();
      case 'sync-failed':
        return this.#file(record.inode).failSync();
      case 'map':
        this.#file(record.inode).isMapped = true;
        return;
      case 'sync-directory':
        return this.#directory(record.path).sync();
      case 'rename':
        return this.#rename(record.from, record.to);
      case 'link':
        return this.#parent(record.to).change([[nameOf(record.to), this.#node(record.from)]]);
      case 'unlink':
      case 'remove-directory':
        return this.#parent(record.path).change([[nameOf(record.path), undefined]]);
      case 'make-directory':
        return this.#parent(record.path).change([[nameOf(record.path), new DiskDirectory()]]);
      case 'say':
        return;
    }
  }

  /** @returns the difference from the real folder, which means that the trace missed something */
  differenceFrom(folder: string): string | undefined {
    const compare = (path: string, directory: DiskDirectory): string | undefined => {
      const names = readdirSync(path).sort();
      const known = [...directory.now.keys()].sort();
      if (names.join('/') !== known.join('/')) return `${path} has ${names.join(', ')}, not ${known.join(', ')}`;
      for (const [name, node] of directory.now) {
        const below = join(path, name);
        if (node.kind === 'directory') {
          const difference = compare(below, node);
          if (difference !== undefined) return difference;
        } else if (!node.isMapped && !readFileSync(below).equals(node.now.bytes)) {
          return `${below} has other contents`;
        }
      }
      return undefined;
    };
    return compare(folder, this.root);
  }

  /** The file of this name, as the system has it. */
  file(path: string): DiskFile {
    const node = this.#node(path);
    if (node.kind !== 'file') throw new Error(`${path} is no file`);
    return node;
  }

  #open({ path, inode, creates, truncates }: TraceRecord & { readonly kind: 'open' }): void {
    const parent = this.#parent(path);
    const known = parent.now.get(nameOf(path));
    if (known?.kind === 'directory') throw new Error(`${path} is a directory`);
    if (known === undefined && !creates) throw new Error(`${path} was made in a way that the recorder does not see`);
    const file = known ?? new DiskFile();
    this.#files.set(inode, file);
    if (known === undefined) return parent.change([[nameOf(path), file]]);
    if (truncates && file.now.size > 0) file.change({ kind: 'truncate', size: 0 });
  }

  #rename(from: string, to: string): void {
    const parent = this.#parent(from);
    if (parent !== this.#parent(to)) throw new Error(`${from} moves to another directory: this is not modelled`);
    parent.change([
      [nameOf(from), undefined],
      [nameOf(to), this.#node(from)],
    ]);
  }

  #file(inode: number): DiskFile {
    const file = this.#files.get(inode);
    if (file === undefined) throw new Error(`inode ${inode} was made in a way that the recorder does not see`);
    return file;
  }

  #node(path: string): DiskNode {
    if (path === '') return this.root;
    const node = this.#parent(path).now.get(nameOf(path));
    if (node === undefined) throw new Error(`${path} was made in a way that the recorder does not see`);
    return node;
  }

  #directory(path: string): DiskDirectory {
    const node = this.#node(path);
    if (node.kind !== 'directory') throw new Error(`${path} is no directory`);
    return node;
  }

  #parent(path: string): DiskDirectory {
    const parent = dirname(path);
    return this.#directory(parent === '.' ? '' : parent);
  }
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
