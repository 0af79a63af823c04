import { describe, expect, test } from 'vitest';
import { PeerError, UsageError } from '../model/errors.ts';
import { decodeCommand, encodeCommand } from './codec.ts';
import { RowDecoder } from './row-decoder.ts';
import { type Command, type CommandName, type Side, senders } from './command.ts';
import { decodeRow } from '../../../test/support/row-lines.ts';

const VERSIONING =
  'The wire changed. Peers of other versions and real Synapse processes read these lines: keep them, or give the new form a new command or a new rowcast/<n> word in PING.';

/** The wire, pinned: one line for each form of each command. Both directions hold. */
const golden: readonly (readonly [line: string, command: Command])[] = [
  ['SERVER example.com', { name: 'SERVER', serverName: 'example.com' }],
  ['RDATA events 54 ["ev",{"a":1}]', { name: 'RDATA', stream: 'events', token: 54, row: ['ev', { a: 1 }] }],
  [
    'RDATA events batch "zwölf Boxkämpfer"',
    { name: 'RDATA', stream: 'events', token: 'batch', row: 'zwölf Boxkämpfer' },
  ],
  ['RDATA caches 9007199254740991 null', { name: 'RDATA', stream: 'caches', token: 9007199254740991, row: null }],
  ['POSITION events 0', { name: 'POSITION', stream: 'events', token: 0 }],
  ['ERROR Failed to keep up', { name: 'ERROR', text: 'Failed to keep up' }],
  ['PING 1490197665618 rowcast/1', { name: 'PING', data: '1490197665618 rowcast/1' }],
  ['NAME reader 1', { name: 'NAME', workerName: 'reader 1' }],
  ['REPLICATE events 53', { name: 'REPLICATE', stream: 'events', from: 53 }],
  ['REPLICATE events NOW', { name: 'REPLICATE', stream: 'events', from: 'NOW' }],
  ['REPLICATE ALL NOW', { name: 'REPLICATE', stream: 'ALL', from: 'NOW' }],
  ['REPLICATE ALL 7', { name: 'REPLICATE', stream: 'ALL', from: 7 }],
  [
    'USER_SYNC @a:b start 1490197665618',
    { name: 'USER_SYNC', userId: '@a:b', state: 'start', lastSyncMs: 1490197665618 },
  ],
  ['USER_SYNC @a:b end -1', { name: 'USER_SYNC', userId: '@a:b', state: 'end', lastSyncMs: -1 }],
  ['FEDERATION_ACK 12', { name: 'FEDERATION_ACK', token: 12 }],
  ['REMOVE_PUSHER app key @a:b c', { name: 'REMOVE_PUSHER', appId: 'app', pushKey: 'key', userId: '@a:b c' }],
  ['INVALIDATE_CACHE get_user ["@a:b",1]', { name: 'INVALIDATE_CACHE', cacheName: 'get_user', keys: ['@a:b', 1] }],
  ['INVALIDATE_CACHE get_user null', { name: 'INVALIDATE_CACHE', cacheName: 'get_user', keys: null }],
  [
    'USER_IP @a:b ["secret","127.0.0.1","curl/8 (x)","DEV",1490197665618]',
    {
      name: 'USER_IP',
      userId: '@a:b',
      accessToken: 'secret',
      ip: '127.0.0.1',
      userAgent: 'curl/8 (x)',
      deviceId: 'DEV',
      lastSeenMs: 1490197665618,
    },
  ],
  [
    'USER_IP @a:b ["secret","::1","",null,0]',
    { name: 'USER_IP', userId: '@a:b', accessToken: 'secret', ip: '::1', userAgent: '', deviceId: null, lastSeenMs: 0 },
  ],
  ['SYNC round 7', { name: 'SYNC', text: 'round 7' }],
];

test('every command has a golden line', () => {
  expect(new Set(golden.map(([, { name }]) => name))).toEqual(new Set(Object.keys(senders)));
});

test.each(golden)('the line %s is written and read as ever', (line, command) => {
  expect(encodeCommand(command), VERSIONING).toBe(line);
  for (const side of senders[command.name]) expect(decodeCommand(line, side), VERSIONING).toEqual(command);
});

const sides: readonly Side[] = ['primary', 'worker'];

function refusal(line: string, from: Side = 'worker'): PeerError {
  try {
    decodeCommand(line, from);
  } catch (thrown) {
    if (thrown instanceof PeerError) return thrown;
    throw thrown;
  }
  throw new Error(`${line} was read`);
}

describe('who may send what', () => {
  test.each(golden)('%s is refused from a side that may not send it', (line, { name }) => {
    for (const side of sides) {
      if (senders[name].includes(side)) continue;
      expect(refusal(line, side)).toMatchObject({ code: 'UNKNOWN_COMMAND', message: `invalid command: ${name}` });
    }
  });

  test.each(['FOO', 'ping', 'toString', '__proto__', 'constructor', ' PING 5'])(
    'an unknown name is refused from both sides: %j',
    (line) => {
      for (const side of sides)
        expect(refusal(line, side)).toMatchObject({
          code: 'UNKNOWN_COMMAND',
          message: `invalid command: ${line.split(' ')[0]}`,
        });
    },
  );
});

describe('bare words', () => {
  test.each<[CommandName, Command]>([
    ['SERVER', { name: 'SERVER', serverName: '' }],
    ['ERROR', { name: 'ERROR', text: '' }],
    ['PING', { name: 'PING', data: '' }],
    ['NAME', { name: 'NAME', workerName: '' }],
    ['SYNC', { name: 'SYNC', text: '' }],
  ])('%s without arguments is read as having empty arguments', (line, command) => {
    expect(decodeCommand(line, senders[line][0]!)).toEqual(command);
    expect(decodeCommand(`${line} `, senders[line][0]!)).toEqual(command);
  });

  test.each<CommandName>([
    'RDATA',
    'POSITION',
    'REPLICATE',
    'USER_SYNC',
    'FEDERATION_ACK',
    'REMOVE_PUSHER',
    'INVALIDATE_CACHE',
    'USER_IP',
  ])('%s without the arguments it needs does not parse', (name) => {
    const error = refusal(name, senders[name][0]);
    expect(error.code).toBe('INVALID_ARGUMENTS');
    expect(error.message).toMatch(new RegExp(`^failed to parse line for ${name}: expected `));
  });

  test.each(['SERVER', 'PING', 'NAME', 'ERROR', 'SYNC'] as const)(
    'the free text of %s is taken as it is, spaces and all',
    (name) => {
      const command = decodeCommand(`${name}   a  b `, senders[name][0]!);
      expect(Object.values(command)).toEqual([name, '  a  b ']);
    },
  );
});

describe('tokens', () => {
  test.each([
    ['0', 0],
    ['9007199254740991', 9007199254740991],
    ['-1', 0],
    ['-0', 0],
    ['-53', 0],
    ['007', 7],
  ])('%s is %i', (text, token) => {
    expect(decodeCommand(`FEDERATION_ACK ${text}`, 'worker')).toEqual({ name: 'FEDERATION_ACK', token });
    expect(decodeCommand(`REPLICATE events ${text}`, 'worker')).toEqual({
      name: 'REPLICATE',
      stream: 'events',
      from: token,
    });
    expect(decodeCommand(`RDATA events ${text} []`, 'primary')).toMatchObject({ token });
    expect(decodeCommand(`POSITION events ${text}`, 'primary')).toMatchObject({ token });
  });

  test.each([
    '1.5',
    'abc',
    '1_0',
    '12345678901234567',
    '9007199254740992',
    '-9007199254740993',
    '+1',
    '1e3',
    '0x10',
    '١',
    '--1',
    '5 ',
    'Now',
    'BATCH',
    '',
  ])('%j does not parse', (text) => {
    for (const line of [`FEDERATION_ACK ${text}`, `REPLICATE events ${text}`])
      expect(refusal(line).code).toBe('INVALID_ARGUMENTS');
    for (const line of [`RDATA events ${text} []`, `POSITION events ${text}`])
      expect(refusal(line, 'primary').code).toBe('INVALID_ARGUMENTS');
  });

  test('NOW is accepted as now too, and in no other case', () => {
    expect(decodeCommand('REPLICATE events now', 'worker')).toEqual({
      name: 'REPLICATE',
      stream: 'events',
      from: 'NOW',
    });
    expect(decodeCommand('REPLICATE ALL now', 'worker')).toEqual({ name: 'REPLICATE', stream: 'ALL', from: 'NOW' });
    expect(refusal('REPLICATE events nOW').message).toBe(
      'failed to parse line for REPLICATE: expected a token (0 to 2^53-1), not nOW',
    );
  });
});

describe('stream names', () => {
  test('ALL is reserved and case sensitive', () => {
    expect(decodeCommand('REPLICATE all NOW', 'worker')).toMatchObject({ stream: 'all' });
    expect(refusal('RDATA ALL 1 []', 'primary').message).toMatch(/ALL is reserved/);
    expect(refusal('POSITION ALL 1', 'primary').message).toMatch(/ALL is reserved/);
  });

  test('a stream name has 1 to 255 bytes', () => {
    const longest = `${'é'.repeat(127)}x`;
    expect(decodeCommand(`REPLICATE ${longest} 1`, 'worker')).toMatchObject({ stream: longest });
    expect(refusal(`REPLICATE ${longest}x 1`).message).toMatch(/over 255 bytes/);
  });

  test.each(['\u0000', '\t', '\u007f', '\u0085', '\u00a0', '\u2028', '\r'])(
    'a stream name with the control or space character %j does not parse',
    (character) => {
      expect(refusal(`REPLICATE a${character}b 1`).code).toBe('INVALID_ARGUMENTS');
      expect(refusal(`RDATA a${character}b 1 []`, 'primary').code).toBe('INVALID_ARGUMENTS');
    },
  );
});

describe('arguments are split at single spaces', () => {
  test.each([
    'REPLICATE  events 5',
    'REPLICATE events  5',
    'REPLICATE events 5 ',
    'REPLICATE events',
    'REPLICATE events ',
    'FEDERATION_ACK  5',
    'USER_SYNC  @a:b start 5',
    'USER_SYNC @a:b  start 5',
    'USER_SYNC @a:b start  5',
    'USER_SYNC @a:b start',
    'REMOVE_PUSHER a  b c',
    'REMOVE_PUSHER a b  c',
    'REMOVE_PUSHER a b ',
    'REMOVE_PUSHER a b',
    'INVALIDATE_CACHE  c []',
    'INVALIDATE_CACHE c  []',
    'INVALIDATE_CACHE c',
    'USER_IP @a:b  ["t","i","u",null,1]',
  ])('a leading, doubled or missing one does not parse: %j', (line) => {
    expect(refusal(line).code).toBe('INVALID_ARGUMENTS');
  });

  test.each([
    'RDATA  54 []',
    'RDATA  events 54 []',
    'RDATA events  54 []',
    'RDATA events 54  []',
    'RDATA events 54',
    'RDATA events',
    'RDATA events 54 ',
    'POSITION  5',
  ])('nor does it in the lines of a primary: %j', (line) => {
    expect(refusal(line, 'primary').code).toBe('INVALID_ARGUMENTS');
    if (line.startsWith('RDATA ')) expect(() => decodeRow(line, new RowDecoder())).toThrow(PeerError);
  });
});

describe('values', () => {
  test.each([
    ['USER_SYNC @a:b online 5', 'expected start or end, not online'],
    ['USER_SYNC @a:b start 1.5', 'expected an integer, not 1.5'],
    ['USER_SYNC @a:b start 9007199254740992', 'expected an integer, not 9007199254740992'],
    ['INVALIDATE_CACHE c {"a":1}', 'expected a list of keys or null, not {"a":1}'],
    ['INVALIDATE_CACHE c "a"', 'expected a list of keys or null, not "a"'],
  ])('%s does not parse', (line, why) => {
    expect(refusal(line).message).toBe(`failed to parse line for ${line.split(' ')[0]}: ${why}`);
  });

  test.each([
    '{}',
    '[1,2,3]',
    '["t","i","u",null,1.5]',
    '["t","i","u",5,1]',
    '["t","i",5,null,1]',
    '["t",5,"u",null,1]',
    '[5,"i","u",null,1]',
    '["t","i","u",null,1,2]',
  ])('USER_IP with %s does not parse', (json) => {
    expect(refusal(`USER_IP @a:b ${json}`).message).toMatch(
      /expected \[access_token, ip, user_agent, device_id\|null, last_seen_ms\]/,
    );
  });

  test('a last sync of -0 is 0', () => {
    const command = decodeCommand('USER_SYNC @a:b end -0', 'worker');
    expect(command.name === 'USER_SYNC' && Object.is(command.lastSyncMs, 0)).toBe(true);
  });

  test('what is not JSON says so and is repeated', () => {
    expect(refusal('RDATA events 5 [1,', 'primary').message).toMatch(
      /^failed to parse line for RDATA: expected JSON, not \[1, \(/,
    );
    expect(refusal('RDATA events 5 undefined', 'primary').message).toMatch(/expected JSON, not undefined/);
    expect(refusal('INVALIDATE_CACHE c [').message).toMatch(/expected JSON, not \[/);
  });

  test('JSON may be nested deeply and have any keys', () => {
    const nested = `${'['.repeat(10_000)}${']'.repeat(10_000)}`;
    expect(() => decodeCommand(`RDATA events 5 ${nested}`, 'primary')).not.toThrow();
    const command = decodeCommand('RDATA events 5 {"__proto__":{"polluted":true}}', 'primary');
    expect(command.name === 'RDATA' && Object.keys(command.row as object)).toEqual(['__proto__']);
    expect('polluted' in {}).toBe(false);
  });
});

describe('text of the peer that is repeated', () => {
  test('is cut to 100 characters', () => {
    expect(refusal('x'.repeat(101)).message).toBe(`invalid command: ${'x'.repeat(100)}…`);
    expect(refusal('x'.repeat(100)).message).toBe(`invalid command: ${'x'.repeat(100)}`);
  });

  test('has its control characters escaped', () => {
    expect(refusal('a\u0007\r\u009b\u2028b').message).toBe('invalid command: a\\u0007\\u000d\\u009b\\u2028b');
  });

  test('never ends in half a character, so that ERROR can always be sent', () => {
    for (let before = 0; before < 4; before++) {
      for (const line of [
        `${'x'.repeat(97 + before)}😀😀😀😀`,
        `REPLICATE events ${'x'.repeat(97 + before)}😀😀`,
        `INVALIDATE_CACHE c ${'x'.repeat(before)}${'😀'.repeat(80)}`,
      ]) {
        const { message } = refusal(line);
        expect(message.isWellFormed()).toBe(true);
        expect(() => encodeCommand({ name: 'ERROR', text: message })).not.toThrow();
      }
    }
  });
});

describe('a command that does not fit on a line is refused when it is written', () => {
  test.each<[string, unknown]>([
    ['a line break', { name: 'NAME', workerName: 'a\nb' }],
    ['a CR at the end', { name: 'NAME', workerName: 'a\r' }],
    ['half a character', { name: 'NAME', workerName: 'a\ud800' }],
    ['an empty text', { name: 'SERVER', serverName: '' }],
    ['an empty text', { name: 'PING', data: '' }],
    ['an empty text', { name: 'ERROR', text: '' }],
    ['an empty text', { name: 'SYNC', text: '' }],
    ['an empty argument', { name: 'USER_SYNC', userId: '', state: 'start', lastSyncMs: 1 }],
    ['a space in an argument', { name: 'USER_SYNC', userId: 'a b', state: 'start', lastSyncMs: 1 }],
    ['a word that does not exist', { name: 'USER_SYNC', userId: 'a', state: 'middle', lastSyncMs: 1 }],
    ['a time that is none', { name: 'USER_SYNC', userId: 'a', state: 'start', lastSyncMs: 1.5 }],
    ['a space in an argument', { name: 'REMOVE_PUSHER', appId: 'a', pushKey: 'b c', userId: 'd' }],
    [
      'a space at the beginning of the last argument',
      { name: 'REMOVE_PUSHER', appId: 'a', pushKey: 'b', userId: ' d' },
    ],
    ['an empty last argument', { name: 'REMOVE_PUSHER', appId: 'a', pushKey: 'b', userId: '' }],
    ['a negative token', { name: 'FEDERATION_ACK', token: -1 }],
    ['a token that is no integer', { name: 'FEDERATION_ACK', token: Number.NaN }],
    ['a token over 2^53-1', { name: 'POSITION', stream: 'events', token: 2 ** 53 }],
    ['a stream name with a space', { name: 'REPLICATE', stream: 'a b', from: 1 }],
    ['the reserved stream name', { name: 'POSITION', stream: 'ALL', token: 1 }],
    ['a row that JSON cannot say', { name: 'RDATA', stream: 'events', token: 1, row: undefined }],
    ['keys that are no list', { name: 'INVALIDATE_CACHE', cacheName: 'c', keys: 'abc' }],
    ['keys that JSON cannot say', { name: 'INVALIDATE_CACHE', cacheName: 'c', keys: [1n] }],
    [
      'a time that is none',
      {
        name: 'USER_IP',
        userId: 'a',
        accessToken: 't',
        ip: 'i',
        userAgent: 'u',
        deviceId: null,
        lastSeenMs: Number.POSITIVE_INFINITY,
      },
    ],
    ['a name that does not exist', { name: 'TO\nDO' }],
  ])('%s: %o', (_why, command) => {
    let thrown: unknown;
    try {
      encodeCommand(command as Command);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(UsageError);
    expect(thrown).toMatchObject({ code: 'INVALID_COMMAND' });
  });
});
