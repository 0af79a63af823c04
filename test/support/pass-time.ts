/** Time that passes for public classes on a virtual clock, over a transport in memory. */

import type { VirtualClock } from '../../src/testing/virtual-clock.ts';
import { settle } from './deployment.ts';

/**
 * Lets time pass, with turns of the event loop between what the clock wakes.
 * @param uncaught gets what is thrown in turns of its own. Left out: it is thrown here.
 */
export async function pass(clock: VirtualClock, ms: number, uncaught?: unknown[]): Promise<void> {
  const until = clock.now() + ms;
  for (let isBusy = true; isBusy; ) {
    await settle();
    try {
      isBusy = clock.step(until);
      if (isBusy) continue;
      await settle();
      isBusy = clock.step(until);
    } catch (thrown) {
      if (uncaught === undefined) throw thrown;
      uncaught.push(thrown);
    }
  }
}
