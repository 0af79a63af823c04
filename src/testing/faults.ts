/** What can befall a world: one fault at a time, drawn by chance, told in words. */

import type { Millis } from '../base/clock.ts';
import { type Random, randomInteger } from '../base/random.ts';
import type { Stream } from '../core/model/stream.ts';
import type { FakeLink } from './fake-link.ts';
import type { FakeNetwork } from './fake-network.ts';
import type { SimulatedPrimary } from './simulated-primary.ts';
import type { SimulatedWorker } from './simulated-worker.ts';

export interface FaultTargets {
  readonly random: Random;
  readonly now: () => Millis;
  readonly after: (ms: Millis, then: () => void) => void;
  readonly network: FakeNetwork;
  readonly primary: SimulatedPrimary;
  readonly workers: readonly SimulatedWorker[];
  readonly streams: readonly Stream[];
  readonly startPrimary: () => void;
  readonly stopPrimary: () => void;
}

/** Does something bad, now. Returns what, or undefined where there was nothing to do it to. */
type Fault = (targets: FaultTargets) => string | undefined;

export function strike(targets: FaultTargets): string | undefined {
  let at = randomInteger(targets.random, 1, TOTAL_WEIGHT);
  for (const [fault, weight] of faults) {
    at -= weight;
    if (at <= 0) return fault(targets);
  }
  return undefined;
}

/** Ends everything that does not end by itself. A dead link stays dead: it is for the sessions to notice. */
export function endFaults({ network, primary, workers, startPrimary, now }: FaultTargets): void {
  network.isSilent = false;
  if (!primary.isUp) startPrimary();
  for (const worker of workers) {
    worker.slowUntil = now();
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

const crashPrimary: Fault = ({ primary, random, after, startPrimary }) => {
  if (!primary.isUp) return undefined;
  const isSilent = random.next() < 0.3;
  const ms = randomInteger(random, 5, 600);
  primary.kill(isSilent);
  after(ms, startPrimary);
  return `the primary ${isSilent ? 'vanishes with its machine' : 'crashes'} and starts ${ms} ms later`;
};

const restartPrimary: Fault = ({ primary, random, after, startPrimary, stopPrimary }) => {
  if (!primary.isUp) return undefined;
  const drainMs = randomInteger(random, 0, 150);
  const ms = randomInteger(random, 5, 200);
  stopPrimary();
  after(drainMs, () => {
    primary.kill(false);
    after(ms, startPrimary);
  });
  return `the primary stops, is gone ${drainMs} ms later and starts ${ms} ms after that`;
};

const crashWorker: Fault = ({ workers, random, after }) => {
  const worker = pick(random, workers);
  if (!worker.isUp) return undefined;
  const isSilent = random.next() < 0.3;
  const ms = randomInteger(random, 1, 400);
  worker.kill(isSilent);
  after(ms, () => worker.isUp || worker.start());
  return `${worker.name} ${isSilent ? 'vanishes with its machine' : 'crashes'} and starts ${ms} ms later`;
};

const restartWorker: Fault = ({ workers, random, after }) => {
  const worker = pick(random, workers);
  if (!worker.isUp) return undefined;
  const ms = randomInteger(random, 150, 500);
  worker.stop();
  after(ms, () => worker.isUp || worker.start());
  return `${worker.name} stops and starts ${ms} ms later`;
};

const slowWorker: Fault = ({ workers, random, now }) => {
  const worker = pick(random, workers);
  const ms = randomInteger(random, 100, 1_200);
  worker.slowUntil = now() + ms;
  return `the application of ${worker.name} is slow for ${ms} ms`;
};

const trim: Fault = ({ primary, streams, random }) => {
  if (!primary.isUp) return undefined;
  const { name } = pick(random, streams);
  const log = primary.logOf(name);
  const { earliest, latest } = log.bounds(name);
  // All of it, sometimes; else mostly the older half.
  const upTo =
    random.next() < 0.1
      ? latest
      : randomInteger(random, earliest, Math.max(earliest, Math.floor((earliest + latest) / 2)));
  void log.trim(name, upTo);
  return `${name} is trimmed up to ${upTo}`;
};

const skipTokens: Fault = ({ primary, streams, random }) => {
  if (!primary.isUp) return undefined;
  const { name } = pick(random, streams);
  const tokens = randomInteger(random, 1, 4);
  primary.logOf(name).skip(name, tokens);
  return `${tokens} tokens of ${name} are skipped`;
};

const resubscribe: Fault = ({ workers, streams, random }) => {
  const worker = pick(random, workers);
  const { name } = pick(random, streams);
  if (!worker.isUp) return undefined;
  worker.resubscribe(name);
  return `${worker.name} gives ${name} up and follows it anew`;
};

const faults: readonly (readonly [Fault, weight: number])[] = [
  [cutLink, 6],
  [stallLink, 5],
  [killLink, 3],
  [silenceNetwork, 1],
  [crashPrimary, 2],
  [restartPrimary, 2],
  [crashWorker, 4],
  [restartWorker, 2],
  [slowWorker, 5],
  [trim, 3],
  [skipTokens, 2],
  [resubscribe, 2],
];

const TOTAL_WEIGHT: number = faults.reduce((sum, [, weight]) => sum + weight, 0);

function pickLink({ links }: FakeNetwork, random: Random): FakeLink | undefined {
  const open = [...links].filter((link) => !link.isOver && link.diedAt === undefined);
  return open.length === 0 ? undefined : pick(random, open);
}

function pick<Choice>(random: Random, choices: readonly Choice[]): Choice {
  return choices[randomInteger(random, 0, choices.length - 1)]!;
}
