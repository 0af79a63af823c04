/** Recorded conversations with real Synapse 1.4.0 processes: we read what they sent, and would have answered what they needed. */

import { describe, expect, test } from 'vitest';
import { seededRandom } from '../../src/base/random.ts';
import type { StreamName } from '../../src/core/model/stream.ts';
import type { Token } from '../../src/core/model/token.ts';
import { decodeCommand, encodeCommand } from '../../src/core/wire/codec.ts';
import type { Command, Side } from '../../src/core/wire/command.ts';
import { type Capture, captureNames, type Expected, readCapture } from '../support/captures.ts';
import { MemoryStreams } from '../support/memory-streams.ts';
import { bytesOf, PrimaryEnd, T0 } from '../support/primary-end.ts';
import { FollowerEnd, type FollowerEndOptions, SYNAPSE, WorkerEnd } from '../support/worker-ends.ts';

const SYNAPSE_LINE_BYTES = 16_384;
const captures = captureNames.map((name) => readCapture(name));
const titled = captures.map((capture) => [capture.name, capture] as const);

/** Ways in which the network may hand over the same bytes. */
const deliveries: readonly (readonly [how: string, cut: (bytes: Buffer) => Generator<Uint8Array>])[] = [
  [
    'whole',
    function* (bytes) {
      yield bytes;
    },
  ],
  [
    'byte by byte',
    function* (bytes) {
      for (let at = 0; at < bytes.length; at++) yield bytes.subarray(at, at + 1);
    },
  ],
  ...[1, 2, 3].map(
    (seed) =>
      [
        `cut at random, SEED=${seed}`,
        function* (bytes: Buffer): Generator<Uint8Array> {
          const random = seededRandom(seed);
          for (let at = 0; at < bytes.length; ) {
            const length = 1 + Math.floor(random.next() ** 3 * 2_000);
            yield bytes.subarray(at, at + length);
            at += length;
          }
        },
      ] as const,
  ),
];

describe.each(titled)('%s: the lines', (_name, { lines, bytes }) => {
  test.each(['primary', 'worker'] as const)(
    'every line that the real %s sent is read, and means the same when we write it',
    (side: Side) => {
      expect(lines[side].length).toBeGreaterThan(5);
      for (const line of lines[side]) {
        const command = decodeCommand(line, side, 'seed');
        const ours = encodeCommand(command);
        expect(decodeCommand(ours, side, 'seed')).toEqual(command);
        expect(Buffer.byteLength(ours), 'a real peer accepts it').toBeLessThanOrEqual(SYNAPSE_LINE_BYTES);
        // JSON is written with other spaces and escapes than Python does; everything else is the same to the byte.
        if (!/^(RDATA|USER_IP|INVALIDATE_CACHE)/.test(line)) expect(ours).toBe(line);
      }
    },
  );

  test('the recording ends with a whole line', () => {
    for (const side of ['primary', 'worker'] as const) expect(bytes[side].at(-1)).toBe(0x0a);
  });
});

describe('what these processes are known for', () => {
  const ofStream = (capture: Capture, stream: StreamName): Token[] =>
    capture.expected.flatMap((output) => ('stream' in output && output.stream === stream ? [output.token] : []));
  const falls = (tokens: readonly Token[]): boolean => tokens.some((token, i) => i > 0 && token < tokens[i - 1]!);

  test('the first line of the real primary is SERVER, the second PING', () => {
    for (const { lines } of captures)
      expect(lines.primary.slice(0, 2).map((line) => line.split(' ')[0])).toEqual(['SERVER', 'PING']);
  });

  test('its backfill tokens fall and rise, live and in catch-up', () => {
    for (const capture of captures) expect(falls(ofStream(capture, 'backfill')), capture.name).toBe(true);
  });

  test('its account_data tokens fall in catch-up', () => {
    expect(captures.some((capture) => falls(ofStream(capture, 'account_data')))).toBe(true);
  });

  test('it sends one POSITION for each stream that is asked for', () => {
    for (const { lines, requests } of captures) {
      const positions = lines.primary.filter((line) => line.startsWith('POSITION ')).map((line) => line.split(' ')[1]!);
      expect(new Set(positions).size).toBe(positions.length);
      const asked = requests.map(({ stream }) => stream);
      if (!asked.includes('ALL')) expect(positions.toSorted()).toEqual(asked.toSorted());
    }
  });
});

/** A follower of what the recorded worker asked for, connected. */
function following({ requests }: Capture, options: FollowerEndOptions = {}): FollowerEnd {
  const end = new FollowerEnd(options);
  if (requests[0]!.stream === 'ALL') end.subscribeAll('now');
  else for (const { stream, from } of requests) end.subscribe(stream, from === 'NOW' ? 'now' : from);
  end.start().open();
  return end;
}

/** SERVER and PING come first; the rest was sent after the requests. */
function divide({ lines, bytes }: Capture): { greeting: Buffer; rest: Buffer } {
  const greeting = Buffer.from(`${lines.primary.slice(0, 2).join('\n')}\n`);
  return { greeting, rest: bytes.primary.subarray(greeting.length) };
}

/** What was applied, in the form of the list beside the recording. */
function delivered(end: FollowerEnd): {
  listed: Expected[];
  runs: { readonly stream: StreamName; readonly token: Token }[];
} {
  const listed: Expected[] = [];
  const runs: { stream: StreamName; token: Token }[] = [];
  let batches = 0;
  for (const row of end.takeRows()) {
    const [, stream, position, live] = /^(\S+) @(\d+)( live)?$/.exec(row) ?? [];
    if (stream === undefined) {
      const { stream: of, token, rows } = end.batches[batches++]!;
      listed.push({ stream: of, token, rows });
    } else if (live !== undefined) {
      // The list has the POSITION lines, of which each stream has one: the one that makes it live. Those that move at the
      // end of a live run of rows are not listed.
      listed.push({ position: stream, token: Number(position) });
    } else runs.push({ stream, token: Number(position) });
  }
  return { listed, runs };
}

describe.each(titled)('%s: a worker of ours in the place of the recorded one', (_name, capture) => {
  const { greeting, rest } = divide(capture);

  test.each(deliveries)('delivers what the real primary sent, in order, no more and no less: %s', (_how, cut) => {
    const end = following(capture, { serverName: 'localhost:8823', limits: { maxLineBytes: SYNAPSE_LINE_BYTES } });
    const asked = end.hearBytes(greeting);
    expect(end.follower.isRowcast).toBe(false);
    expect(asked).toEqual(capture.lines.worker.filter((line) => line.startsWith('REPLICATE ')));
    for (const piece of cut(rest)) end.hearBytes(piece);
    end.hear('PING 1');

    const { listed, runs } = delivered(end);
    expect(listed).toEqual(capture.expected);
    expect(end.events.filter((kind) => kind === 'peer-error')).toEqual([]);
    expect(end.outputs.of('close')).toEqual([]);

    // Live positions only rise, and end at the highest token of the stream.
    const last = new Map<StreamName, Token>();
    for (const { stream, token } of runs) {
      expect(token).toBeGreaterThan(last.get(stream) ?? -1);
      last.set(stream, token);
    }
    for (const [stream, token] of last) {
      const tokens = capture.expected.flatMap((output) =>
        'stream' in output && output.stream === stream ? [output.token] : [],
      );
      expect(token, stream).toBe(Math.max(...tokens));
    }
  });

  test('the follower asks as the recorded worker did, is live, and would resume where the primary stands', () => {
    const { requests } = capture;
    const end = following(capture, { serverName: 'localhost:8823' });
    end.hearBytes(greeting);
    expect(end.outputs.story.filter((line) => line.startsWith('REPLICATE '))).toEqual(
      capture.lines.worker.filter((line) => line.startsWith('REPLICATE ')),
    );
    end.hearBytes(rest);
    end.hear('PING 1');
    expect(end.follower.isLive).toBe(true);
    expect(end.takeRows().filter((row) => / (failed|reset)/.test(row))).toEqual([]);

    const highest = new Map<StreamName, Token>();
    for (const output of capture.expected) {
      const stream = 'stream' in output ? output.stream : output.position;
      highest.set(stream, Math.max(output.token, highest.get(stream) ?? 0));
    }
    end.reconnect();
    const before = end.outputs.story.length;
    end.hearBytes(greeting);
    // A worker that follows ALL asks by name once ALL has said where each stream stands.
    if (requests[0]!.stream === 'ALL')
      end.hear(...capture.lines.primary.filter((line) => line.startsWith('POSITION ')));
    const resumed = end.outputs.story
      .slice(before)
      .filter((line) => line.startsWith('REPLICATE ') && !line.endsWith(' NOW'));
    expect(resumed.toSorted()).toEqual(
      [...highest].map(([stream, token]) => `REPLICATE ${stream} ${token}`).toSorted(),
    );
  });
});

// Who asked for ALL NOW had nothing to catch up with.
describe.each(titled.filter(([, { requests }]) => requests[0]!.stream !== 'ALL'))(
  '%s: a worker of ours that is cut off in its catch-up',
  (_name, capture) => {
    const { greeting, rest } = divide(capture);

    test('loses no row: what was not complete is asked for from the same place', () => {
      for (const share of [0.1, 0.3, 0.5, 0.7, 0.9]) {
        const end = following(capture);
        end.hearBytes(greeting);
        const heard = rest.subarray(0, Math.floor(rest.length * share));
        end.hearBytes(heard);
        end.reconnect();
        const before = end.outputs.story.length;
        end.hearBytes(greeting);
        const positions = new Set(
          heard
            .toString()
            .split('\n')
            .slice(0, -1)
            .filter((line) => line.startsWith('POSITION '))
            .map((line) => line.split(' ')[1]!),
        );
        const resumed = end.outputs.story.slice(before).filter((line) => line.startsWith('REPLICATE '));
        for (const { stream, from } of capture.requests) {
          if (!positions.has(stream)) expect(resumed, `cut at ${share}`).toContain(`REPLICATE ${stream} ${from}`);
        }
      }
    });
  },
);

describe.each(titled)('%s: a worker of ours that is cut off', (_name, capture) => {
  const { greeting, rest } = divide(capture);
  const isAll = capture.requests[0]!.stream === 'ALL';

  /** Rows of the recording that were not seen by `end`, each with the token that it belongs to. */
  function unseen(end: FollowerEnd): { stream: StreamName; token: Token }[] {
    const seen = new Map<string, number>();
    const count = (key: string, by: number): number => {
      seen.set(key, (seen.get(key) ?? 0) + by);
      return seen.get(key)!;
    };
    for (const { stream, token, rows } of end.batches)
      for (const row of rows) count(`${stream} ${token} ${JSON.stringify(row)}`, 1);
    return capture.expected.flatMap((output) => {
      if (!('stream' in output)) return [];
      const { stream, token, rows } = output;
      return rows.flatMap((row) =>
        count(`${stream} ${token} ${JSON.stringify(row)}`, -1) < 0 ? [{ stream, token }] : [],
      );
    });
  }

  // A primary sends again what is above the token that it is asked for, so nothing is lost that is above it.
  // SPEC P4
  test('at any line, and within any, has every row that it did not get above the token from which it resumes', () => {
    const ends = [...rest.entries()].flatMap(([at, byte]) => (byte === 0x0a ? [at + 1, Math.max(at - 5, 0)] : []));
    expect(ends.length).toBeGreaterThan(200);
    for (const at of ends) {
      const end = following(capture);
      end.hearBytes(greeting);
      end.hearBytes(rest.subarray(0, at));
      const missing = unseen(end);
      end.reconnect();
      const before = end.outputs.story.length;
      end.hearBytes(greeting);
      if (isAll) end.hear(...capture.lines.primary.filter((line) => line.startsWith('POSITION ')));
      const resumed = new Map(
        end.outputs.story.slice(before).flatMap((line) => {
          const [name, stream, from] = line.split(' ');
          // Who asks for NOW has not been told where the stream stands: there was nothing to miss.
          return name === 'REPLICATE' && from !== 'NOW' ? [[stream!, Number(from)] as const] : [];
        }),
      );
      const lost = missing.filter(({ stream, token }) => resumed.has(stream) && token <= resumed.get(stream)!);
      expect(lost, `cut after ${at} bytes`).toEqual([]);
    }
  });
});

describe.each(titled)('%s: a primary of ours in the place of the recorded one', (_name, capture) => {
  /** Streams standing where the real primary stood when the worker asked, with the rows that it then sent. */
  function streamsAsRecorded(): MemoryStreams {
    const positions = capture.expected.flatMap((output) => ('position' in output ? [output] : []));
    const streams = new MemoryStreams(...positions.map(({ position }) => position));
    for (const { position, token } of positions) {
      const from = capture.requests.find(({ stream }) => stream === position)?.from ?? 'NOW';
      const state = streams.get(position)!;
      state.earliest = (from === 'NOW' ? token : from) + 1;
      state.latest = token;
      const at = capture.expected.findIndex((output) => 'position' in output && output.position === position);
      const caughtUp = capture.expected
        .slice(0, at)
        .flatMap((output) => ('stream' in output && output.stream === position ? [output] : []));
      // Our tokens rise: rows that the real primary sent with repeated or falling tokens are one batch at its position.
      const rises = caughtUp.every(({ token: next }, i) => i === 0 || next > caughtUp[i - 1]!.token);
      if (rises) state.batches = caughtUp.map((batch) => ({ token: batch.token, rows: batch.rows }));
      else state.batches = [{ token, rows: caughtUp.flatMap(({ rows }) => rows) }];
    }
    return streams;
  }

  const conversation = (cut: (bytes: Buffer) => Generator<Uint8Array>): PrimaryEnd => {
    const end = new PrimaryEnd({
      serverName: 'localhost:8823',
      streams: streamsAsRecorded(),
      limits: { maxLineBytes: SYNAPSE_LINE_BYTES },
    });
    end.open();
    for (const piece of cut(capture.bytes.worker)) end.hearBytes(piece);
    return end;
  };

  test.each(deliveries)(
    'greets the real worker, brings it up to date, and refuses nothing it says: %s',
    (_how, cut) => {
      const end = conversation(cut);
      const said = end.outputs.story.filter((line) => /^[A-Z]/.test(line));
      expect(said.slice(0, 2)).toEqual(['SERVER localhost:8823', expect.stringMatching(new RegExp(`^PING ${T0} `))]);
      expect(said.filter((line) => line.startsWith('ERROR'))).toEqual([]);
      expect(end.isClosing).toBe(false);

      const positions = capture.lines.primary.filter((line) => line.startsWith('POSITION '));
      expect(said.filter((line) => line.startsWith('POSITION ')).toSorted()).toEqual(positions.toSorted());
      for (const line of said) expect(Buffer.byteLength(line)).toBeLessThanOrEqual(SYNAPSE_LINE_BYTES);

      // Every row of the catch-up, and of each stream all of them before its POSITION.
      for (const { stream: name, batches, latest } of [...end.streams.names()].map(
        (stream) => end.streams.get(stream)!,
      )) {
        const ofStream = said.filter(
          (line) => line.startsWith(`RDATA ${name} `) || line === `POSITION ${name} ${latest}`,
        );
        expect(ofStream.at(-1)).toBe(`POSITION ${name} ${latest}`);
        const rows = ofStream.slice(0, -1).map((line) => decodeCommand(line, 'primary', 'seed'));
        expect(rows.map((command) => command.name === 'RDATA' && command.row)).toEqual(
          batches.flatMap((batch) => batch.rows),
        );
      }
      expect(end.session.subscriptions.every(({ state }) => state === 'live')).toBe(true);
    },
  );

  test.each(deliveries)('tells what the real worker said, in order: %s', (_how, cut) => {
    const end = conversation(cut);
    const said = capture.lines.worker.map((line) => decodeCommand(line, 'worker', 'seed'));
    const upstream = new Set<Command['name']>([
      'USER_SYNC',
      'USER_IP',
      'FEDERATION_ACK',
      'REMOVE_PUSHER',
      'INVALIDATE_CACHE',
      'SYNC',
    ]);
    const commands = end.outputs.of('event').flatMap(({ event }) => (event.kind === 'command' ? [event.command] : []));
    expect(commands).toEqual(said.filter(({ name }) => upstream.has(name)));
    const [named] = said.flatMap((command) => (command.name === 'NAME' ? [command.workerName] : []));
    expect(end.session.workerName).toBe(named);
    const subscribed = end.outputs
      .of('event')
      .flatMap(({ event }) => (event.kind === 'subscribed' ? [`${event.stream} ${event.from}`] : []));
    const asked = capture.requests.flatMap(({ stream, from }) =>
      (stream === 'ALL' ? [...end.streams.names()] : [stream]).map((name) => `${name} ${from}`),
    );
    expect(subscribed).toEqual(asked);
  });

  test('gives it live rows as they are appended', () => {
    const end = conversation(deliveries[0]![1]);
    for (const stream of end.streams.names()) {
      const next = end.streams.get(stream)!.latest + 1;
      expect(end.append(stream, ['@a:b', 'x'], null)).toEqual([
        `RDATA ${stream} batch ["@a:b","x"]`,
        `RDATA ${stream} ${next} null`,
      ]);
    }
  });
});

describe('what a real primary does with bad input, and ours, which is at least as kind', () => {
  const opened = (): PrimaryEnd =>
    PrimaryEnd.opened({ streams: new MemoryStreams('events'), limits: { maxLineBytes: SYNAPSE_LINE_BYTES } });
  const line = (bytes: number): string => `NAME ${'x'.repeat(bytes - 'NAME '.length)}`;

  test.each<[real: string, input: string | Buffer]>([
    ['drops the connection without a word on a blank line', '\n'],
    ['drops the connection without a word on a bare word', 'PING\n'],
    ['refuses a CR before the line end', 'REPLICATE events NOW\r\n'],
    ['fails at a subscription that is in the future by answering a lower POSITION', 'REPLICATE events 99\n'],
    ['takes a line of 16,384 bytes', `${line(16_384)}\n`],
    ['takes -1 as a token', 'REPLICATE events -1\n'],
    ['takes NAME twice', 'NAME a\nNAME b\n'],
  ])('the real one %s; ours goes on', (_real, input) => {
    const end = opened();
    end.hearBytes(Buffer.from(input as string));
    expect(end.isClosing).toBe(false);
    expect(end.hear('REPLICATE events NOW').at(-1)).toBe('POSITION events 0');
  });

  test.each<[real: string, input: Buffer, ours: string]>([
    ['says `invalid command: FOO`', bytesOf('FOO bar'), 'ERROR invalid command: FOO'],
    [
      "says a Python exception: `failed to parse line for  'REPLICATE': ValueError(…)`",
      bytesOf('REPLICATE events abc'),
      'ERROR failed to parse line for REPLICATE: expected a token (0 to 2^53-1), not abc',
    ],
    [
      "says `failed to handle replicate: Exception('unknown stream %s', 'nosuch')`",
      bytesOf('REPLICATE nosuch NOW'),
      'ERROR unknown stream nosuch',
    ],
    ['says `Line length exceeded` at 16,385 bytes', bytesOf(line(16_385)), 'ERROR Line length exceeded'],
    ['hangs up without a word on what is not UTF-8', Buffer.from([0xff, 0x0a]), 'ERROR invalid UTF-8'],
  ])('the real one %s, and closes; ours says why, and closes', (_real, input, ours) => {
    const end = opened();
    expect(end.hearBytes(input)).toEqual([ours]);
    expect(end.isClosing).toBe(true);
  });

  test('the real worker hangs up at a wrong SERVER and says `Wrong remote`; ours too', () => {
    const end = new WorkerEnd({ serverName: 'localhost:8823' });
    end.open();
    expect(end.hear('SERVER example.com')).toEqual(['ERROR Wrong remote']);
  });

  test('the real worker takes no SERVER at all; ours too, after a second', () => {
    const end = new WorkerEnd({ serverName: 'localhost:8823' });
    end.open();
    end.passTime(1_000);
    expect(end.outputs.of('greeted')).toEqual([{ kind: 'greeted', eras: undefined }]);
  });

  test('the real worker goes on at a stream and a row that it does not know; ours too', () => {
    const end = new FollowerEnd();
    end.subscribe('events', 'now');
    end.greetedBy(SYNAPSE);
    end.hear('POSITION events 5', 'RDATA nosuch 1 ["x"]', 'RDATA events 6 []', 'POSITION nosuch 7');
    expect(end.takeRows()).toEqual(['events @5 live', 'events 6 [[]]', 'events @6']);
    expect(end.outputs.of('close')).toEqual([]);
  });

  test('the real worker answers an unknown command by ERROR, and closes; ours too', () => {
    const end = WorkerEnd.greeted({}, SYNAPSE);
    expect(end.hear('FOO bar')).toEqual(['ERROR invalid command: FOO']);
    expect(end.outputs.of('close')).toHaveLength(1);
  });
});
