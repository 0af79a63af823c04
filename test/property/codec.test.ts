/**
 * Every command survives its line, and any bytes are commands or the peer's error. fast-check
 * prints the seed of a failure.
 */

import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PeerError, UsageError } from '../../src/core/model/errors.ts';
import { formatHistory } from '../../src/core/model/history.ts';
import { streamNameFault } from '../../src/core/model/stream.ts';
import { decodeCommand, encodeCommand } from '../../src/core/wire/codec.ts';
import {
  type Command,
  type CommandName,
  type Dialect,
  refusalCodes,
  rowcastOnly,
  type Side,
  senders,
} from '../../src/core/wire/command.ts';
import { LineCutter } from '../../src/core/wire/lines.ts';
import { RowDecoder } from '../../src/core/wire/row-decoder.ts';
import { anyBytes, anyPieces, cutAt } from '../support/any-bytes.ts';
import { decodeRow } from '../support/row-lines.ts';

const token = fc.maxSafeNat();
const text = fc
  .string({ unit: 'grapheme', minLength: 1 })
  .filter((value) => !value.includes('\n') && !value.endsWith('\r'));
const word = text.filter((value) => !value.includes(' '));
const last = text.filter((value) => !value.startsWith(' '));
const stream = fc
  .oneof(
    fc.constantFrom('events', 'account_data', 'all', 'batch', 'NOW', '5', 'größe'),
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 60 }),
  )
  .filter((name) => streamNameFault(name) === undefined);
// JSON has one zero: -0 is written as 0.
const json = fc.jsonValue({ noUnicodeString: false }).map((value) => JSON.parse(JSON.stringify(value)) as unknown);

const history = fc
  .record({
    logId: fc.stringMatching(/^[0-9a-f]{16}$/),
    number: token,
    random: fc.stringMatching(/^[0-9a-f]{8}$/),
  })
  .map(formatHistory);
const attributes = fc.dictionary(fc.string(), json).map((value) => JSON.parse(JSON.stringify(value)) as object);

/** As a peer of rowcast/2 sends them. A name that is missing here does not compile. */
const commands: { readonly [Name in CommandName]: fc.Arbitrary<Extract<Command, { name: Name }>> } = {
  SERVER: fc.record({ name: fc.constant('SERVER'), serverName: text }),
  RDATA: fc.record({
    name: fc.constant('RDATA'),
    stream,
    token: fc.oneof(token, fc.constant('batch' as const)),
    row: json,
  }),
  POSITION: fc.record({ name: fc.constant('POSITION'), stream, token, history }),
  HISTORY: fc.record({ name: fc.constant('HISTORY'), stream, after: token, history }),
  ERA: fc.record({ name: fc.constant('ERA'), era: history }),
  REFUSED: fc.record({
    name: fc.constant('REFUSED'),
    stream,
    code: fc.constantFrom(...refusalCodes),
    facts: fc.record(
      { earliest: token, latest: token, history, common: token, deleted: fc.boolean() },
      { requiredKeys: [] },
    ),
  }),
  RELEASED: fc.record({ name: fc.constant('RELEASED'), stream }),
  ATTR: fc.record({ name: fc.constant('ATTR'), stream, token, attributes }),
  ERROR: fc.record({ name: fc.constant('ERROR'), text }),
  PING: fc.record({ name: fc.constant('PING'), data: text }),
  NAME: fc.record({ name: fc.constant('NAME'), workerName: text }),
  REPLICATE: fc.oneof(
    fc.record({
      name: fc.constant('REPLICATE'),
      stream: fc.oneof(stream, fc.constant('ALL')),
      from: fc.oneof(token, fc.constantFrom('START' as const, 'NOW' as const)),
      history: fc.constant(undefined),
    }),
    fc.record({ name: fc.constant('REPLICATE'), stream, from: token, history }),
  ),
  RELEASE: fc.record({ name: fc.constant('RELEASE'), stream }),
  APPLIED: fc.record({
    name: fc.constant('APPLIED'),
    stream,
    applied: token,
    saved: fc.option(token, { nil: undefined }),
  }),
  USER_SYNC: fc.record({
    name: fc.constant('USER_SYNC'),
    userId: word,
    state: fc.constantFrom('start', 'end'),
    lastSyncMs: fc.maxSafeInteger(),
  }),
  FEDERATION_ACK: fc.record({ name: fc.constant('FEDERATION_ACK'), token }),
  REMOVE_PUSHER: fc.record({ name: fc.constant('REMOVE_PUSHER'), appId: word, pushKey: word, userId: last }),
  INVALIDATE_CACHE: fc.record({
    name: fc.constant('INVALIDATE_CACHE'),
    cacheName: word,
    keys: fc.oneof(fc.array(json), fc.constant(null)),
  }),
  USER_IP: fc.record({
    name: fc.constant('USER_IP'),
    userId: word,
    accessToken: fc.string(),
    ip: fc.string(),
    userAgent: fc.string({ unit: 'grapheme' }),
    deviceId: fc.option(fc.string()),
    lastSeenMs: fc.maxSafeInteger(),
  }),
  SYNC: fc.record({ name: fc.constant('SYNC'), text }),
};

/** The same for a seed peer: what it does not know is left out. */
const inSeed = (arbitrary: fc.Arbitrary<Command>): fc.Arbitrary<Command> =>
  arbitrary
    .filter((one) => !rowcastOnly.has(one.name) && !(one.name === 'REPLICATE' && one.from === 'START'))
    .map((one) => ('history' in one ? ({ ...one, history: undefined } as Command) : one));

const rowcastCommand: fc.Arbitrary<Command> = fc.oneof(...Object.values(commands));
const seedCommand = inSeed(rowcastCommand);
const dialects: readonly Dialect[] = ['seed', 'rowcast/2'];
const dialect = fc.constantFrom(...dialects);
const side = fc.constantFrom<Side>('primary', 'worker');

describe('a command and its line', () => {
  function expectReadAsWritten(arbitrary: fc.Arbitrary<Command>, of: Dialect): void {
    fc.assert(
      fc.property(arbitrary, (written) => {
        const line = encodeCommand(written);
        expect(line).not.toContain('\n');
        for (const from of senders[written.name]) expect(decodeCommand(line, from, of)).toEqual(written);
      }),
    );
  }

  test.each(Object.entries(commands))('%s in rowcast/2: what was written is what is read', (_name, arbitrary) => {
    expectReadAsWritten(arbitrary, 'rowcast/2');
  });

  test.each(Object.entries(commands).filter(([name]) => !rowcastOnly.has(name as CommandName)))(
    '%s to a seed peer: what was written is what is read',
    (_name, arbitrary) => {
      expectReadAsWritten(inSeed(arbitrary), 'seed');
    },
  );

  test('a line of rowcast/2 alone is no command to a seed peer', () => {
    fc.assert(
      fc.property(rowcastCommand, (written) => {
        const isRowcast =
          rowcastOnly.has(written.name) ||
          ('history' in written && written.history !== undefined) ||
          (written.name === 'REPLICATE' && written.from === 'START');
        const read = (): Command => decodeCommand(encodeCommand(written), senders[written.name][0]!, 'seed');
        if (isRowcast) expect(read).toThrow(PeerError);
        else expect(read()).toEqual(written);
      }),
    );
  });

  test('a row line is read as a command is', () => {
    fc.assert(
      fc.property(commands.RDATA, (written) => {
        const decoder = new RowDecoder();
        // The second time it is of the same stream as the row before.
        for (let i = 0; i < 2; i++) {
          expect(decodeRow(encodeCommand(written), decoder)).toBe(true);
          expect({ name: 'RDATA', stream: decoder.stream, token: decoder.token ?? 'batch', row: decoder.row }).toEqual(
            written,
          );
        }
      }),
    );
  });

  test('values of any kind are written so that they are read again, or refused as a misuse', () => {
    const anyText = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom('', ' ', 'a b', '\r', '\ud800', 'ALL', 'NOW', 'batch'),
    );
    const anyNumber = fc.oneof(fc.double(), fc.integer(), fc.maxSafeInteger());
    const anyHistory = fc.oneof(history, anyText);
    const anything = fc.oneof(
      fc.record({ name: fc.constant('POSITION' as const), stream: anyText, token: anyNumber, history: anyHistory }),
      fc.record({
        name: fc.constant('REPLICATE' as const),
        stream: anyText,
        from: fc.oneof(anyNumber, fc.constantFrom('START' as const, 'NOW' as const)),
        history: fc.option(anyHistory, { nil: undefined }),
      }),
      fc.record({ name: fc.constant('ERA' as const), era: anyHistory }),
      fc.record({
        name: fc.constant('APPLIED' as const),
        stream: anyText,
        applied: anyNumber,
        saved: fc.option(anyNumber, { nil: undefined }),
      }),
      fc.record({
        name: fc.constant('REFUSED' as const),
        stream: anyText,
        code: fc.constantFrom(...refusalCodes),
        facts: fc.record({ earliest: anyNumber, history: anyHistory, deleted: fc.boolean() }, { requiredKeys: [] }),
      }),
      fc.record({
        name: fc.constant('ATTR' as const),
        stream: anyText,
        token: anyNumber,
        attributes: fc.constantFrom<object>({}, [], { a: '\n' }, { b: 1n }, new Date(0)),
      }),
      fc.record({ name: fc.constant('REMOVE_PUSHER' as const), appId: anyText, pushKey: anyText, userId: anyText }),
      fc.record({
        name: fc.constant('USER_SYNC' as const),
        userId: anyText,
        state: fc.constant('end' as const),
        lastSyncMs: anyNumber,
      }),
      fc.record({ name: fc.constant('SYNC' as const), text: anyText }),
    );
    fc.assert(
      fc.property(anything, (written) => {
        let line: string;
        try {
          line = encodeCommand(written);
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(UsageError);
          return;
        }
        const read = decodeCommand(line, senders[written.name][0]!, 'rowcast/2');
        expect(encodeCommand(read)).toBe(line);
        expect(JSON.stringify(read)).toBe(JSON.stringify(written));
      }),
    );
  });
});

/** Reads everything that comes; the commands, and the error that ended it. */
function readAll(
  chunks: readonly Uint8Array[],
  from: Side,
  of: Dialect,
  maxLineBytes: number,
): { commands: Command[]; error: PeerError | undefined } {
  const cutter = new LineCutter(maxLineBytes);
  const decoder = new RowDecoder(of);
  const read: Command[] = [];
  try {
    for (const chunk of chunks) {
      cutter.push(chunk);
      for (let line = cutter.next(); line !== undefined; line = cutter.next()) {
        read.push(decodeCommand(line, from, of));
        decodeRow(line, decoder);
      }
    }
  } catch (thrown) {
    if (!(thrown instanceof PeerError)) throw thrown;
    return { commands: read, error: thrown };
  }
  return { commands: read, error: undefined };
}

/** Long enough for most lines, short enough that some are too long. */
const MAX_LINE_BYTES = 80;

function isBadLine(error: PeerError | undefined): boolean {
  return error?.code === 'LINE_TOO_LONG' || error?.code === 'INVALID_UTF8';
}

describe('bytes of any kind', () => {
  test("are either commands or the peer's error, never another error", () => {
    fc.assert(
      fc.property(anyBytes, side, dialect, (bytes, from, of) => {
        const { commands: read, error } = readAll([bytes], from, of, MAX_LINE_BYTES);
        for (const one of read) {
          // A bare word has empty arguments, which we read and never write.
          if (one.name === 'RDATA' || one.name === 'POSITION' || one.name === 'REPLICATE' || rowcastOnly.has(one.name))
            expect(decodeCommand(encodeCommand(one), from, of)).toEqual(one);
        }
        if (error !== undefined) expect(() => encodeCommand({ name: 'ERROR', text: error.message })).not.toThrow();
      }),
      { numRuns: 2_000 },
    );
  });

  test('give the same commands and the same error wherever they are cut', () => {
    fc.assert(
      fc.property(anyBytes, anyPieces, side, dialect, (bytes, pieces, from, of) => {
        const whole = readAll([bytes], from, of, MAX_LINE_BYTES);
        const cut = readAll(cutAt(bytes, pieces), from, of, MAX_LINE_BYTES);
        expect(cut.commands).toEqual(whole.commands);
        // A line that is both too long and not UTF-8 gets either error, depending on how much has
        // come.
        if (!isBadLine(whole.error) || !isBadLine(cut.error)) expect(cut.error).toEqual(whole.error);
      }),
      { numRuns: 2_000 },
    );
  });

  test.each(dialects)('commands come through whole wherever they are cut, in %s', (of) => {
    const command = of === 'seed' ? seedCommand : rowcastCommand;
    fc.assert(
      fc.property(fc.array(command, { maxLength: 8 }), anyPieces, (written, pieces) => {
        const bytes = Buffer.from(written.map((one) => `${encodeCommand(one)}\n`).join(''));
        for (const from of ['primary', 'worker'] as const) {
          const expected: Command[] = [];
          for (const one of written) {
            if (!senders[one.name].includes(from)) break;
            expected.push(one);
          }
          expect(readAll(cutAt(bytes, pieces), from, of, 1024 * 1024).commands).toEqual(expected);
        }
      }),
    );
  });
});
