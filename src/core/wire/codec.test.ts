import { describe, expect, test } from 'vitest';
import { MAX_COMMAND_JSON } from '../model/attributes.ts';
import { PeerError, UsageError } from '../model/errors.ts';
import { encodeRow, LONG_ROW, MAX_ROW_DEPTH } from '../model/row.ts';
import { decodeCommand, encodeCommand } from './codec.ts';
import { RowDecoder } from './row-decoder.ts';
import { type Command, type CommandName, type Dialect, rowcastOnly, type Side, senders } from './command.ts';
import { decodeRow } from '../../../test/support/row-lines.ts';

const VERSIONING =
  'The wire changed. Peers of other versions and real Synapse processes read these lines: keep them, or give the new form a new command or a new rowcast/<n> word in PING.';

const HISTORY = '8f3c1d2e4b5a6978.1764281400.a1b2c3d4';
const ORIGIN = '8f3c1d2e4b5a6978.0.00000000';

type GoldenLine = readonly [line: string, command: Command];

/**
 * The lines that are the same in both dialects, pinned: one for each form of each command. Both
 * directions hold.
 */
const inBoth: readonly GoldenLine[] = [
  ['SERVER example.com', { name: 'SERVER', serverName: 'example.com' }],
  ['RDATA events 54 ["ev",{"a":1}]', { name: 'RDATA', stream: 'events', token: 54, row: ['ev', { a: 1 }] }],
  [
    'RDATA events batch "zwölf Boxkämpfer"',
    { name: 'RDATA', stream: 'events', token: 'batch', row: 'zwölf Boxkämpfer' },
  ],
  ['RDATA caches 9007199254740991 null', { name: 'RDATA', stream: 'caches', token: 9007199254740991, row: null }],
  ['ERROR Failed to keep up', { name: 'ERROR', text: 'Failed to keep up' }],
  ['PING 1490197665618 rowcast/1', { name: 'PING', data: '1490197665618 rowcast/1' }],
  ['NAME reader 1', { name: 'NAME', workerName: 'reader 1' }],
  ['REPLICATE events 53', { name: 'REPLICATE', stream: 'events', from: 53, history: undefined }],
  ['REPLICATE events NOW', { name: 'REPLICATE', stream: 'events', from: 'NOW', history: undefined }],
  ['REPLICATE ALL NOW', { name: 'REPLICATE', stream: 'ALL', from: 'NOW', history: undefined }],
  ['REPLICATE ALL 7', { name: 'REPLICATE', stream: 'ALL', from: 7, history: undefined }],
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

/** The lines that only a seed peer sends or gets. */
const inSeed: readonly GoldenLine[] = [
  ['POSITION events 0', { name: 'POSITION', stream: 'events', token: 0, history: undefined }],
  ['POSITION $streams 7', { name: 'POSITION', stream: '$streams', token: 7, history: undefined }],
];

/** The lines that only a peer of rowcast/2 sends or gets. */
const inRowcast: readonly GoldenLine[] = [
  [`POSITION events 0 ${ORIGIN}`, { name: 'POSITION', stream: 'events', token: 0, history: ORIGIN }],
  [`POSITION events 54 ${HISTORY}`, { name: 'POSITION', stream: 'events', token: 54, history: HISTORY }],
  [`HISTORY events 53 ${HISTORY}`, { name: 'HISTORY', stream: 'events', after: 53, history: HISTORY }],
  ['ERA 8f3c1d2e4b5a6978 1764281400.a1b2c3d4', { name: 'ERA', era: HISTORY }],
  ['REFUSED events UNKNOWN_STREAM {}', { name: 'REFUSED', stream: 'events', code: 'UNKNOWN_STREAM', facts: {} }],
  ['REFUSED events UNAVAILABLE {}', { name: 'REFUSED', stream: 'events', code: 'UNAVAILABLE', facts: {} }],
  ['REFUSED events AHEAD {"latest":52}', { name: 'REFUSED', stream: 'events', code: 'AHEAD', facts: { latest: 52 } }],
  [
    'REFUSED events GAP {"earliest":40,"latest":52}',
    { name: 'REFUSED', stream: 'events', code: 'GAP', facts: { earliest: 40, latest: 52 } },
  ],
  [
    `REFUSED events RESET {"earliest":1,"latest":52,"history":"${HISTORY}","common":50,"deleted":false}`,
    {
      name: 'REFUSED',
      stream: 'events',
      code: 'RESET',
      facts: { earliest: 1, latest: 52, history: HISTORY, common: 50, deleted: false },
    },
  ],
  ['RELEASED events', { name: 'RELEASED', stream: 'events' }],
  [
    'ATTR events 54 {"traceparent":"00-4bf9-00f0-01","a b":[null]}',
    { name: 'ATTR', stream: 'events', token: 54, attributes: { traceparent: '00-4bf9-00f0-01', 'a b': [null] } },
  ],
  ['ATTR events 54 {}', { name: 'ATTR', stream: 'events', token: 54, attributes: {} }],
  [`REPLICATE events 53 ${HISTORY}`, { name: 'REPLICATE', stream: 'events', from: 53, history: HISTORY }],
  [`REPLICATE START 0 ${ORIGIN}`, { name: 'REPLICATE', stream: 'START', from: 0, history: ORIGIN }],
  ['REPLICATE events START', { name: 'REPLICATE', stream: 'events', from: 'START', history: undefined }],
  ['REPLICATE $streams START', { name: 'REPLICATE', stream: '$streams', from: 'START', history: undefined }],
  ['RELEASE events', { name: 'RELEASE', stream: 'events' }],
  ['APPLIED events 54 53', { name: 'APPLIED', stream: 'events', applied: 54, saved: 53 }],
  ['APPLIED events 54 0', { name: 'APPLIED', stream: 'events', applied: 54, saved: 0 }],
  ['APPLIED events 0 NONE', { name: 'APPLIED', stream: 'events', applied: 0, saved: undefined }],
];

const dialects: readonly Dialect[] = ['seed', 'rowcast/2'];

const golden: readonly (readonly [dialect: Dialect, line: string, command: Command])[] = [
  ...dialects.flatMap((dialect) => inBoth.map((line) => [dialect, ...line] as const)),
  ...inSeed.map((line) => ['seed', ...line] as const),
  ...inRowcast.map((line) => ['rowcast/2', ...line] as const),
];

test('every command has a golden line in every dialect that has it', () => {
  for (const dialect of dialects) {
    const names = golden.filter(([of]) => of === dialect).map(([, , { name }]) => name);
    const has = (name: CommandName): boolean => dialect === 'rowcast/2' || !rowcastOnly.has(name);
    expect(new Set(names)).toEqual(new Set((Object.keys(senders) as CommandName[]).filter(has)));
  }
});

test.each(golden)('in %s the line %s is written and read as ever', (dialect, line, command) => {
  expect(encodeCommand(command), VERSIONING).toBe(line);
  for (const side of senders[command.name])
    expect(decodeCommand(line, side, dialect), VERSIONING).toStrictEqual(command);
});

test.each(inRowcast)('to a seed peer %s is what it was before rowcast/2: unknown, or malformed', (line, { name }) => {
  const side = senders[name][0]!;
  const place = line.slice(line.indexOf(' ', name.length + 1) + 1);
  if (rowcastOnly.has(name))
    expect(refusal(line, side, 'seed')).toMatchObject({
      code: 'UNKNOWN_COMMAND',
      message: `invalid command: ${name}`,
    });
  else
    expect(refusal(line, side, 'seed')).toMatchObject({
      code: 'INVALID_ARGUMENTS',
      message: `failed to parse line for ${name}: expected a token (0 to 2^53-1), not ${place}`,
    });
});

const sides: readonly Side[] = ['primary', 'worker'];

function refusal(line: string, from: Side = 'worker', dialect: Dialect = 'seed'): PeerError {
  try {
    decodeCommand(line, from, dialect);
  } catch (thrown) {
    if (thrown instanceof PeerError) return thrown;
    throw thrown;
  }
  throw new Error(`${line} was read`);
}

describe('who may send what', () => {
  test.each(golden)('in %s the line %s is refused from a side that may not send it', (dialect, line, { name }) => {
    for (const side of sides) {
      if (senders[name].includes(side)) continue;
      expect(refusal(line, side, dialect)).toMatchObject({
        code: 'UNKNOWN_COMMAND',
        message: `invalid command: ${name}`,
      });
    }
  });

  test.each(['FOO', 'ping', 'toString', '__proto__', 'constructor', ' PING 5'])(
    'an unknown name is refused from both sides: %j',
    (line) => {
      for (const side of sides)
        for (const dialect of dialects)
          expect(refusal(line, side, dialect)).toMatchObject({
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
    for (const dialect of dialects) {
      expect(decodeCommand(line, senders[line][0]!, dialect)).toEqual(command);
      expect(decodeCommand(`${line} `, senders[line][0]!, dialect)).toEqual(command);
    }
  });

  test.each<CommandName>([
    'RDATA',
    'POSITION',
    'HISTORY',
    'ERA',
    'REFUSED',
    'RELEASED',
    'ATTR',
    'REPLICATE',
    'RELEASE',
    'APPLIED',
    'USER_SYNC',
    'FEDERATION_ACK',
    'REMOVE_PUSHER',
    'INVALIDATE_CACHE',
    'USER_IP',
  ])('%s without the arguments it needs does not parse', (name) => {
    for (const dialect of dialects) {
      if (dialect === 'seed' && rowcastOnly.has(name)) continue;
      const error = refusal(name, senders[name][0], dialect);
      expect(error.code).toBe('INVALID_ARGUMENTS');
      expect(error.message).toMatch(new RegExp(`^failed to parse line for ${name}: expected `));
    }
  });

  test.each(['SERVER', 'PING', 'NAME', 'ERROR', 'SYNC'] as const)(
    'the free text of %s is taken as it is, spaces and all',
    (name) => {
      const command = decodeCommand(`${name}   a  b `, senders[name][0]!, 'rowcast/2');
      expect(Object.values(command)).toEqual([name, '  a  b ']);
    },
  );
});

describe('tokens', () => {
  const negative = ['-1', '-0', '-53'];

  /** The token of each line that has one. */
  function tokensOf(text: string, dialect: Dialect): unknown[] {
    const history = dialect === 'seed' ? '' : ` ${HISTORY}`;
    return [
      decodeCommand(`FEDERATION_ACK ${text}`, 'worker', dialect),
      decodeCommand(`REPLICATE events ${text}`, 'worker', dialect),
      decodeCommand(`RDATA events ${text} []`, 'primary', dialect),
      decodeCommand(`POSITION events ${text}${history}`, 'primary', dialect),
      ...(dialect === 'seed'
        ? []
        : [
            decodeCommand(`HISTORY events ${text} ${HISTORY}`, 'primary', dialect),
            decodeCommand(`ATTR events ${text} {}`, 'primary', dialect),
            decodeCommand(`APPLIED events ${text} ${text}`, 'worker', dialect),
          ]),
    ].flatMap((command): unknown[] => {
      if (command.name === 'REPLICATE') return [command.from];
      if (command.name === 'HISTORY') return [command.after];
      if (command.name === 'APPLIED') return [command.applied, command.saved];
      return 'token' in command ? [command.token] : [];
    });
  }

  test.each([
    ['0', 0],
    ['9007199254740991', 9007199254740991],
    ['007', 7],
  ])('%s is %i in both dialects', (text, token) => {
    expect(tokensOf(text, 'seed')).toEqual(Array.from({ length: 4 }, () => token));
    expect(tokensOf(text, 'rowcast/2')).toEqual(Array.from({ length: 8 }, () => token));
  });

  test.each(negative)('%s is 0 from a seed peer', (text) => {
    expect(tokensOf(text, 'seed')).toEqual([0, 0, 0, 0]);
  });

  const malformed = [
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
    'Now',
    'BATCH',
    'start',
    '',
  ];

  test.each([...malformed, '5 ', 'START'])('%j does not parse from a seed peer', (text) => {
    for (const line of [`FEDERATION_ACK ${text}`, `REPLICATE events ${text}`])
      expect(refusal(line).code).toBe('INVALID_ARGUMENTS');
    for (const line of [`RDATA events ${text} []`, `POSITION events ${text}`])
      expect(refusal(line, 'primary').code).toBe('INVALID_ARGUMENTS');
  });

  test.each([...malformed, ...negative])('%j does not parse in rowcast/2', (text) => {
    for (const line of [
      `FEDERATION_ACK ${text}`,
      `REPLICATE events ${text}`,
      `REPLICATE events ${text} ${HISTORY}`,
      `APPLIED events ${text} NONE`,
      `APPLIED events 5 ${text}`,
    ])
      expect(refusal(line, 'worker', 'rowcast/2').code).toBe('INVALID_ARGUMENTS');
    for (const line of [
      `RDATA events ${text} []`,
      `POSITION events ${text} ${HISTORY}`,
      `HISTORY events ${text} ${HISTORY}`,
      `ATTR events ${text} {}`,
    ])
      expect(refusal(line, 'primary', 'rowcast/2').code).toBe('INVALID_ARGUMENTS');
  });

  test('NOW is accepted as now too, and in no other case', () => {
    for (const stream of ['events', 'ALL'])
      for (const dialect of dialects)
        expect(decodeCommand(`REPLICATE ${stream} now`, 'worker', dialect)).toMatchObject({ stream, from: 'NOW' });
    expect(refusal('REPLICATE events nOW').message).toBe(
      'failed to parse line for REPLICATE: expected a token (0 to 2^53-1), not nOW',
    );
  });
});

describe('histories', () => {
  const malformed = [
    '8f3c',
    '8f3c1d2e4b5a6978',
    '8f3c1d2e4b5a6978.1764281400',
    '8f3c1d2e4b5a6978.1764281400.A1B2C3D4',
    '8f3c1d2e4b5a6978.-1.a1b2c3d4',
    '8f3c1d2e4b5a6978.01.a1b2c3d4',
    '8f3c1d2e4b5a6978.9007199254740992.a1b2c3d4',
    `${HISTORY}0`,
    `${HISTORY} `,
    ` ${HISTORY}`,
    `${HISTORY} ${HISTORY}`,
    'NONE',
    '',
  ];

  test.each(malformed)('%j is none', (text) => {
    expect(refusal(`REPLICATE events 5 ${text}`, 'worker', 'rowcast/2').code).toBe('INVALID_ARGUMENTS');
    for (const line of [`POSITION events 5 ${text}`, `HISTORY events 5 ${text}`])
      expect(refusal(line, 'primary', 'rowcast/2').code).toBe('INVALID_ARGUMENTS');
  });

  test.each([
    HISTORY,
    '8f3c1d2e4b5a6978  1764281400.a1b2c3d4',
    '8f3c1d2e4b5a6978.1764281400 a1b2c3d4',
    '8f3c1d2e4b5a6978 1764281400 a1b2c3d4',
    '8f3c1d2e4b5a6978 1764281400.a1b2c3d4 ',
    '8f3c 1764281400.a1b2c3d4',
    '8f3c1d2e4b5a6978 a1b2c3d4',
  ])('ERA %j does not parse', (text) => {
    expect(refusal(`ERA ${text}`, 'primary', 'rowcast/2').code).toBe('INVALID_ARGUMENTS');
  });

  test('POSITION has one in rowcast/2, always', () => {
    expect(refusal('POSITION events 5', 'primary', 'rowcast/2').message).toBe(
      'failed to parse line for POSITION: expected <stream> <token> <history>, not events 5',
    );
  });

  test.each(['events START', 'events NOW', 'events now', 'ALL 5', 'ALL START'])(
    'REPLICATE %s has none: only the token of one stream does',
    (text) => {
      expect(refusal(`REPLICATE ${text} ${HISTORY}`, 'worker', 'rowcast/2').message).toBe(
        'failed to parse line for REPLICATE: a history stands only behind the token of one stream',
      );
    },
  );
});

describe('a refusal', () => {
  test('with a code that is not known does not parse', () => {
    for (const code of ['FORBIDDEN', 'gap', 'toString'])
      expect(refusal(`REFUSED events ${code} {}`, 'primary', 'rowcast/2').message).toBe(
        `failed to parse line for REFUSED: expected GAP, RESET, UNKNOWN_STREAM, AHEAD, UNAVAILABLE, not ${code}`,
      );
  });

  test('may tell facts that are not known yet: they are left out', () => {
    expect(
      decodeCommand('REFUSED events GAP {"later":[1],"earliest":40,"__proto__":{"latest":1}}', 'primary', 'rowcast/2'),
    ).toStrictEqual({ name: 'REFUSED', stream: 'events', code: 'GAP', facts: { earliest: 40 } });
  });

  test.each([
    '{"earliest":"40"}',
    '{"earliest":-1}',
    '{"earliest":-0}',
    '{"earliest":null}',
    '{"latest":1.5}',
    '{"latest":9007199254740992}',
    '{"common":[1]}',
    '{"history":"8f3c"}',
    '{"history":5}',
    '{"deleted":1}',
    '{"deleted":null}',
  ])('whose facts are not of their kind does not parse: %s', (json) => {
    expect(refusal(`REFUSED events RESET ${json}`, 'primary', 'rowcast/2').message).toBe(
      `failed to parse line for REFUSED: expected the facts of a refusal (tokens, a history, a boolean), not ${json}`,
    );
  });
});

test.each(['[]', 'null', '"a"', '5', 'true', '{', '', ' {}'])('%j is no JSON object', (json) => {
  for (const line of [`ATTR events 5 ${json}`, `REFUSED events GAP ${json}`])
    expect(refusal(line, 'primary', 'rowcast/2').code).toBe('INVALID_ARGUMENTS');
});

describe('stream names', () => {
  test('ALL is reserved and case sensitive', () => {
    expect(decodeCommand('REPLICATE all NOW', 'worker', 'seed')).toMatchObject({ stream: 'all' });
    expect(refusal('RDATA ALL 1 []', 'primary').message).toMatch(/ALL is reserved/);
    expect(refusal('POSITION ALL 1', 'primary').message).toMatch(/ALL is reserved/);
    for (const line of ['RELEASE ALL', 'APPLIED ALL 1 NONE'])
      expect(refusal(line, 'worker', 'rowcast/2').message).toMatch(/ALL is reserved/);
  });

  test('a stream name has 1 to 255 bytes', () => {
    const longest = `${'é'.repeat(127)}x`;
    expect(decodeCommand(`REPLICATE ${longest} 1`, 'worker', 'seed')).toMatchObject({ stream: longest });
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
    // With its stream and token it is a row that cannot be read (row-decoder.test.ts).
    if (/^RDATA (?!events 54 )/.test(line)) expect(() => decodeRow(line, new RowDecoder())).toThrow(PeerError);
  });

  test.each([
    'RELEASE  events',
    'RELEASE events ',
    'RELEASE events 5',
    'APPLIED  events 5 5',
    'APPLIED events  5 5',
    'APPLIED events 5  5',
    'APPLIED events 5 5 ',
    'APPLIED events 5',
    'APPLIED events NONE 5',
    'APPLIED events 5 none',
    'REPLICATE events START ',
    'REPLICATE events  START',
  ])('nor in those of a worker of rowcast/2: %j', (line) => {
    expect(refusal(line, 'worker', 'rowcast/2').code).toBe('INVALID_ARGUMENTS');
  });

  test.each([
    'RELEASED  events',
    'RELEASED events 5',
    `HISTORY  events 5 ${HISTORY}`,
    `HISTORY events  5 ${HISTORY}`,
    'HISTORY events 5',
    'REFUSED  events GAP {}',
    'REFUSED events  GAP {}',
    'REFUSED events GAP',
    'ATTR events  5 {}',
    'ATTR events 5',
  ])('nor in those of a primary of rowcast/2: %j', (line) => {
    expect(refusal(line, 'primary', 'rowcast/2').code).toBe('INVALID_ARGUMENTS');
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
    const command = decodeCommand('USER_SYNC @a:b end -0', 'worker', 'seed');
    expect(command.name === 'USER_SYNC' && Object.is(command.lastSyncMs, 0)).toBe(true);
  });

  test('what is not JSON says so and is repeated', () => {
    expect(refusal('RDATA events 5 [1,', 'primary').message).toMatch(
      /^failed to parse line for RDATA: expected JSON, not \[1,$/,
    );
    expect(refusal('RDATA events 5 undefined', 'primary').message).toMatch(/expected JSON, not undefined/);
    expect(refusal('INVALIDATE_CACHE c [').message).toMatch(/expected JSON, not \[/);
  });

  test('JSON may be nested deeply and have any keys', () => {
    const nested = `${'['.repeat(10_000)}${']'.repeat(10_000)}`;
    expect(() => decodeCommand(`RDATA events 5 ${nested}`, 'primary', 'seed')).not.toThrow();
    const command = decodeCommand('RDATA events 5 {"__proto__":{"polluted":true}}', 'primary', 'seed');
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
    ['a history that is none', { name: 'POSITION', stream: 'events', token: 1, history: '8f3c' }],
    ['a history that is none', { name: 'HISTORY', stream: 'events', after: 1, history: '' }],
    ['a history that is none', { name: 'ERA', era: '8f3c1d2e4b5a6978 1764281400.a1b2c3d4' }],
    ['a history behind NOW', { name: 'REPLICATE', stream: 'events', from: 'NOW', history: HISTORY }],
    ['a history behind START', { name: 'REPLICATE', stream: 'events', from: 'START', history: HISTORY }],
    ['a history behind ALL', { name: 'REPLICATE', stream: 'ALL', from: 1, history: HISTORY }],
    ['the reserved stream name', { name: 'RELEASE', stream: 'ALL' }],
    ['a code that does not exist', { name: 'REFUSED', stream: 'events', code: 'FORBIDDEN', facts: {} }],
    ['a fact that is none', { name: 'REFUSED', stream: 'events', code: 'GAP', facts: { earliest: -1 } }],
    ['a fact that is none', { name: 'REFUSED', stream: 'events', code: 'RESET', facts: { history: '8f3c' } }],
    ['attributes that are a list', { name: 'ATTR', stream: 'events', token: 1, attributes: [] }],
    ['attributes that are written as text', { name: 'ATTR', stream: 'events', token: 1, attributes: new Date(0) }],
    ['attributes that JSON cannot say', { name: 'ATTR', stream: 'events', token: 1, attributes: { a: 1n } }],
    ['a token that is no integer', { name: 'APPLIED', stream: 'events', applied: 1.5, saved: 1 }],
    ['a negative token', { name: 'APPLIED', stream: 'events', applied: 1, saved: -1 }],
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

describe('JSON that would stop a reader for long', () => {
  const keys = (length: number): string => `["${'x'.repeat(length - 4)}"]`;

  test('of a command that is no row has MAX_COMMAND_JSON characters at most, in and out', () => {
    const [longest, longer] = [keys(MAX_COMMAND_JSON), keys(MAX_COMMAND_JSON + 1)];
    expect(decodeCommand(`INVALIDATE_CACHE a ${longest}`, 'worker', 'seed').name).toBe('INVALIDATE_CACHE');
    expect(() => decodeCommand(`INVALIDATE_CACHE a ${longer}`, 'worker', 'seed')).toThrow('at most 65536 characters');
    const command = (json: string): Command => {
      return { name: 'INVALIDATE_CACHE', cacheName: 'a', keys: JSON.parse(json) as unknown[] };
    };
    expect(encodeCommand(command(longest))).toBe(`INVALIDATE_CACHE a ${longest}`);
    expect(() => encodeCommand(command(longer))).toThrow('its JSON has 65537 characters, over 65536');
  });

  test('of a long row has MAX_ROW_DEPTH arrays and objects within each other at most', () => {
    const row = (depth: number): string => `["${'x'.repeat(LONG_ROW)}",${'['.repeat(depth - 1)}${']'.repeat(depth)}`;
    const line = (depth: number): string => `RDATA events 1 ${row(depth)}`;
    expect(decodeCommand(line(MAX_ROW_DEPTH), 'primary', 'seed').name).toBe('RDATA');
    expect(() => decodeCommand(line(MAX_ROW_DEPTH + 1), 'primary', 'seed')).toThrow('at most 500 arrays and objects');
    expect(() => encodeRow('events', JSON.parse(row(MAX_ROW_DEPTH + 1)))).toThrow('more than 500 arrays and objects');
  });
});
