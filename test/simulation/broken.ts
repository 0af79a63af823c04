/** Machines that are broken on purpose, one way each: what the checkers must find. */

import { CrashableLog } from '../../src/testing/crashable-log.ts';
import type { WorldParts } from '../../src/testing/world-result.ts';
import type { Millis } from '../../src/base/clock.ts';
import { PeerError } from '../../src/core/model/errors.ts';
import type { Position } from '../../src/core/model/position.ts';
import type { Page } from '../../src/core/model/page.ts';
import type { RowText } from '../../src/core/model/row.ts';
import type { StreamName } from '../../src/core/model/stream.ts';
import { Follower, type FollowerOptions, type FollowerOutput } from '../../src/core/follow/follower.ts';
import {
  type PrimaryOutput,
  PrimarySession,
  type PrimarySessionOptions,
} from '../../src/core/sessions/primary-session.ts';

/** A primary's session that changes the lines of a page on their way. */
function changesLines(change: (lines: string[]) => string[]): Partial<WorldParts> {
  class Broken extends PrimarySession {
    override handlePage(now: Millis, page: Page): void {
      const lines = Buffer.from(page.lines).toString('utf8').split('\n').slice(0, -1);
      const changed = change(lines).map((line) => `${line}\n`);
      super.handlePage(now, { ...page, lines: Buffer.from(changed.join('')) });
    }
  }
  return { makeSession: (options) => new Broken(options) };
}

/** A primary's session that does not say what it should. */
function swallows(isSwallowed: (output: PrimaryOutput, text: string) => boolean): Partial<WorldParts> {
  class Broken extends PrimarySession {
    override pollOutput(): PrimaryOutput | undefined {
      for (;;) {
        const output = super.pollOutput();
        if (output?.kind !== 'transmit' || !isSwallowed(output, Buffer.from(output.bytes).toString('utf8')))
          return output;
      }
    }
  }
  return { makeSession: (options) => new Broken(options) };
}

/** A primary's session with other limits than it should have. */
function limits(limit: Partial<PrimarySessionOptions['limits']>): Partial<WorldParts> {
  return {
    makeSession: (options) =>
      new PrimarySession({ ...options, slowConsumer: 'disconnect', limits: { ...options.limits, ...limit } }),
  };
}

/** A follower that turns an output into others. */
function translates(translate: (output: FollowerOutput) => FollowerOutput[]): Partial<WorldParts> {
  class Broken extends Follower {
    readonly #translated: FollowerOutput[] = [];

    override pollOutput(now: Millis): FollowerOutput | undefined {
      for (;;) {
        const waiting = this.#translated.shift();
        if (waiting !== undefined) return waiting;
        const output = super.pollOutput(now);
        if (output === undefined) return undefined;
        this.#translated.push(...translate(output));
      }
    }
  }
  return { makeFollower: (options) => new Broken(options) };
}

const isInside = (line: string): boolean => line.split(' ', 3)[2] === 'batch';
const tokenOf = (line: string): string => line.split(' ', 3)[2]!;
const rowOf = (line: string): string => line.slice(line.indexOf('{'));

/** The first batch of several rows, as the places of its first and its last line. */
function findLargeBatch(lines: readonly string[]): { first: number; last: number } | undefined {
  const first = lines.findIndex(isInside);
  if (first < 0) return undefined;
  return { first, last: lines.findIndex((line, i) => i > first && !isInside(line)) };
}

export const dropsARow: Partial<WorldParts> = changesLines((lines) => {
  const batch = findLargeBatch(lines);
  return lines.filter((_, i) => i !== batch?.first);
});

export const dropsABatch: Partial<WorldParts> = changesLines((lines) => {
  const end = lines.findIndex((line) => !isInside(line));
  return end + 1 < lines.length ? lines.slice(end + 1) : lines;
});

export const swapsRows: Partial<WorldParts> = changesLines((lines) => {
  const batch = findLargeBatch(lines);
  if (batch === undefined) return lines;
  const [first, second] = [lines[batch.first]!, lines[batch.first + 1]!];
  return lines.map((line, i) => {
    if (i === batch.first) return first.replace(rowOf(first), () => rowOf(second));
    if (i === batch.first + 1) return second.replace(rowOf(second), () => rowOf(first));
    return line;
  });
});

export const splitsABatch: Partial<WorldParts> = changesLines((lines) => {
  const batch = findLargeBatch(lines);
  return lines.map((line, i) =>
    i === batch?.first ? line.replace(' batch ', ` ${tokenOf(lines[batch.last]!)} `) : line,
  );
});

export const joinsBatches: Partial<WorldParts> = changesLines((lines) => {
  const end = lines.findIndex((line) => !isInside(line));
  return lines.map((line, i) =>
    i === end && end + 1 < lines.length ? line.replace(` ${tokenOf(line)} `, ' batch ') : line,
  );
});

export const repeatsABatch: Partial<WorldParts> = translates((output) =>
  output.kind === 'batch' ? [output, { ...output, bytes: 0 }] : [output],
);

export const movesPositionEarly: Partial<WorldParts> = translates((output) => {
  if (output.kind !== 'batch' || output.position === undefined) return [output];
  return [{ kind: 'position', stream: output.stream, position: output.position, isLive: false }, output];
});

export const tellsNoHistory: Partial<WorldParts> = translates((output) => {
  return [output.kind === 'position' ? { ...output, position: { token: output.position.token } } : output];
});

export const letsPositionFall: Partial<WorldParts> = translates((output) => {
  if (output.kind !== 'batch' || output.position === undefined || output.token < 3) return [output];
  return [
    output,
    {
      kind: 'position',
      stream: output.stream,
      position: { ...output.position, token: output.token - 2 },
      isLive: false,
    },
  ];
});

export const tellsFalseReset: Partial<WorldParts> = translates((output) => {
  if (output.kind !== 'batch' || output.token < 5) return [output];
  return [
    output,
    { kind: 'reset', stream: output.stream, position: output.position, error: new PeerError('RESET', 'for no reason') },
  ];
});

export const hidesReset: Partial<WorldParts> = translates((output) =>
  output.kind === 'reset' && output.error.code === 'RESET' ? [] : [output],
);

export const takesWithoutEnd: Partial<WorldParts> = {
  makeFollower: (options: FollowerOptions) => {
    class Broken extends Follower {
      override pollOutput(now: Millis): FollowerOutput | undefined {
        const output = super.pollOutput(now);
        // It believes that the application is as quick as the network.
        if (output?.kind === 'batch') super.handleApplied(now, output.bytes);
        return output;
      }

      override handleApplied(): void {}
    }
    return new Broken(options);
  },
};

export const keepsReading: Partial<WorldParts> = translates((output) => (output.kind === 'pause' ? [] : [output]));

export const sendsWithoutEnd: Partial<WorldParts> = {
  makeSession: (options) => {
    class Broken extends PrimarySession {
      override handlePage(now: Millis, page: Page): void {
        super.handlePage(now, page);
        // It believes that the socket takes everything.
        super.handleDrained(now);
      }
    }
    return new Broken(options);
  },
};

export const sendsNoPosition: Partial<WorldParts> = swallows((_, text) => text.startsWith('POSITION '));

/** The first PING, with the greeting, still goes out. */
export const sendsNoKeepAlive: Partial<WorldParts> = swallows(
  (_, text) => text.startsWith('PING ') && !text.includes('rowcast/'),
);

export const noticesNoSilence: Partial<WorldParts> = limits({ idleTimeoutMs: 5_000, stalledTimeoutMs: 5_000 });

export const callsEveryoneSlow: Partial<WorldParts> = limits({ stalledTimeoutMs: 10 });

export const forgetsHints: Partial<WorldParts> = {
  makeSession: (options) => {
    class Broken extends PrimarySession {
      override handleHint(): void {}
    }
    return new Broken(options);
  },
};

export const throwsOnInput: Partial<WorldParts> = {
  makeSession: (options) => {
    class Broken extends PrimarySession {
      override handleBytes(now: Millis, chunk: Uint8Array): void {
        if (chunk.length === 3) throw new Error('three bytes are too many');
        super.handleBytes(now, chunk);
      }
    }
    return new Broken(options);
  },
};

export const throwsOnAnswer: Partial<WorldParts> = {
  makeSession: (options) => {
    class Broken extends PrimarySession {
      override handlePage(): void {
        throw new Error('no page is good enough');
      }
    }
    return new Broken(options);
  },
};

export const acknowledgesEarly: Partial<WorldParts> = {
  makeLog: (options) => {
    class Broken extends CrashableLog {
      override append(stream: StreamName, rows: readonly RowText[]): Promise<Position> {
        void super.append(stream, rows);
        return Promise.resolve({ stream, token: this.bounds(stream).latest + 1, history: this.era });
      }
    }
    return new Broken(options);
  },
};

export const storesEarly: Partial<WorldParts> = { storesEarly: true };
