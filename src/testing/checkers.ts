/**
 * All checkers of a world, and those not about rows: durability, memory, connections, waits, the
 * end.
 */

import type { Millis } from '../base/clock.ts';
import type { StreamName } from '../core/model/stream.ts';
import { describeNode, type Happening } from './happening.ts';
import { type HistoryNode, isOn } from './history-tree.ts';
import { ReaderCheckers } from './reader-checkers.ts';
import type { CommittedBatches } from './world-rows.ts';

/** A violation that a checker has seen. */
export interface Finding {
  readonly checker: CheckerName;
  readonly saw: string;
}

/** Sees every happening in order, and reports a violation at once. */
export interface Checker {
  see(happening: Happening): Finding | undefined;
}

export const checkerNames = [
  'nothing throws',
  'acknowledged is kept',
  'whole batches',
  'once and in order',
  'nothing missing',
  'new streams from their first row',
  'one history',
  'honest positions',
  'true resets',
  'deletions are told',
  'waits are honest',
  'waits end',
  'bounded memory',
  'the deleted are forgotten',
  'keep-alive',
  'slow means slow',
  'no undue end',
  'ends in time',
  'everyone reaches latest',
] as const;

export type CheckerName = (typeof checkerNames)[number];

export interface Checkers {
  readonly all: readonly Checker[];
  readonly readers: ReaderCheckers;
}

export function makeCheckers(committed: CommittedBatches, now: () => Millis): Checkers {
  const readers = new ReaderCheckers(committed, now);
  return {
    readers,
    all: [readers, new Acknowledged(), { see: seeProcess }, { see: (happening) => seeEnd(happening, readers) }],
  };
}

/** The machine whose log is the truth at the end. */
export const PRIMARY = 'primary';

/**
 * An acknowledged batch is in the log then and after each start, unless the disk lost it or the
 * stream is deleted. An acknowledged deletion lasts.
 */
class Acknowledged implements Checker {
  /** The newest acknowledged batch of each durable stream of the primary. */
  readonly #newest = new Map<StreamName, HistoryNode>();
  /** What was deleted last of each. */
  readonly #deleted = new Map<StreamName, HistoryNode>();

  see(happening: Happening): Finding | undefined {
    switch (happening.kind) {
      case 'history-changed':
        this.#newest.clear();
        this.#deleted.clear();
        return undefined;
      case 'deleting':
        // It may be gone from here on.
        if (happening.life.machine === PRIMARY) this.#newest.delete(happening.node.stream);
        return undefined;
      case 'deleted': {
        const { node, life } = happening;
        if (isOn(node, life.head(node.stream)))
          return { checker: 'acknowledged is kept', saw: `${describeNode(node)} was deleted, and is there` };
        if (life.isDurable(node.stream) && life.machine === PRIMARY) this.#deleted.set(node.stream, node);
        return undefined;
      }
      case 'acknowledged': {
        const { node, batch, life } = happening;
        if (node === undefined || !life.ever(node.stream).some(({ head }) => isOn(node, head)))
          return { checker: 'acknowledged is kept', saw: `batch ${batch} was acknowledged, and no log has it` };
        if (!isOn(node, life.head(node.stream))) return undefined;
        if (life.isDurable(node.stream) && life.machine === PRIMARY) this.#newest.set(node.stream, node);
        return undefined;
      }
      case 'primary-opened': {
        if (happening.life.machine !== PRIMARY) return undefined;
        for (const [stream, node] of this.#newest) {
          if (isOn(node, happening.life.head(stream))) continue;
          const saw = `${describeNode(node)} was acknowledged, and is gone after a start`;
          return { checker: 'acknowledged is kept', saw };
        }
        for (const [stream, node] of this.#deleted) {
          if (!isOn(node, happening.life.head(stream))) continue;
          const saw = `${describeNode(node)} was deleted, and is back after a start`;
          return { checker: 'acknowledged is kept', saw };
        }
        return undefined;
      }
      default:
        return undefined;
    }
  }
}

/**
 * Memory, silence, slowness, and the ends of connections and processes. Each is measured where it
 * happens.
 */
function seeProcess(happening: Happening): Finding | undefined {
  switch (happening.kind) {
    // An uncaught exception is a bug, whatever caused it.
    case 'threw':
      return { checker: 'nothing throws', saw: happening.thrown };
    case 'held': {
      const { who, what, bytes, maxBytes } = happening;
      if (bytes <= maxBytes) return undefined;
      return { checker: 'bounded memory', saw: `${who} held ${bytes} bytes of ${what}, over ${maxBytes}` };
    }
    case 'half-dead': {
      const { who, deadMs, maxMs } = happening;
      return { checker: 'keep-alive', saw: `${who} is open ${deadMs} ms after its link died, over ${maxMs}` };
    }
    case 'called-silent': {
      const { who, healthyMs, idleTimeoutMs } = happening;
      if (healthyMs <= idleTimeoutMs) return undefined;
      return {
        checker: 'keep-alive',
        saw: `${who} called its peer silent on a link that was well for ${healthyMs} ms`,
      };
    }
    case 'called-slow': {
      const { who, tookNoByteMs, stalledTimeoutMs, lagRows, maxLagRows } = happening;
      if (tookNoByteMs >= stalledTimeoutMs || lagRows > maxLagRows) return undefined;
      return {
        checker: 'slow means slow',
        saw: `${who} was called slow: ${lagRows} rows behind (at most ${maxLagRows}), took no byte for ${tookNoByteMs} ms (at most ${stalledTimeoutMs})`,
      };
    }
    case 'still-keeps':
      return { checker: 'the deleted are forgotten', saw: `${happening.worker} still keeps ${happening.what}` };
    case 'cut-off':
      return { checker: 'no undue end', saw: `${happening.who} was disconnected: ${happening.why}` };
    case 'lingers':
      return { checker: 'ends in time', saw: `${happening.who} has not ended ${happening.ms} ms after it was told to` };
    default:
      return undefined;
  }
}

/**
 * When faults have stopped, every reader reaches `latest`, is live and has every row of the
 * primary's history, and no wait is left.
 */
function seeEnd(happening: Happening, readers: ReaderCheckers): Finding | undefined {
  if (happening.kind === 'still-waits') {
    const { worker, node, isKept } = happening;
    const state = isKept ? 'is here and applied' : 'is not in this history any more';
    return { checker: 'waits end', saw: `${worker} still waits for ${describeNode(node)}, which ${state}` };
  }
  if (happening.kind === 'ended-absent') {
    const standsAt = readers.known(happening.reader)?.claims.find((claim) => claim.parent !== undefined);
    if (standsAt === undefined) return undefined;
    const saw = `${happening.reader.name} was not told that ${describeNode(standsAt)} is gone with its stream`;
    return { checker: 'deletions are told', saw };
  }
  if (happening.kind !== 'ended') return undefined;
  const { reader, token, isLive, life, latest, calmMs } = happening;
  const head = life.head(reader.stream);
  const claims = readers.known(reader)?.claims;
  // A reader without a row may be taken for one of a stream of this name that was deleted.
  if (isLive && token === latest && claims?.includes(head) === true) return undefined;
  const stands = claims?.map(describeNode).join(' or ') ?? 'nothing known';
  return {
    checker: 'everyone reaches latest',
    saw: `${reader.name} says position ${token}${isLive ? '' : ', not live,'} and stands at ${stands}, ${calmMs} ms after the last fault; latest is ${latest}, ${describeNode(head)}`,
  };
}
