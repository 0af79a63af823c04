import { test } from 'vitest';

import type { Clock } from '../base/clock.ts';
import { seededRandom } from '../base/random.ts';
import { FakeDisk } from './fake-disk.ts';
import { FakeLog, type FakeLogTimes } from './fake-log.ts';
import { logSuite } from './log-suite.ts';
import { CommittedBatches } from './world-rows.ts';

const times: FakeLogTimes = {
  maxCommitMs: 0,
  maxHintMs: 0,
  maxReadMs: 0,
  failsPercent: 0,
  chunksPercent: 100,
  syncedPercent: 100,
  skipsPercent: 0,
};
/** As an embedded file, and as a source that is elsewhere. */
const kinds: readonly (readonly [name: string, times: FakeLogTimes])[] = [
  ['simulated log', times],
  ['slow simulated log', { ...times, maxCommitMs: 5, maxHintMs: 5, maxReadMs: 5, chunksPercent: 0 }],
];

for (const [name, ofKind] of kinds) {
  const disks = new Map<string, FakeDisk>();
  logSuite(test, {
    name,
    create: ({ directory, clock }) => {
      const disk = disks.get(directory) ?? FakeDisk.empty('0123456789abcdef');
      disks.set(directory, disk);
      const random = seededRandom(1);
      const committed = new CommittedBatches();
      return new FakeLog({
        ...ofKind,
        name,
        disk,
        clock: soon(clock),
        random,
        committed,
        wallPace: 1,
        onThrown: fail,
      });
    },
    supports: {
      durable: true,
      ids: false,
      explicitTokens: false,
      relays: false,
      backup: false,
      acknowledgements: false,
      // Half of its answers are no promises.
      foreignHints: false,
    },
  });
}

/** The test moves the clock by which rows age. Nothing else may wait for that. */
function soon(clock: Clock): Clock {
  return {
    now: () => clock.now(),
    wallNow: () => clock.wallNow(),
    wakeIn: (_delayMs, wake) => {
      setImmediate(wake);
      return { cancel: () => {} };
    },
  };
}

function fail(thrown: unknown): never {
  throw thrown;
}
