/** Primaries and workers joined in memory, for tests: everything that was started is ended with the test. */

import { onTestFinished } from 'vitest';
import { memoryLog } from '../../src/log/memory.ts';
import { createPrimary, type Primary, type PrimaryOptions } from '../../src/primary/primary.ts';
import { createMemoryTransport, type MemoryTransport } from '../../src/transport/memory.ts';
import type { WorkerOptions } from '../../src/worker/options.ts';
import { createWorker, type Worker } from '../../src/worker/worker.ts';

/** Where the primary of a deployment listens. */
export const ADDRESS = { path: '/primary' };

export interface Deployment {
  readonly transport: MemoryTransport;
  primary(options: Partial<PrimaryOptions> & Pick<PrimaryOptions, 'streams'>): Promise<Primary>;
  worker(options?: Partial<WorkerOptions>): Worker;
}

/** Workers come back after a millisecond, where the test does not say otherwise. */
export function deploy(transport: MemoryTransport = createMemoryTransport()): Deployment {
  return {
    transport,
    async primary(options) {
      const primary = await createPrimary({ name: 'example.com', log: memoryLog(), transport, ...options });
      onTestFinished(() => primary.close());
      await primary.listen(ADDRESS);
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
      onTestFinished(() => worker.stop());
      return worker;
    },
  };
}

/** Lets everything happen that needs no time: in memory a hop takes one turn of the event loop. */
export async function settle(turns = 25): Promise<void> {
  for (let i = 0; i < turns; i++) {
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
  }
}
