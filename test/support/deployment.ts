/**
 * Primaries and workers joined in memory, for tests. Everything that was started ends with the
 * test.
 */

import { onTestFinished } from 'vitest';
import type { Position } from '../../src/core/model/position.ts';
import type { Stream, StreamName } from '../../src/core/model/stream.ts';
import type { Token } from '../../src/core/model/token.ts';
import type { Log } from '../../src/log/log.ts';
import { memoryLog } from '../../src/log/memory.ts';
import { createPrimary, type Primary } from '../../src/primary/primary.ts';
import type { PrimaryOptions } from '../../src/primary/options.ts';
import { createMemoryTransport, type MemoryTransport } from '../../src/transport/memory.ts';
import type { WorkerOptions } from '../../src/worker/options.ts';
import { createWorker, type Worker } from '../../src/worker/worker.ts';

/** The address of a deployment's primary. */
export const ADDRESS = { path: '/primary' };

export interface Deployment {
  readonly transport: MemoryTransport;
  primary(options: Partial<PrimaryOptions> & Pick<PrimaryOptions, 'streams'>): Promise<Primary>;
  worker(options?: Partial<WorkerOptions>): Worker;
}

/** Workers reconnect after a millisecond unless the test says otherwise. */
export function deploy(transport: MemoryTransport = createMemoryTransport()): Deployment {
  return {
    transport,
    async primary(options) {
      const log = options.log ?? memoryLog();
      const primary = await createPrimary({ name: 'example.com', transport, ...options, log });
      logs.set(primary, log);
      onTestFinished(() => primary.close().catch(wasAbandoned));
      // With real sockets the test chooses the address: this path would be shared by all tests of
      // the machine.
      if (options.transport === undefined) await primary.listen(ADDRESS);
      return primary;
    },
    worker({ limits, ...options } = {}) {
      const worker = createWorker({
        name: 'reader-1',
        connect: ADDRESS,
        transport,
        limits: { minBackoffMs: 1, maxBackoffMs: 1, ...limits },
        ...options,
      });
      onTestFinished(() => worker.stop().catch(wasAbandoned));
      return worker;
    },
  };
}

/** The test has given up the end already. */
function wasAbandoned(error: { readonly code?: unknown }): void {
  if (error.code !== 'STOP_TIMEOUT') throw error as Error;
}

/** Lets everything happen that needs no time: in memory a hop takes one turn of the event loop. */
export async function settle(turns = 25): Promise<void> {
  for (let i = 0; i < turns; i++) {
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
  }
}

/**
 * The position of a token in the history of the stream's newest row, or in the era that the primary
 * writes now.
 */
export function placeOf(primary: Primary, stream: Stream | StreamName, token: Token): Position {
  const latest = primary.position(stream);
  return { ...latest, token, history: latest.token > 0 ? latest.history : logs.get(primary)!.era };
}

const logs = new WeakMap<Primary, Log>();
