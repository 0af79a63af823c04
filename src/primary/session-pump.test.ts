import { expect, test } from 'vitest';
import { Gate } from '../../test/support/collector.ts';
import { CountingClock } from '../../test/support/counting-clock.ts';
import { memoryLog } from '../log/memory.ts';
import { defaultBatchLimits } from '../core/model/batch.ts';
import { LogError } from '../core/model/errors.ts';
import type { Page, Verdict } from '../core/model/page.ts';
import { defineStream } from '../core/model/stream.ts';
import { MAX_UNREAD_ANSWER_BYTES } from '../core/sessions/outflow.ts';
import { defaultPrimaryLimits, type PrimaryLimits } from '../core/wire/limits.ts';
import { PrimarySession, type PrimarySessionEvent } from '../core/sessions/primary-session.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import type { Connection } from '../transport/transport.ts';
import { SessionPump } from './session-pump.ts';
import { StreamCatalog } from './stream-catalog.ts';

class FakeConnection implements Connection {
  readonly peer = 'a test';
  unsentBytes = 0;
  text = '';
  corks = 0;
  isClosed = false;
  isAborted = false;
  isPaused = false;
  takesMore = true;
  onWrite: () => void = () => {};

  write(bytes: Uint8Array): boolean {
    this.text += Buffer.from(bytes).toString('utf8');
    this.onWrite();
    if (!this.takesMore) this.unsentBytes += bytes.length;
    return this.takesMore;
  }
  cork(): void {
    this.corks++;
  }
  uncork(): void {
    this.corks--;
  }
  pause(): void {
    this.isPaused = true;
  }
  resume(): void {
    this.isPaused = false;
  }
  close(): void {
    this.isClosed = true;
  }
  abort(): void {
    this.isAborted = true;
  }
}

interface Setup {
  readonly clock: VirtualClock;
  readonly connection: FakeConnection;
  readonly catalog: StreamCatalog;
  readonly pump: SessionPump;
  readonly ends: unknown[];
  send(...lines: string[]): void;
}

interface SetupOptions {
  readonly clock?: VirtualClock;
  readonly onEvent?: (event: PrimarySessionEvent) => void;
  readonly limits?: Partial<PrimaryLimits>;
}

async function setUp({ clock = new VirtualClock(), onEvent = () => {}, limits }: SetupOptions = {}): Promise<Setup> {
  const connection = new FakeConnection();
  const catalog = new StreamCatalog({
    streams: [defineStream('events')],
    log: memoryLog(),
    volatileLog: memoryLog(),
    limits: defaultBatchLimits,
    tailBytes: 0,
    sourceTimeoutMs: defaultPrimaryLimits.sourceTimeoutMs,
    clock,
  });
  await catalog.open();
  const session = new PrimarySession({
    serverName: 'example.com',
    streams: catalog,
    limits: { ...defaultPrimaryLimits, ...limits },
    slowConsumer: 'disconnect',
    trimmed: 'serve',
  });
  const ends: unknown[] = [];
  const pump = new SessionPump({ connection, session, catalog, clock, onEvent, onClosed: (end) => ends.push(end) });
  catalog.watch({
    handleRows: (stream) => pump.handleHint(stream),
    handleMade: (stream) => pump.handleMade(stream),
    handleDeleted: (stream) => pump.handleDeleted(stream),
    handleRebased: (stream) => pump.handleRebased(stream),
    handleEra: (era) => pump.handleEra(era),
    handleCutting: () => {},
  });
  pump.handleOpen();
  connection.text = '';
  return {
    clock,
    connection,
    catalog,
    pump,
    ends,
    send: (...lines) => pump.handleBytes(Buffer.from(`${lines.join('\n')}\n`)),
  };
}

test('a listener that throws is heard, and the connection goes on', async () => {
  const { catalog, connection, send } = await setUp({
    onEvent: ({ kind }) => {
      if (kind === 'command') throw new Error('a bug of the application');
    },
  });
  expect(() => send('FEDERATION_ACK 1', 'REPLICATE events NOW')).toThrow('a bug of the application');
  expect(connection.corks).toBe(0);
  await catalog.append('events', ['"x"']);
  expect(connection.text).toBe('POSITION events 0\nRDATA events 1 "x"\n');
});

// SPEC B9
test('the next page is asked for only when the socket has taken the last one', async () => {
  const { catalog, connection, pump, send } = await setUp();
  send('REPLICATE events NOW');
  connection.takesMore = false;
  await catalog.append('events', ['"a"']);
  await catalog.append('events', ['"b"']);
  expect(connection.text).toBe('POSITION events 0\nRDATA events 1 "a"\n');
  connection.takesMore = true;
  connection.unsentBytes = 0;
  pump.handleDrained();
  expect(connection.text).toBe('POSITION events 0\nRDATA events 1 "a"\nRDATA events 2 "b"\n');
});

/** The tokens of the rows that were written. */
function tokensIn({ text }: FakeConnection): number[] {
  return [...text.matchAll(/^RDATA events (\d+) /gm)].map(([, token]) => Number(token));
}

const pageOfOneRow = 'x'.repeat(defaultPrimaryLimits.pageBytes);

test('while it catches up, one page is a turn of the event loop, so that a fast reader does not keep it from others', async () => {
  const { clock, catalog, connection, pump, send } = await setUp();
  connection.takesMore = false;
  for (let i = 0; i < 3; i++) await catalog.append('events', [JSON.stringify(pageOfOneRow)]);
  send('REPLICATE events 0');
  expect(tokensIn(connection)).toEqual([1]);
  for (const token of [2, 3]) {
    const seen: number[] = [];
    clock.wakeIn(0, () => seen.push(...tokensIn(connection)));
    pump.handleDrained();
    while (clock.step(clock.now()));
    expect(seen, 'others have their turn first').toEqual(Array.from({ length: token - 1 }, (_, i) => i + 1));
    expect(tokensIn(connection).at(-1)).toBe(token);
  }
  expect(connection.text).toMatch(/\nPOSITION events 3\n$/);
});

test('a live one is served at once, up to a burst of 2 MiB; then others have a turn', async () => {
  const { clock, catalog, connection, pump, send } = await setUp();
  send('REPLICATE events NOW');
  connection.takesMore = false;
  const count = 80;
  for (let i = 0; i < count; i++) await catalog.append('events', [JSON.stringify(pageOfOneRow)]);
  expect(tokensIn(connection)).toEqual([1]);
  const pagesInABurst = (2 * 1024 * 1024) / defaultPrimaryLimits.pageBytes;
  for (const burst of [1, 2]) {
    let before: number;
    do {
      before = tokensIn(connection).length;
      pump.handleDrained();
    } while (tokensIn(connection).length > before);
    expect(tokensIn(connection)).toHaveLength(burst * pagesInABurst);
    clock.step(clock.now());
    expect(tokensIn(connection), 'and goes on after it').toHaveLength(burst * pagesInABurst + 1);
  }
});

test('a page that is read in the background is sent when it comes, and dropped when the connection is gone by then', async () => {
  const { catalog, connection, pump, ends, send } = await setUp();
  await catalog.append('events', ['"a"']);
  const readAtOnce = catalog.read.bind(catalog);
  let gate = new Gate();
  catalog.read = (...asked): Promise<Page> => gate.opened.then(() => readAtOnce(...asked));
  send('REPLICATE events 0');
  expect(connection.text).toBe('');
  gate.open();
  await new Promise(setImmediate);
  expect(connection.text).toBe('RDATA events 1 "a"\nPOSITION events 1\n');
  gate = new Gate();
  await catalog.append('events', ['"b"']);
  pump.handleClosed();
  gate.open();
  await new Promise(setImmediate);
  expect(connection.text).toBe('RDATA events 1 "a"\nPOSITION events 1\n');
  expect(ends).toEqual([{ reason: undefined, error: undefined }]);
});

test.each(['at once', 'later'])(
  'a log that fails %s ends the connection without telling the worker of our files',
  async (when) => {
    const events: PrimarySessionEvent[] = [];
    const { catalog, connection, pump, ends, send } = await setUp({ onEvent: (event) => events.push(event) });
    await catalog.append('events', ['"a"']);
    const error = new LogError('LOG_DAMAGED', 'data/rowcast.db is damaged');
    catalog.read = (): Promise<Page> => {
      if (when === 'at once') throw error;
      return Promise.reject(error);
    };
    send('REPLICATE events 0');
    await new Promise(setImmediate);
    expect(connection.text).toBe('ERROR cannot read stream events\n');
    expect(connection.isClosed).toBe(true);
    expect(events.at(-1)).toEqual({ kind: 'failed', error });
    pump.handleClosed();
    expect(ends).toEqual([{ reason: error, error: undefined }]);
  },
);

test('a verdict that comes in the background is acted on when it comes, and not after its request was replaced', async () => {
  const { catalog, connection, send } = await setUp();
  await catalog.append('events', ['"a"']);
  const judgeAtOnce = catalog.judge.bind(catalog);
  const gates: Gate[] = [];
  catalog.judge = async (position): Promise<Verdict> => {
    const gate = new Gate();
    gates.push(gate);
    await gate.opened;
    return judgeAtOnce(position);
  };
  send('REPLICATE events 0', 'REPLICATE events 1');
  expect(connection.text).toBe('');
  gates[1]!.open();
  await new Promise(setImmediate);
  expect(connection.text).toBe('POSITION events 1\n');
  gates[0]!.open();
  await new Promise(setImmediate);
  expect(connection.text).toBe('POSITION events 1\n');
});

test('a log that cannot judge ends the connection of a seed peer, and refuses the stream to a Rowcast peer', async () => {
  const { catalog, connection, send } = await setUp();
  const error = new LogError('LOG_UNAVAILABLE', 'data/rowcast.db has gone');
  catalog.judge = () => Promise.reject(error);
  send('PING 1 rowcast/2', 'REPLICATE events 0');
  await new Promise(setImmediate);
  expect(connection.text).toMatch(/^REFUSED events UNAVAILABLE \{.*\}\n$/);
  expect(connection.isClosed).toBe(false);
  const seed = await setUp();
  seed.catalog.judge = () => {
    throw error;
  };
  seed.send('REPLICATE events 0');
  expect(seed.connection.text).toBe('ERROR cannot read stream events\n');
});

test('another era is told to a Rowcast peer', async () => {
  const { connection, pump, send } = await setUp();
  send('PING 1 rowcast/2');
  pump.handleEra('8f3c1d2e4b5a6978.2.a1b2c3d4');
  expect(connection.text).toBe('ERA 8f3c1d2e4b5a6978 2.a1b2c3d4\n');
});

// SPEC B7
test('no more requests are answered than MAX_UNREAD_ANSWER_BYTES allow before the answers are written, on a fast socket too', async () => {
  const { clock, connection, pump, send } = await setUp();
  let [most, written] = [0, 0];
  connection.onWrite = () => {
    const answered = Number(pump.session.workerName ?? 0);
    most = Math.max(most, (answered - written++) * 'POSITION events 0\n'.length);
  };
  const count = 50_000;
  send(...Array.from({ length: count }, (_, i) => [`NAME ${i + 1}`, 'REPLICATE events NOW']).flat());
  while (clock.step(clock.now()));
  expect(connection.text.split('\n')).toHaveLength(count + 1);
  expect(connection.isPaused).toBe(false);
  expect(most).toBeLessThan(MAX_UNREAD_ANSWER_BYTES + 1_000);
});

test('a peer that takes nothing of its answers is not read any more, until it does', async () => {
  const { clock, connection, pump, send } = await setUp();
  connection.takesMore = false;
  send(...Array.from({ length: 50_000 }, () => 'REPLICATE events NOW'));
  while (clock.step(clock.now()));
  expect(connection.isPaused).toBe(true);
  expect(connection.text.length).toBeLessThan(MAX_UNREAD_ANSWER_BYTES + 1_000);
  connection.takesMore = true;
  connection.unsentBytes = 0;
  pump.handleDrained();
  while (clock.step(clock.now()));
  expect(connection.isPaused).toBe(false);
  expect(connection.text.split('\n')).toHaveLength(50_001);
});

test('one timer at most waits, and none once the connection is gone', async () => {
  const clock = new CountingClock();
  const { catalog, connection, pump, send } = await setUp({ clock });
  const happen: (() => unknown)[] = [
    () => send('PING 1', 'REPLICATE events NOW'),
    () => catalog.append('events', ['"x"']),
    () => clock.step(clock.now() + 4_999),
    () => catalog.append('events', ['"y"']),
    () => send('PING 2', 'REPLICATE events 0'),
    () => clock.step(clock.now() + 5_000),
    () => clock.step(clock.now() + 5_000),
  ];
  const waiting = [clock.waiting];
  for (const act of happen) {
    await act();
    waiting.push(clock.waiting);
  }
  expect(new Set(waiting)).toEqual(new Set([1]));
  expect(connection.text).toMatch(/\nPING \d+\n$/);
  pump.handleClosed();
  expect(clock.waiting).toBe(0);
});

test('a connection that does not end within flushTimeoutMs after ERROR is aborted', async () => {
  const { clock, connection, pump } = await setUp({ limits: { flushTimeoutMs: 300 } });
  pump.handleStop();
  expect(connection.text).toBe('ERROR server stopping\n');
  while (clock.step(clock.now() + 1_000) && !connection.isAborted);
  expect(connection.isAborted).toBe(true);
  expect(clock.elapsedMs).toBe(300);
});
