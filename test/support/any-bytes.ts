/** Bytes as no peer should send them, and places to cut them: for property tests. */

import * as fc from 'fast-check';

const scraps = [
  'RDATA',
  'POSITION',
  'REPLICATE',
  'SERVER',
  'PING',
  'NAME',
  'ERROR',
  'SYNC',
  'USER_SYNC',
  'FEDERATION_ACK',
  'USER_IP',
  'INVALIDATE_CACHE',
  'REMOVE_PUSHER',
  'FOO',
  'ALL',
  'NOW',
  'events',
  'typing',
  'nosuch',
  'batch',
  '0',
  '1',
  '2',
  '53',
  '-1',
  '9007199254740991',
  '9007199254740993',
  '[]',
  '{"a":"😀"}',
  '["t","i","u",null,1]',
  '"',
  '[',
  'rowcast/1',
  'log=abc',
  'log=other',
  'streams=events,typing',
  'streams=a%20b,%',
  'stream events starts at 40, asked for 0',
  'unknown stream events',
  '@a:b',
  'start',
  'end',
  'é',
  '😀😀😀😀',
  'x'.repeat(60),
  '\r',
  '\u0000',
  '\u2028',
  '\ufeff',
];

/** Lines that are nearly right, rubbish, and line ends in between. */
const nearlyRight = fc
  .array(
    fc.array(fc.constantFrom(...scraps), { maxLength: 5 }).map((words) => words.join(' ')),
    { maxLength: 12 },
  )
  .map((lines) => Buffer.from(lines.map((line) => `${line}\n`).join('')));

const broken = fc
  .constantFrom([0xff], [0xc3], [0xed, 0xa0, 0x80], [0xf0, 0x9f], [0x0a], [0x0d, 0x0a])
  .map((bytes) => Buffer.from(bytes));

export const anyBytes: fc.Arbitrary<Buffer> = fc
  .array(
    fc.oneof(
      { weight: 6, arbitrary: nearlyRight },
      { weight: 1, arbitrary: broken },
      { weight: 1, arbitrary: fc.uint8Array({ maxLength: 40 }) },
    ),
    {
      maxLength: 6,
    },
  )
  .map((parts) => Buffer.concat(parts));

/** Where bytes are cut; used up from the front. */
export const anyPieces: fc.Arbitrary<readonly number[]> = fc.oneof(
  fc.constant([1]),
  fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 12 }),
);

/** Pieces of these lengths, over and over. */
export function cutAt(bytes: Uint8Array, lengths: readonly number[]): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const length = lengths[i % lengths.length]!;
    pieces.push(bytes.subarray(at, at + length));
    at += length;
  }
  return pieces;
}
