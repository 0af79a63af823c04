import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { RunningCommand } from '../../test/support/fake-terminal.ts';
import { parseAddress, parseHostAndPort, parseLogAddress } from './addresses.ts';
import { defaults } from './defaults.ts';
import { escapeControl } from '../core/model/errors.ts';

const HISTORY = '8f3c1d2e4b5a6978.1764281400.a1b2c3d4';

async function runToEnd(...argv: string[]): Promise<RunningCommand> {
  const command = new RunningCommand(argv);
  await command.ended;
  return command;
}

describe('help', () => {
  test.each(['serve', 'append', 'follow', 'status'])(
    '%s --help shows its options and examples, and exits with 0',
    async (name) => {
      const command = await runToEnd(name, '--help');
      expect(await command.ended).toBe(0);
      expect(command.out).toContain(`Usage: rowcast ${name} `);
      expect(command.out).toContain(`Examples:\n  $ rowcast ${name}`);
      expect(command.err).toBe('');
    },
  );

  test('the options are those of the design, with their defaults', async () => {
    const { out } = await runToEnd('serve', '--help');
    for (const option of ['--name', '--listen', '--log', '--stream', '--synapse', '--admin', '--allow-plaintext'])
      expect(out).toContain(`  ${option}`);
    for (const value of ['"example.com"', '127.0.0.1:9092', 'sqlite:data/rowcast.db', '127.0.0.1:9093'])
      expect(out.replaceAll(/\s+/g, ' ')).toContain(`(default: ${value})`);
    const { out: follow } = await runToEnd('follow', '--help');
    for (const option of ['--connect', '--server', '--from', '--checkpoint', '--json', '--name'])
      expect(follow).toContain(`  ${option}`);
  });

  test('--synapse says what it changes', async () => {
    const { out } = await runToEnd('serve', '--help');
    expect(out.replaceAll(/\s+/g, ' ')).toContain('lines of at most 16,384 bytes, idle time-out 25 s');
  });

  test('--version prints the version of the package', async () => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
    for (const option of ['--version', '-V']) expect((await runToEnd(option)).out).toBe(`${version}\n`);
  });
});

describe('what is called in a wrong way exits with 2 and says why', () => {
  test.each([
    [[], 'Usage: rowcast'],
    [['conduct'], "unknown command 'conduct'"],
    [['serve', '--colour'], "unknown option '--colour'"],
    [['serve', '--listen', '9092'], "expected HOST:PORT or unix:/path, as in 127.0.0.1:9092 or [::1]:9092, not '9092'"],
    [['serve', '--log', 'postgres:x'], "expected sqlite:PATH or memory: not 'postgres:x'"],
    [['serve', '--stream', 'ALL', '--log', 'memory:'], 'ALL is reserved'],
    [['serve', '--stream', 'a', '--stream', 'a', '--log', 'memory:'], 'stream a is declared twice'],
    [['serve', '--name', '', '--log', 'memory:'], 'option name of createPrimary is one line'],
    [['append'], "missing required argument 'stream'"],
    [['append', 'events', '--batch', '0'], '1 to 10000 rows'],
    [['append', 'events', '--admin', 'none'], "not 'none'"],
    [['append', 'events', '--id-prefix', 'two words'], '1 to 200 visible ASCII characters'],
    [['follow', 'a b'], 'space or control character'],
    [['follow', 'a', 'a'], 'stream a is subscribed already'],
    [['follow', '--from', 'yesterday'], 'is invalid: it is now, start, a token or a position'],
    [['follow', 'events', '--from', 'events=5@8f3c'], "'8f3c' is no history"],
    [['follow', '--from', '5'], 'without streams, --from is now or start'],
    [['follow', '--from', `events=5@${HISTORY}`], 'without streams, --from is now or start'],
    [
      ['follow', 'events', 'users', '--from', `events=5@${HISTORY}`],
      `--from events=5@${HISTORY} is a position of events, not of users: follow that stream alone`,
    ],
    [['follow', '--server', ''], 'option server of createWorker is one line'],
    [['status', 'events'], 'too many arguments'],
    [['status', '--interval', 'often'], 'it is a number of seconds'],
    [['status', '--match', 'a**'], 'pattern'],
    [['follow', '--jsn'], 'Did you mean --json?'],
    [['doctor', '--timeout', '0'], 'is invalid: it is a number of seconds from 0.1; add --help'],
    [[`${'x'.repeat(9_000)}\u001b[2J`], 'unknown command'],
  ])('rowcast %j', async (argv, said) => {
    const command = await runToEnd(...argv);
    expect(await command.ended).toBe(2);
    expect(command.err).toContain(said);
    expect(command.out).toBe('');
    // Without a command all there is to say is the help.
    if (argv.length > 0) expect(command.err).toMatch(/^rowcast: [A-Z_]+: [^\n]+\n$/);
  });
});

describe('addresses', () => {
  test.each([
    ['127.0.0.1:9092', { host: '127.0.0.1', port: 9092 }],
    ['[::1]:0', { host: '::1', port: 0 }],
    ['localhost:65535', { host: 'localhost', port: 65_535 }],
    ['unix:/run/rowcast.sock', { path: '/run/rowcast.sock' }],
    ['unix:here.sock', { path: 'here.sock' }],
  ])('%s', (text, address) => expect(parseAddress(text)).toEqual(address));

  test.each([
    '',
    '9092',
    ':9092',
    'localhost',
    'localhost:',
    'localhost:http',
    'localhost:65536',
    '::1:9092',
    '[::1]',
    'a b:1',
    'unix:',
    'http://localhost:1',
  ])('%j is refused', (text) =>
    expect(() => parseAddress(text)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' })),
  );

  test('an admin port has no path', () => {
    expect(() => parseHostAndPort('unix:/run/x')).toThrow("not 'unix:/run/x'");
  });

  test('a log is a file or memory', () => {
    expect(parseLogAddress('memory:')).toEqual({ kind: 'memory' });
    expect(parseLogAddress('sqlite:a/b.db')).toEqual({ kind: 'sqlite', path: 'a/b.db' });
    for (const text of ['sqlite:', 'a/b.db', 'memory:x'])
      expect(() => parseLogAddress(text)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
  });
});

test('the default streams are those of docs/protocol.md', () => {
  const text = readFileSync('docs/protocol.md', 'utf8').replaceAll('`', '');
  const [, names] = /offers by default[^:]*: ([^;.]*)[;.]/s.exec(text) ?? [];
  expect(names?.split(/,\s+/)).toEqual(defaults.streams);
});

test('text from elsewhere cannot steer the terminal', () => {
  expect(escapeControl('a\u001b[2J\r\n\u009b\u2028ü')).toBe('a\\u001b[2J\\u000d\\u000a\\u009b\\u2028ü');
});
