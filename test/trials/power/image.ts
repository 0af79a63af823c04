/**
 * Makes an image of a disk after a power cut: everything durable, and a random part of the rest.
 */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Random, randomInteger } from '../../../src/base/random.ts';
import {
  applyNames,
  Contents,
  type Disk,
  type DiskDirectory,
  type DiskFile,
  type DiskNode,
  type FileChange,
  SECTOR_BYTES,
  sectorsOf,
} from './disk.ts';

/**
 * Which unsynced changes survive. One mood for a whole image: a mix for each file would make all
 * images alike.
 */
const moods = ['none', 'all', 'first', 'last', 'some', 'some sectors', 'all but one'] as const;
type Mood = (typeof moods)[number];

export interface Image {
  readonly mood: Mood;
  /** Pending changes of files and names at the cut. */
  readonly pending: number;
  readonly directories: readonly string[];
  readonly files: ReadonlyMap<string, Buffer>;
}

export function imageAfterCut(disk: Disk, random: Random): Image {
  const mood = moods[randomInteger(random, 0, moods.length - 1)]!;
  const directories: string[] = [];
  const files = new Map<string, Buffer>();
  const contents = new Map<DiskFile, Buffer>();
  let pending = 0;
  const walk = (path: string, node: DiskNode): void => {
    if (node.kind === 'directory') {
      if (path !== '') directories.push(path);
      pending += node.pending.length;
      for (const [name, below] of namesAfterCut(node, mood, random))
        walk(path === '' ? name : `${path}/${name}`, below);
      return;
    }
    if (!node.isMapped) pending += node.pending.length;
    let bytes = contents.get(node);
    if (bytes === undefined) contents.set(node, (bytes = contentsAfterCut(node, mood, random)));
    files.set(path, bytes);
  };
  walk('', disk.root);
  return { mood, pending, directories, files };
}

export function writeImage({ directories, files }: Image, folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (const path of directories) mkdirSync(join(folder, path));
  for (const [path, bytes] of files) writeFileSync(join(folder, path), bytes);
}

function namesAfterCut(directory: DiskDirectory, mood: Mood, random: Random): ReadonlyMap<string, DiskNode> {
  const names = new Map(directory.durable);
  const survives = survivors(directory.pending.length, mood, random);
  directory.pending.forEach((change, i) => {
    if (survives(i)) applyNames(names, change);
  });
  return names;
}

function contentsAfterCut(file: DiskFile, mood: Mood, random: Random): Buffer {
  // SQLite's shared memory means nothing when no process has it open, so it may be anything.
  if (file.isMapped) return randomBytes(file.now.size, random);
  const image = Contents.of(file.durable);
  for (const [at, versions] of file.doubtful) {
    const chosen = mood === 'all' ? versions.length : mood === 'none' ? 0 : randomInteger(random, 0, versions.length);
    if (chosen > 0) image.write(at, versions[chosen - 1]!);
  }
  if (file.pending.length === 0) return image.bytes;
  // A sector is written as it is in the system's memory: with all earlier changes, also those that
  // did not reach the disk by themselves.
  const memory = file.memory();
  const survives = survivors(file.pending.length, mood, random);
  // Where a file grew and its new data did not arrive, there are zeros or old content of the disk.
  const filler = random.next() < 0.5 ? undefined : random;
  const lastTorn = mood === 'first' ? file.pending.findLastIndex((_, i) => survives(i)) : -1;
  file.pending.forEach((change, i) => {
    memory.apply(change);
    if (!survives(i)) return;
    if (change.kind === 'truncate') return grow(image, change.size, filler, 'to');
    const isTorn = mood === 'some sectors' || i === lastTorn;
    const share = isTorn ? random.next() : 1;
    writeSectors(image, { memory, change, survives: () => share === 1 || random.next() < share, filler });
  });
  return image.bytes;
}

/** Decides which changes reached the disk. */
function survivors(count: number, mood: Mood, random: Random): (i: number) => boolean {
  if (count === 0) return () => false;
  const one = randomInteger(random, 0, count - 1);
  switch (mood) {
    case 'none':
      return () => false;
    case 'all':
    case 'some sectors':
      return () => true;
    case 'first':
      return (i) => i <= one;
    case 'last':
      return (i) => i >= one;
    case 'all but one':
      return (i) => i !== one;
    case 'some': {
      const share = random.next();
      const survived = Array.from({ length: count }, () => random.next() < share);
      return (i) => survived[i]!;
    }
  }
}

interface SectorWrite {
  readonly memory: Contents;
  readonly change: FileChange & { readonly kind: 'write' };
  readonly survives: () => boolean;
  readonly filler: Random | undefined;
}

function writeSectors(image: Contents, { memory, change, survives, filler }: SectorWrite): void {
  const end = change.at + change.data.length;
  // The size is a separate record: it may arrive without the data.
  grow(image, end, filler, 'at least');
  for (const at of sectorsOf(change)) {
    if (survives()) image.write(at, memory.bytes.subarray(at, Math.min(at + SECTOR_BYTES, image.size, memory.size)));
  }
}

function grow(image: Contents, size: number, filler: Random | undefined, how: 'to' | 'at least'): void {
  const before = image.size;
  if (how === 'to' || size > before) image.resize(size);
  if (filler !== undefined && size > before) image.write(before, randomBytes(size - before, filler));
}

function randomBytes(size: number, random: Random): Buffer {
  const bytes = Buffer.allocUnsafe(size);
  for (let at = 0; at < size; at++) bytes[at] = random.next() * 256;
  return bytes;
}
