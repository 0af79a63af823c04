/** Bytes that no peer should send, and places to cut them, for property tests. */

import * as fc from 'fast-check';

const HISTORY = '8f3c1d2e4b5a6978.1764281400.a1b2c3d4';

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
  'HISTORY',
  'ERA',
  'REFUSED',
  'RELEASED',
  'ATTR',
  'RELEASE',
  'APPLIED',
  'FOO',
  'ALL',
  'NOW',
  'START',
  'NONE',
  'GAP',
  'RESET',
  'AHEAD',
  'events',
  'typing',
  '$streams',
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
  '{}',
  '{"earliest":40,"latest":53}',
  '{"earliest":-1}',
  HISTORY,
  '8f3c1d2e4b5a6978 1764281400.a1b2c3d4',
  '00112233445566ff.1764281411.00ff00ff',
  'rowcast/1',
  'rowcast/2',
  `log=${HISTORY}`,
  'log=8f3c',
  'mem=00112233445566ff.1764281411.00ff00ff',
  'attr',
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

/** Correct lines, so that the lines after them meet a session that has advanced. */
const rightLines = [
  'SERVER example.com',
  `PING 5 rowcast/2 log=${HISTORY} mem=00112233445566ff.1764281411.00ff00ff`,
  'PING 5 rowcast/2 attr',
  'REPLICATE events 53',
  `REPLICATE events 53 ${HISTORY}`,
  'REPLICATE events START',
  'REPLICATE ALL NOW',
  'RELEASE events',
  'APPLIED events 53 NONE',
  'APPLIED events 53 53',
  'RDATA events batch [1]',
  'RDATA events 54 [2]',
  'POSITION events 54',
  `POSITION events 54 ${HISTORY}`,
  `HISTORY events 53 ${HISTORY}`,
  'ATTR events 54 {"a":1}',
  'REFUSED events RESET {"earliest":40}',
  'RELEASED events',
  'ERA 8f3c1d2e4b5a6978 1764281500.a1b2c3d4',
];

/** Nearly correct lines, rubbish, and line ends in between. */
const nearlyRight = fc
  .array(
    fc.oneof(
      { weight: 3, arbitrary: fc.array(fc.constantFrom(...scraps), { maxLength: 5 }).map((words) => words.join(' ')) },
      { weight: 1, arbitrary: fc.constantFrom(...rightLines) },
    ),
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

/** The places where bytes are cut. Used from the front. */
export const anyPieces: fc.Arbitrary<readonly number[]> = fc.oneof(
  fc.constant([1]),
  fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 12 }),
);

/** Pieces of these lengths, repeated. */
export function cutAt(bytes: Uint8Array, lengths: readonly number[]): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const length = lengths[i % lengths.length]!;
    pieces.push(bytes.subarray(at, at + length));
    at += length;
  }
  return pieces;
}
