/** Reads the records of recorder.c. */

/** In the order of `enum operation`, which begins at 1. */
const kinds = [
  'open',
  'write',
  'truncate',
  'sync',
  'sync-directory',
  'rename',
  'unlink',
  'make-directory',
  'remove-directory',
  'link',
  'map',
  'say',
  'sync-failed',
] as const;

/** Paths are relative to the recorded folder, which is the empty path. */
export type TraceRecord =
  | {
      readonly kind: 'open';
      readonly path: string;
      readonly inode: number;
      readonly creates: boolean;
      readonly truncates: boolean;
    }
  | { readonly kind: 'write'; readonly inode: number; readonly at: number; readonly data: Buffer }
  | { readonly kind: 'truncate'; readonly inode: number; readonly size: number }
  | { readonly kind: 'sync' | 'sync-failed'; readonly inode: number }
  | { readonly kind: 'sync-directory'; readonly path: string }
  | { readonly kind: 'rename' | 'link'; readonly from: string; readonly to: string }
  | { readonly kind: 'unlink' | 'make-directory' | 'remove-directory'; readonly path: string }
  | { readonly kind: 'map'; readonly inode: number }
  | { readonly kind: 'say'; readonly text: string };

const HEADER_BYTES = 32;
const WITH_CREATE = 1;
const WITH_TRUNCATE = 2;

export function parseTrace(bytes: Buffer): TraceRecord[] {
  const records: TraceRecord[] = [];
  for (let at = 0; at < bytes.length; ) {
    const size = bytes.readUInt32LE(at);
    records.push(parseRecord(bytes.subarray(at, at + size)));
    at += size;
  }
  return records;
}

function parseRecord(bytes: Buffer): TraceRecord {
  const kind = kinds[bytes.readUInt32LE(4) - 1];
  const inode = Number(bytes.readBigUInt64LE(8));
  const at = Number(bytes.readBigUInt64LE(16));
  const dataAt = HEADER_BYTES + bytes.readUInt32LE(24);
  const path = bytes.toString('utf8', HEADER_BYTES, dataAt);
  const data = bytes.subarray(dataAt, dataAt + bytes.readUInt32LE(28));
  switch (kind) {
    case 'open':
      return { kind, path, inode, creates: (at & WITH_CREATE) !== 0, truncates: (at & WITH_TRUNCATE) !== 0 };
    case 'write':
      return { kind, inode, at, data };
    case 'truncate':
      return { kind, inode, size: at };
    case 'sync':
    case 'sync-failed':
    case 'map':
      return { kind, inode };
    case 'rename':
    case 'link':
      return { kind, from: path, to: data.toString('utf8') };
    case 'sync-directory':
    case 'unlink':
    case 'make-directory':
    case 'remove-directory':
      return { kind, path };
    case 'say':
      return { kind, text: data.toString('utf8') };
    case undefined:
  }
  throw new Error('this is no trace of recorder.c');
}
