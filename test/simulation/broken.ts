/** Machines that are broken on purpose, one way each: what the checkers must find. */

import type { DiskStream } from '../../src/testing/fake-disk.ts';
import { FakeLog } from '../../src/testing/fake-log.ts';
import type { WorldParts } from '../../src/testing/world-result.ts';
import { PeerError, type RowcastError } from '../../src/core/model/errors.ts';
import type { Verdict } from '../../src/core/model/page.ts';
import type { Position } from '../../src/core/model/position.ts';
import type { RowText } from '../../src/core/model/row.ts';
import type { StreamName } from '../../src/core/model/stream.ts';
import { createPrimary } from '../../src/primary/primary.ts';
import type { PrimaryOptions } from '../../src/primary/options.ts';
import type { Connection } from '../../src/transport/transport.ts';
import type { SubscribeOptions } from '../../src/worker/options.ts';
import type { BatchHandler } from '../../src/worker/subscription.ts';
import { createWorker, Worker } from '../../src/worker/worker.ts';

type Broken = Partial<WorldParts>;
type Lines = string[];

/** A connection that does something else where it is told to. */
function connection(side: 'worker' | 'primary', change: (real: Connection) => Partial<Connection>): Broken {
  return {
    connection: (end, of) => {
      if (of !== side) return end;
      const changed = change(end);
      return new Proxy<Connection>(end, {
        get(target, name: keyof Connection) {
          const own = changed[name];
          if (own !== undefined) return own;
          const value = target[name];
          return typeof value === 'function' ? value.bind(target) : value;
        },
      });
    },
  };
}

/** A primary that changes lines on their way. */
function changesLines(change: (lines: Lines) => Lines): Broken {
  return connection('primary', (real) => ({
    write: (bytes) => {
      const lines = Buffer.from(bytes).toString('utf8').split('\n').slice(0, -1);
      const changed = change(lines).map((line) => `${line}\n`);
      return real.write(Buffer.from(changed.join('')));
    },
  }));
}

/** A primary that does not say what it should. */
function swallows(isSwallowed: (line: string) => boolean): Broken {
  return changesLines((lines) => lines.filter((line) => !isSwallowed(line)));
}

/** A primary with other limits than it should have. */
function limits(limit: PrimaryOptions['limits']): Broken {
  return {
    makePrimary: (options) =>
      createPrimary({ ...options, slowConsumer: 'disconnect', limits: { ...options.limits, ...limit } }),
  };
}

function worker(BrokenWorker: new (options: ConstructorParameters<typeof Worker>[0]) => Worker): Broken {
  return { makeWorker: (options) => new BrokenWorker(options) };
}

const isRow = (line: string): boolean => line.startsWith('RDATA ');
const isInside = (line: string): boolean => isRow(line) && line.split(' ', 3)[2] === 'batch';
const isLast = (line: string): boolean => isRow(line) && !isInside(line);
const tokenOf = (line: string): string => line.split(' ', 3)[2]!;
const rowOf = (line: string): string => line.slice(line.indexOf('{'));

/** The first batch of several rows, as the places of its first and its last line. */
function findLargeBatch(lines: Readonly<Lines>): { first: number; last: number } | undefined {
  const first = lines.findIndex(isInside);
  if (first < 0) return undefined;
  return { first, last: lines.findIndex((line, i) => i > first && isLast(line)) };
}

export const dropsARow: Broken = changesLines((lines) => {
  const batch = findLargeBatch(lines);
  return lines.filter((_, i) => i !== batch?.first);
});

export const splitsABatch: Broken = changesLines((lines) => {
  const batch = findLargeBatch(lines);
  return lines.map((line, i) =>
    i === batch?.first ? line.replace(' batch ', ` ${tokenOf(lines[batch.last]!)} `) : line,
  );
});

export const joinsBatches: Broken = changesLines((lines) => {
  const end = lines.findIndex(isLast);
  return lines.map((line, i) =>
    i === end && lines[end + 1] !== undefined && isRow(lines[end + 1]!)
      ? line.replace(` ${tokenOf(line)} `, ' batch ')
      : line,
  );
});

export const dropsABatch: Broken = changesLines((lines) => {
  const first = lines.findIndex(isLast);
  const isFollowed = lines.some((line, i) => i > first && isLast(line));
  return isFollowed ? lines.filter((line, i) => i > first || !isRow(line)) : lines;
});

export const swapsRows: Broken = changesLines((lines) => {
  const batch = findLargeBatch(lines);
  if (batch === undefined) return lines;
  const [first, second] = [lines[batch.first]!, lines[batch.first + 1]!];
  return lines.map((line, i) => {
    if (i === batch.first) return first.replace(rowOf(first), () => rowOf(second));
    if (i === batch.first + 1) return second.replace(rowOf(second), () => rowOf(first));
    return line;
  });
});

export const repeatsABatch: Broken = worker(
  class extends Worker {
    override subscribe<Row>(
      ...[stream, options, handler]: Parameters<typeof Worker.prototype.subscribe<Row>>
    ): ReturnType<Worker['subscribe']> {
      const twice: BatchHandler<Row> = async (batch) => {
        await handler(batch);
        await handler(batch);
      };
      return super.subscribe(stream, options, twice);
    }
  },
);

/** Positions that are saved before the rows up to there are applied. */
export const savesEarly: Broken = {
  checkpoint: (checkpoint) => ({
    load: () => checkpoint.load(),
    save: (changed, all) =>
      checkpoint.save(new Map([...changed].map(([key, at]) => [key, at && { ...at, token: at.token + 1 }])), all),
  }),
};

/** A place in a stream that was deleted stays in the checkpoint. */
export const savesForEver: Broken = {
  checkpoint: (checkpoint) => ({
    load: () => checkpoint.load(),
    save: (changed, all) => checkpoint.save(new Map([...changed].filter(([, at]) => at !== undefined)), all),
  }),
};

/** Where a pattern is followed from now on, the first batch of each of its streams is lost. */
export const missesFirstRows: Broken = worker(
  class extends Worker {
    override subscribeMatching<Row>(
      ...[pattern, options, handler]: Parameters<typeof Worker.prototype.subscribeMatching<Row>>
    ): void {
      super.subscribeMatching(pattern, options, withoutFirst(options, handler));
    }

    override subscribeAll(...[options, handler]: Parameters<typeof Worker.prototype.subscribeAll>): void {
      super.subscribeAll(options, withoutFirst(options, handler));
    }
  },
);

function withoutFirst<Row>({ from, fallback }: SubscribeOptions, handler: BatchHandler<Row>): BatchHandler<Row> {
  if (from !== 'now' && fallback !== 'now') return handler;
  const begun = new Set<StreamName>();
  return (batch) => {
    if (begun.has(batch.stream)) return handler(batch);
    begun.add(batch.stream);
    return undefined;
  };
}

export const tellsNoDeletion: Broken = {
  makeWorker: (options) => {
    const made = createWorker(options);
    const emit = made.emit.bind(made) as (name: string, ...told: unknown[]) => boolean;
    const isDeletion = (told: unknown): boolean => (told as { error?: RowcastError }).error?.facts['deleted'] === true;
    made.emit = ((name: string, ...told: unknown[]) =>
      name === 'reset' && isDeletion(told[0]) ? true : emit(name, ...told)) as typeof made.emit;
    return made;
  },
};

/** What it deleted is there again when it is opened. */
export const deletesInMemoryAlone: Broken = {
  makeLog: (options) => {
    const { disk } = options;
    const deleted = new Map<StreamName, DiskStream>();
    class ForgetfulLog extends FakeLog {
      override async delete(stream: StreamName): Promise<void> {
        const kept = this.truth(stream);
        await super.delete(stream);
        deleted.set(stream, kept);
      }

      override crash(): void {
        super.crash();
        disk.restore({ ...disk.state, streams: new Map([...deleted, ...disk.state.streams]) });
      }
    }
    return new ForgetfulLog(options);
  },
};

export const tellsFalseReset: Broken = {
  makeWorker: (options) => {
    const made = createWorker(options);
    made.on('live', ({ stream }) => {
      // Once everyone has heard where the stream stands.
      queueMicrotask(() => made.emit('reset', { stream, error: new PeerError('RESET', 'for no reason') }));
    });
    return made;
  },
};

export const waitsTooShort: Broken = worker(
  class extends Worker {
    override async waitFor(): Promise<void> {}
  },
);

export const waitsForEver: Broken = worker(
  class extends Worker {
    override async waitFor(): Promise<void> {
      return new Promise(() => {});
    }
  },
);

export const neverStops: Broken = worker(
  class extends Worker {
    override async stop(): Promise<void> {
      await super.stop();
      return new Promise(() => {});
    }
  },
);

export const keepsReading: Broken = connection('worker', () => ({ pause: () => {} }));

/** It believes that the socket takes everything. */
export const sendsWithoutEnd: Broken = connection('primary', (real) => ({
  write: (bytes) => {
    real.write(bytes);
    return true;
  },
}));

export const hangsUp: Broken = connection('primary', (real) => {
  let writes = 0;
  return {
    write: (bytes) => {
      const isTaken = real.write(bytes);
      if (++writes === 5) real.close();
      return isTaken;
    },
  };
});

export const throwsOnOutput: Broken = connection('primary', (real) => ({
  write: (bytes) => {
    if (bytes.length % 13 === 0) throw new Error('an unlucky number of bytes');
    return real.write(bytes);
  },
}));

/** Says where new rows begin, but never says that a catch-up has ended. */
export const sendsNoPosition: Broken = connection('primary', (real) => {
  const begun = new Set<string>();
  return {
    write: (bytes) => {
      const lines = Buffer.from(bytes).toString('utf8').split('\n').slice(0, -1);
      const said = lines.filter((line) => {
        const [name, stream] = line.split(' ', 2);
        if (name === 'HISTORY' || name === 'RDATA') begun.add(stream!);
        return name !== 'POSITION' || !begun.has(stream!);
      });
      return real.write(Buffer.from(said.map((line) => `${line}\n`).join('')));
    },
  };
});

/** The first PING, with the greeting, still goes out. */
export const sendsNoKeepAlive: Broken = swallows((line) => line.startsWith('PING ') && !line.includes('rowcast/'));

export const noticesNoSilence: Broken = limits({ idleTimeoutMs: 5_000, stalledTimeoutMs: 5_000 });

export const callsEveryoneSlow: Broken = limits({ stalledTimeoutMs: 10 });

export const forgetsHints: Broken = {
  makeLog: (options) => {
    class ForgetfulLog extends FakeLog {
      override watch(): () => void {
        return () => {};
      }
    }
    return new ForgetfulLog(options);
  },
};

export const acknowledgesEarly: Broken = {
  makeLog: (options) => {
    class HastyLog extends FakeLog {
      override append(stream: StreamName, rows: readonly RowText[]): ReturnType<FakeLog['append']> {
        void super.append(stream, rows);
        return Promise.resolve({ stream, token: this.bounds(stream).latest + 1, history: this.era });
      }
    }
    return new HastyLog(options);
  },
};

/** Numbers are all that it compares. */
export const knowsNoHistories: Broken = {
  makeLog: (options) => {
    class TrustingLog extends FakeLog {
      override judge(position: Position): Verdict | Promise<Verdict> {
        const verdict = super.judge(position);
        const trusting = (judged: Verdict): Verdict =>
          judged === 'reset' && position.token <= this.bounds(position.stream).latest ? 'on' : judged;
        return verdict instanceof Promise ? verdict.then(trusting) : trusting(verdict);
      }
    }
    return new TrustingLog(options);
  },
};
