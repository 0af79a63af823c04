/** The faults of a world: one at a time, drawn by chance, described in words. */

import type { Millis } from '../base/clock.ts';
import { type Random, randomInteger } from '../base/random.ts';
import type { DiskState } from './fake-disk.ts';
import type { FakeLink } from './fake-link.ts';
import type { FakeNetwork } from './fake-network.ts';
import { planOf } from './reading-plan.ts';
import type { SimulatedPrimary } from './simulated-primary.ts';
import type { SimulatedWorker } from './simulated-worker.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { WorldShape } from './world-shape.ts';

export interface FaultTargets {
  readonly random: Random;
  readonly now: () => Millis;
  readonly after: (ms: Millis, then: () => void) => void;
  readonly shape: WorldShape;
  /** Every stream that the world appends to. */
  readonly names: readonly StreamName[];
  readonly append: (primary: SimulatedPrimary, stream: StreamName) => void;
  readonly network: FakeNetwork;
  readonly primary: SimulatedPrimary;
  readonly workers: readonly SimulatedWorker[];
  /** Copies of the primary's disk, newest last. */
  readonly backups: DiskState[];
  /** A second primary over a copy. It may run for a while. */
  readonly copy: SimulatedPrimary;
}

/** Causes a fault now. Returns its description, or undefined when there was no target. */
type Fault = (targets: FaultTargets) => string | undefined;

export function strike(targets: FaultTargets): string | undefined {
  let at = randomInteger(targets.random, 1, TOTAL_WEIGHT);
  for (const [fault, weight] of faults) {
    at -= weight;
    if (at <= 0) return fault(targets);
  }
  return undefined;
}

/**
 * Ends every fault that does not end by itself. A dead link stays dead: the sessions must notice
 * it.
 */
export function endFaults({ network, primary, workers, copy, now }: FaultTargets): void {
  network.isSilent = false;
  copy.kill({ isSilent: false });
  primary.endFaults();
  if (!primary.declaresAll) {
    primary.declaresAll = true;
    primary.kill({ isSilent: false });
  }
  if (!primary.isUp) primary.start();
  for (const worker of workers) {
    worker.slowUntil = now();
    worker.endFaults();
    if (!worker.isUp) worker.start();
  }
}

const cutLink: Fault = ({ network, random }) => {
  const link = pickLink(network, random);
  link?.cut();
  return link && `${link.name} is cut`;
};

const stallLink: Fault = ({ network, random }) => {
  const link = pickLink(network, random);
  const ms = randomInteger(random, 20, 900);
  link?.stall(ms);
  return link && `${link.name} stalls for ${ms} ms`;
};

const killLink: Fault = ({ network, random }) => {
  const link = pickLink(network, random);
  link?.die();
  return link && `${link.name} dies and tells nobody`;
};

const silenceNetwork: Fault = ({ network, random, after }) => {
  const ms = randomInteger(random, 50, 600);
  network.isSilent = true;
  after(ms, () => {
    network.isSilent = false;
  });
  return `connections that are begun within ${ms} ms hear nothing`;
};

const crashPrimary: Fault = ({ primary, random, after, shape }) => {
  if (!primary.isUp) return undefined;
  const losesTail = shape.history.losesTails && random.next() < 0.6;
  const isSilent = random.next() < 0.3;
  const ms = randomInteger(random, 5, 600);
  primary.kill({ isSilent, losesTail });
  after(ms, () => primary.start());
  const how = losesTail
    ? 'loses its power, and the tail of its log,'
    : isSilent
      ? 'vanishes with its machine'
      : 'crashes';
  return `the primary ${how} and starts ${ms} ms later`;
};

const restartPrimary: Fault = ({ primary, random, after }) => {
  if (primary.life === undefined) return undefined;
  const { life } = primary;
  const ms = randomInteger(random, 5, 200);
  const patienceMs = random.next() < 0.3 ? randomInteger(random, 0, 100) : undefined;
  primary.close(() => after(ms, () => primary.start()));
  if (patienceMs === undefined) return `the primary closes and starts ${ms} ms after that`;
  after(patienceMs, () => {
    if (primary.life !== life) return;
    primary.kill({ isSilent: false });
    after(ms, () => primary.start());
  });
  return `the primary closes, is killed when that takes ${patienceMs} ms, and starts ${ms} ms after that`;
};

const backUp: Fault = ({ primary, backups, shape }) => {
  if (!shape.history.restores && !shape.history.copies) return undefined;
  backups.push(primary.disk.state);
  return 'the log is backed up';
};

const restore: Fault = ({ primary, backups, random, after, shape }) => {
  if (!shape.history.restores || backups.length === 0) return undefined;
  const ms = randomInteger(random, 10, 300);
  const age = randomInteger(random, 1, Math.min(backups.length, 4));
  primary.kill({ isSilent: false });
  primary.restore(backups.at(-age)!);
  after(ms, () => primary.start());
  return `the primary is killed, and starts ${ms} ms later from backup ${age} of the newest`;
};

const openCopy: Fault = ({ copy, backups, random, after, shape, primary }) => {
  if (!shape.history.copies || copy.isUp) return undefined;
  const ms = randomInteger(random, 100, 800);
  copy.restore(backups.length > 0 && random.next() < 0.7 ? pick(random, backups) : primary.disk.state);
  copy.start();
  after(ms, () => copy.kill({ isSilent: false }));
  return `a copy of the log is opened beside it for ${ms} ms`;
};

const crashWorker: Fault = ({ workers, random, after }) => {
  const worker = pick(random, workers);
  if (!worker.isUp) return undefined;
  const isSilent = random.next() < 0.3;
  const ms = randomInteger(random, 1, 400);
  worker.kill(isSilent);
  const isOlder = random.next() < 0.2 && worker.goBack();
  after(ms, () => worker.start());
  const how = isSilent ? 'vanishes with its machine' : 'crashes';
  return `${worker.name} ${how} and starts ${ms} ms later${isOlder ? ' with an older checkpoint' : ''}`;
};

const restartWorker: Fault = ({ workers, random, after }) => {
  const worker = pick(random, workers);
  if (!worker.isUp) return undefined;
  const ms = randomInteger(random, 5, 300);
  worker.stop(() => after(ms, () => worker.start()));
  return `${worker.name} stops, and starts ${ms} ms after that`;
};

const slowWorker: Fault = ({ workers, random, now }) => {
  const worker = pick(random, workers);
  const ms = randomInteger(random, 100, 1_200);
  worker.slowUntil = now() + ms;
  return `the application of ${worker.name} is slow for ${ms} ms`;
};

const trim: Fault = ({ primary, names, random }) => {
  const { life } = primary;
  const name = pick(random, names);
  if (life === undefined || !life.has(name)) return undefined;
  const { earliest, latest } = life.stream(name);
  // Sometimes everything, otherwise mostly the older half.
  const upTo =
    random.next() < 0.1
      ? latest
      : randomInteger(random, earliest, Math.max(earliest, Math.floor((earliest + latest) / 2)));
  primary.trim(name, upTo);
  return `${name} is trimmed up to ${upTo}`;
};

const skipTokens: Fault = ({ primary, names, random }) => {
  const { life } = primary;
  const name = pick(random, names);
  // What is not made has no numbers that a writer could take.
  if (life === undefined || !life.has(name) || !life.isDurable(name) || life.head(name).depth === 0) return undefined;
  const tokens = randomInteger(random, 1, 4);
  life.log.skip(name, tokens);
  return `${tokens} tokens of ${name} are skipped`;
};

/** Sometimes the stream is made again, at once or while its followers are still being told. */
const deleteStream: Fault = ({ primary, copy, names, shape, random, append, after }) => {
  if (!shape.deletes) return undefined;
  const machine = copy.isUp && random.next() < 0.4 ? copy : primary;
  const made = names.filter((name) => machine.life?.has(name) && machine.life.head(name).depth > 0);
  if (made.length === 0) return undefined;
  const name = pick(random, made);
  if (random.next() < 0.2) append(machine, name);
  if (!machine.delete(name)) return undefined;
  const ofCopy = machine === copy ? ' of the copy' : '';
  if (random.next() < 0.4) return `${name}${ofCopy} is deleted`;
  const ms = random.next() < 0.5 ? 0 : randomInteger(random, 1, 60);
  if (ms === 0) append(machine, name);
  else after(ms, () => append(machine, name));
  return `${name}${ofCopy} is deleted, and made again ${ms} ms later`;
};

const resubscribe: Fault = ({ workers, names, random }) => {
  const worker = pick(random, workers);
  const stream = pick(random, names);
  if (!worker.isUp || planOf(worker.plan, stream) === undefined) return undefined;
  const from = pick(random, ['there', 'there', 'start', 'now'] as const);
  const afterMs = random.next() < 0.6 ? 0 : randomInteger(random, 1, 100);
  worker.resubscribe(stream, { from, afterMs });
  return `${worker.name} gives ${stream} up and follows it again from ${from}, ${afterMs} ms later`;
};

const faults: readonly (readonly [Fault, weight: number])[] = [
  [cutLink, 6],
  [stallLink, 5],
  [killLink, 3],
  [silenceNetwork, 1],
  [crashPrimary, 3],
  [restartPrimary, 2],
  [backUp, 3],
  [restore, 2],
  [openCopy, 2],
  [crashWorker, 4],
  [restartWorker, 2],
  [slowWorker, 5],
  [trim, 3],
  [skipTokens, 2],
  [deleteStream, 5],
  [resubscribe, 4],
];

const TOTAL_WEIGHT: number = faults.reduce((sum, [, weight]) => sum + weight, 0);

function pickLink({ links }: FakeNetwork, random: Random): FakeLink | undefined {
  const open = [...links].filter((link) => !link.isOver && link.diedAt === undefined);
  return open.length === 0 ? undefined : pick(random, open);
}

function pick<Choice>(random: Random, choices: readonly Choice[]): Choice {
  return choices[randomInteger(random, 0, choices.length - 1)]!;
}
