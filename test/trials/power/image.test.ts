/** What a power cut may leave and must leave, on a disk with handwritten records. */

import { expect, test } from 'vitest';
import { seededRandom } from '../../../src/base/random.ts';
import { Disk } from './disk.ts';
import { type Image, imageAfterCut } from './image.ts';
import type { TraceRecord } from './trace.ts';

const FILE = 1;
const OTHER = 2;
const SECTOR = 512;

function diskAfter(...records: TraceRecord[]): Disk {
  const disk = new Disk();
  for (const record of records) disk.apply(record);
  return disk;
}

function images(disk: Disk): Image[] {
  return Array.from({ length: 300 }, (_, seed) => imageAfterCut(disk, seededRandom(seed)));
}

/** Different texts of a file among many images; undefined where it is not there. */
function textsOf(disk: Disk, path: string): Set<string | undefined> {
  return new Set(images(disk).map(({ files }) => files.get(path)?.toString()));
}

const made = (path: string, inode: number): TraceRecord => ({
  kind: 'open',
  path,
  inode,
  creates: true,
  truncates: false,
});
const wrote = (inode: number, at: number, text: string): TraceRecord => ({
  kind: 'write',
  inode,
  at,
  data: Buffer.from(text),
});
const synced = (inode: number): TraceRecord => ({ kind: 'sync', inode });
const syncedRoot: TraceRecord = { kind: 'sync-directory', path: '' };

test('what was synced is there after every cut, with its name once the directory was synced', () => {
  expect(textsOf(diskAfter(made('a', FILE), wrote(FILE, 0, 'one'), synced(FILE), syncedRoot), 'a')).toEqual(
    new Set(['one']),
  );
  expect(textsOf(diskAfter(made('a', FILE), wrote(FILE, 0, 'one'), synced(FILE)), 'a')).toEqual(
    new Set(['one', undefined]),
  );
});

test('of writes that were not synced a later one may survive an earlier one', () => {
  const disk = diskAfter(
    made('a', FILE),
    wrote(FILE, 0, 'a'.repeat(SECTOR * 2)),
    synced(FILE),
    syncedRoot,
    wrote(FILE, 0, 'b'),
    wrote(FILE, SECTOR, 'c'),
  );
  const firsts = new Set(
    images(disk).map(({ files }) => {
      const bytes = files.get('a')!;
      return `${String.fromCharCode(bytes[0]!)}${String.fromCharCode(bytes[SECTOR]!)}`;
    }),
  );
  expect(firsts).toEqual(new Set(['aa', 'ba', 'ac', 'bc']));
});

test('a write is torn at the borders of sectors, and nowhere else', () => {
  const disk = diskAfter(
    made('a', FILE),
    wrote(FILE, 0, 'a'.repeat(SECTOR * 4)),
    synced(FILE),
    syncedRoot,
    wrote(FILE, 0, 'b'.repeat(SECTOR * 4)),
  );
  let torn = 0;
  for (const { files } of images(disk)) {
    const bytes = files.get('a')!;
    const sectors = Array.from({ length: 4 }, (_, i) => new Set(bytes.subarray(i * SECTOR, (i + 1) * SECTOR)));
    for (const sector of sectors) expect(sector.size).toBe(1);
    if (new Set(bytes).size === 2) torn++;
  }
  expect(torn).toBeGreaterThan(0);
});

test('a sector that survives has all that was written to it before', () => {
  const disk = diskAfter(
    made('a', FILE),
    wrote(FILE, 0, '....'),
    synced(FILE),
    syncedRoot,
    wrote(FILE, 0, 'A'),
    wrote(FILE, 1, 'B'),
  );
  expect(textsOf(disk, 'a')).toEqual(new Set(['....', 'A...', 'AB..']));
});

test('a file may have become longer without its data: zeros are there, or anything', () => {
  const disk = diskAfter(made('a', FILE), synced(FILE), syncedRoot, wrote(FILE, 0, 'a'.repeat(SECTOR * 2)));
  const kinds = new Set(
    images(disk).map(({ files }) => {
      const bytes = files.get('a')!;
      if (bytes.length === 0) return 'empty';
      const [one, two] = [bytes.subarray(0, SECTOR), bytes.subarray(SECTOR)].map((sector) => new Set(sector));
      if (one!.size > 1 || two!.size > 1) return 'anything';
      return one!.has(0) || two!.has(0) ? 'zeros' : 'whole';
    }),
  );
  expect(kinds).toEqual(new Set(['empty', 'anything', 'zeros', 'whole']));
});

test('a rename that was not synced has happened or not, and the file that it names may be empty', () => {
  const before = [made('a', FILE), wrote(FILE, 0, 'old'), synced(FILE), syncedRoot, made('a.new', OTHER)];
  const rename: TraceRecord = { kind: 'rename', from: 'a.new', to: 'a' };
  expect(textsOf(diskAfter(...before, wrote(OTHER, 0, 'new'), synced(OTHER), rename), 'a')).toEqual(
    new Set(['old', 'new']),
  );
  expect(textsOf(diskAfter(...before, wrote(OTHER, 0, 'new'), rename), 'a')).toContain('');
  expect(textsOf(diskAfter(...before, wrote(OTHER, 0, 'new'), synced(OTHER), rename, syncedRoot), 'a')).toEqual(
    new Set(['new']),
  );
});

test('after a sync that failed nobody knows what is there, whatever is synced later, until it is written again', () => {
  const failed: TraceRecord[] = [
    made('a', FILE),
    wrote(FILE, 0, 'old'),
    synced(FILE),
    syncedRoot,
    wrote(FILE, 0, 'new'),
    { kind: 'sync-failed', inode: FILE },
    synced(FILE),
  ];
  expect(textsOf(diskAfter(...failed), 'a')).toEqual(new Set(['old', 'new']));
  expect(textsOf(diskAfter(...failed, wrote(FILE, 2, '!'), synced(FILE)), 'a')).toEqual(new Set(['ne!']));
});

test('what lies in a new directory is there only where the directory is', () => {
  const disk = diskAfter(
    { kind: 'make-directory', path: 'in' },
    made('in/a', FILE),
    wrote(FILE, 0, 'one'),
    synced(FILE),
    { kind: 'sync-directory', path: 'in' },
  );
  expect(textsOf(disk, 'in/a')).toEqual(new Set(['one', undefined]));
});

test('a change that the recorder has not seen is an error and no image', () => {
  expect(() => diskAfter(wrote(FILE, 0, 'one'))).toThrow('the recorder does not see');
  expect(() => diskAfter({ kind: 'rename', from: 'a', to: 'b' })).toThrow('the recorder does not see');
});
