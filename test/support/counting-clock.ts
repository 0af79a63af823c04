/** A virtual clock that counts the timers that wait: what a process leaves behind shows there. */

import type { Millis, Timer } from '../../src/base/clock.ts';
import { VirtualClock } from '../../src/testing/virtual-clock.ts';

export class CountingClock extends VirtualClock {
  waiting = 0;

  override wakeIn(delayMs: Millis, wake: () => void): Timer {
    let isOver = false;
    const end = (): void => {
      if (!isOver) this.waiting--;
      isOver = true;
    };
    this.waiting++;
    const timer = super.wakeIn(delayMs, () => {
      end();
      wake();
    });
    return {
      cancel: () => {
        end();
        timer.cancel();
      },
    };
  }
}
