/** Checks that the ends of a dead link are closed within the time of keep-alive. */

import type { Clock } from '../base/clock.ts';
import type { SessionLimits } from '../core/wire/limits.ts';
import type { FakeLink } from './fake-link.ts';
import type { Happening } from './happening.ts';

export interface WatchDeadOptions {
  readonly clock: Clock;
  readonly limits: SessionLimits;
  readonly tell: (happening: Happening) => void;
}

export function watchDead(link: FakeLink, { clock, limits, tell }: WatchDeadOptions): void {
  // Silence, then an ERROR that is not taken, then a moment to report the end.
  const maxMs = limits.idleTimeoutMs + limits.flushTimeoutMs + 20;
  const [, primary] = link.ends;
  for (const end of link.ends) {
    const look = (): void => {
      // A primary waits for ever for a peer that has not sent a first PING: it may be a person with
      // netcat.
      if (!end.isOpen || (end === primary && !end.hasGreeting)) return;
      // An end that does not read cannot tell whether the peer is silent.
      if (end.isPaused) return void clock.wakeIn(maxMs, look);
      const deadMs = clock.now() - Math.max(link.diedAt!, end.resumedAt);
      if (deadMs <= maxMs) return void clock.wakeIn(maxMs - deadMs + 1, look);
      tell({ kind: 'half-dead', who: end.peer, deadMs, maxMs });
    };
    clock.wakeIn(maxMs + 1, look);
  }
}
