/** All checkers of a world, and those of what is not about rows: durability, memory, connections, and the end. */

import type { Happening } from './happening.ts';
import {
  AtLeastOnce,
  EachRowOnce,
  HonestPositions,
  InOrder,
  NothingMissing,
  TrueResets,
  WholeBatches,
} from './checkers-of-rows.ts';
import type { Truth } from './truth.ts';

/** Sees everything that happens, in order. Says what is wrong at once, and undefined while nothing is. */
export interface Checker {
  readonly name: string;
  see(happening: Happening): string | undefined;
}

export function allCheckers(truth: Truth): Checker[] {
  return [
    new NothingThrows(),
    new AcknowledgedIsKept(truth),
    new EachRowOnce(),
    new InOrder(truth),
    new WholeBatches(truth),
    new NothingMissing(truth),
    new HonestPositions(truth),
    new AtLeastOnce(),
    new TrueResets(truth),
    new BoundedMemory(),
    new KeepAliveHolds(),
    new SlowMeansSlow(),
    new EveryoneReachesLatest(),
  ];
}

/** An exception that nobody caught is a bug, whoever caused it. */
class NothingThrows implements Checker {
  readonly name = 'nothing throws';

  see(happening: Happening): string | undefined {
    return happening.kind === 'threw' ? happening.thrown : undefined;
  }
}

/** What the primary acknowledged is in the log after every start, and no batch is there in part. */
class AcknowledgedIsKept implements Checker {
  readonly name = 'acknowledged is kept';
  readonly #truth: Truth;
  readonly #acknowledged = new Set<number>();

  constructor(truth: Truth) {
    this.#truth = truth;
  }

  see(happening: Happening): string | undefined {
    if (happening.kind === 'acknowledged') {
      this.#acknowledged.add(happening.batch);
      return undefined;
    }
    if (happening.kind !== 'recovered') return undefined;
    const { stream, logId, earliest, rows } = happening;
    const found = new Map<number, number>();
    for (const { batch } of rows) found.set(batch, (found.get(batch) ?? 0) + 1);
    for (const { batch, of } of rows)
      if (found.get(batch) !== of)
        return `${stream} holds ${found.get(batch)} of the ${of} rows of batch ${batch} after a start`;
    for (const number of this.#acknowledged) {
      const batch = this.#truth.batch(number);
      if (batch === undefined) return `batch ${number} was acknowledged, and no log has it after a start`;
      const isExpected = batch.stream === stream && batch.logId === logId && batch.token >= earliest;
      if (isExpected && !found.has(number))
        return `batch ${number} of ${stream} (token ${batch.token}) was acknowledged, and is gone after a start`;
    }
    return undefined;
  }
}

/** Nobody holds more in memory than its bound, however slow the other side is. */
class BoundedMemory implements Checker {
  readonly name = 'bounded memory';

  see(happening: Happening): string | undefined {
    if (happening.kind !== 'held' || happening.bytes <= happening.maxBytes) return undefined;
    return `${happening.who} held ${happening.bytes} bytes of ${happening.what}, over ${happening.maxBytes}`;
  }
}

/** Keep-alive ends a dead connection within its time, and no other. */
class KeepAliveHolds implements Checker {
  readonly name = 'keep-alive';

  see(happening: Happening): string | undefined {
    if (happening.kind === 'half-dead' && happening.deadMs > happening.maxMs) {
      return `${happening.who} is still open ${happening.deadMs} ms after its link died, over ${happening.maxMs}`;
    }
    if (happening.kind === 'called-silent' && happening.healthyMs > happening.idleTimeoutMs) {
      return `${happening.who} called its peer silent on a link that had been well for ${happening.healthyMs} ms`;
    }
    return undefined;
  }
}

/** Only a worker beyond one of the two bounds is cut off as slow. */
class SlowMeansSlow implements Checker {
  readonly name = 'slow means slow';

  see(happening: Happening): string | undefined {
    if (happening.kind !== 'called-slow') return undefined;
    const { who, tookNoByteMs, stalledTimeoutMs, lagRows, maxLagRows } = happening;
    if (tookNoByteMs >= stalledTimeoutMs || lagRows > maxLagRows) return undefined;
    return `${who} was called slow: ${lagRows} rows behind (at most ${maxLagRows}), took no byte for ${tookNoByteMs} ms (at most ${stalledTimeoutMs})`;
  }
}

/** When faults have stopped, everyone comes to `latest`, live. */
class EveryoneReachesLatest implements Checker {
  readonly name = 'everyone reaches latest';

  see(happening: Happening): string | undefined {
    if (happening.kind !== 'ended') return undefined;
    const { reader, position, isLive, latest, calmMs } = happening;
    if (isLive && position?.logId === latest.logId && position?.token === latest.token) return undefined;
    return `${reader} stands at ${JSON.stringify(position)}${isLive ? '' : ', not live,'} ${calmMs} ms after the last fault; latest is ${JSON.stringify(latest)}`;
  }
}
