/** A worker process in a world: the follower and its pump are the real ones; the subscribers are as slow as chance wants, links and clock are not real. */

import type { Clock, Millis } from '../base/clock.ts';
import { type Random, randomInteger } from '../base/random.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Follower, FollowerOptions } from '../core/follow/follower.ts';
import type { AllSpec, Position, SubscriptionSpec } from '../core/follow/interests.ts';
import type { ConnectionHandler, Transport } from '../transport/transport.ts';
import { FollowerPump, type FollowerPumpOptions } from '../worker/follower-pump.ts';
import type { LinkEnd } from './fake-link.ts';
import type { FakeNetwork } from './fake-network.ts';
import type { Happening, Reader, StartsAt } from './happening.ts';
import { SERVER_NAME } from './simulated-primary.ts';
import { SimulatedSubscriber } from './simulated-subscriber.ts';
import { ProcessClock } from './virtual-clock.ts';
import type { WorldShape } from './world-shape.ts';

export interface SimulatedWorkerOptions {
  readonly name: string;
  readonly shape: WorldShape;
  readonly clock: Clock;
  readonly random: Random;
  readonly network: FakeNetwork;
  readonly makeFollower: (options: FollowerOptions) => Follower;
  /** Stores positions before their rows are applied: a fault of the application's, for showing that it is seen. */
  readonly storesEarly: boolean;
  readonly tell: (happening: Happening) => void;
}

type Output = Parameters<FollowerPumpOptions['onOutput']>[0];

interface Process {
  readonly clock: ProcessClock;
  readonly follower: Follower;
  readonly pump: FollowerPump;
  readonly subscribers: Map<StreamName, SimulatedSubscriber>;
  end: LinkEnd | undefined;
  /** What the application has not applied yet. */
  queuedBytes: number;
  peakQueuedBytes: number;
  largestBatchBytes: number;
  /** Handed to the follower although more was queued than its limit. */
  overfedBytes: number;
  isStopping: boolean;
}

export class SimulatedWorker {
  readonly name: string;
  readonly #options: SimulatedWorkerOptions;
  readonly #specs: readonly SubscriptionSpec[];
  readonly #followsAll: boolean;
  /** What survives a crash. */
  readonly #checkpoint = new Map<StreamName, Position>();
  #process: Process | undefined;
  #readers = 0;
  slowUntil: Millis = 0;

  constructor(options: SimulatedWorkerOptions) {
    this.name = options.name;
    this.#options = options;
    const { random, shape } = options;
    this.#followsAll = random.next() < 0.25;
    const from = random.next() < 0.7 ? 'start' : 'now';
    this.#specs = shape.streams.map(({ name: stream }) => {
      const chance = random.next();
      return { stream, from, onReset: this.#followsAll || chance < 0.5 ? 'earliest' : chance < 0.8 ? 'now' : 'fail' };
    });
  }

  get isUp(): boolean {
    return this.#process !== undefined;
  }

  /** The end of its present connection, when there is one. */
  get end(): LinkEnd | undefined {
    return this.#process?.end;
  }

  start(): void {
    const { shape, random, makeFollower } = this.#options;
    const clock = new ProcessClock(this.#options.clock);
    const follower = makeFollower({
      workerName: this.name,
      serverName: SERVER_NAME,
      limits: shape.workerLimits,
      random,
    });
    const process: Process = {
      clock,
      follower,
      pump: new FollowerPump({
        follower,
        clock,
        address: { path: 'primary' },
        transport: this.#transport((handler) => this.#connect(process, handler)),
        onOutput: (output) => this.#handleOutput(process, output),
      }),
      subscribers: new Map(),
      end: undefined,
      queuedBytes: 0,
      peakQueuedBytes: 0,
      largestBatchBytes: 0,
      overfedBytes: 0,
      isStopping: false,
    };
    this.#process = process;
    for (const spec of this.#specs)
      this.#beginReader(
        process,
        spec.stream,
        this.#checkpoint.get(spec.stream) ?? spec.from,
        this.#checkpoint.has(spec.stream),
      );
    this.#subscribeAtStart(follower, clock.now());
    follower.handleStart(clock.now());
    process.pump.drain();
  }

  /** Ends in good order, its positions stored. */
  stop(): void {
    const process = this.#process;
    if (process === undefined || process.isStopping) return;
    process.isStopping = true;
    process.follower.handleStop(process.clock.now());
    process.pump.drain();
    const maxMs = this.#options.shape.workerLimits.flushTimeoutMs + 5;
    process.clock.wakeIn(maxMs, () => {
      if (!process.follower.isStopped)
        this.#options.tell({ kind: 'half-dead', who: `${this.name}, which stops,`, deadMs: maxMs, maxMs: maxMs - 1 });
      for (const [stream, { position }] of process.subscribers)
        if (position !== undefined) this.#checkpoint.set(stream, position);
      this.kill(false);
    });
  }

  /** Dies at once, as it stands. */
  kill(isSilent: boolean): void {
    const process = this.#process;
    if (process === undefined) return;
    this.tellHeld();
    this.#process = undefined;
    process.clock.kill();
    if (process.end !== undefined) this.#options.network.kill([process.end], isSilent);
  }

  /** Gives a stream up and follows it again from where it stands: the application's own doing. */
  resubscribe(stream: StreamName): void {
    const process = this.#process;
    const position = process?.subscribers.get(stream)?.position;
    if (process === undefined || process.isStopping || position === undefined) return;
    process.follower.handleUnsubscribe(stream);
    this.#subscribe(process, stream, position);
  }

  send(): void {
    const process = this.#process;
    if (process === undefined || process.isStopping) return;
    process.follower.handleSend(process.clock.now(), { name: 'FEDERATION_ACK', token: 7 });
    process.pump.drain();
  }

  /** Everything that came is applied, and the follower says that nothing more is to come. */
  standing(): (Reader & { position: Position | undefined; isLive: boolean })[] {
    const process = this.#process;
    return this.#specs.map(({ stream }) => {
      const subscriber = process?.subscribers.get(stream);
      return {
        worker: this.name,
        stream,
        reader: subscriber?.reader.reader ?? `${this.name} (down)`,
        position: subscriber?.position,
        isLive:
          process !== undefined &&
          process.follower.isLive &&
          process.follower.isStreamLive(stream) &&
          subscriber?.isIdle === true,
      };
    });
  }

  /** What it held at most. */
  tellHeld(): void {
    const process = this.#process;
    if (process === undefined) return;
    const { maxQueuedBytes } = this.#options.shape.workerLimits;
    const maxBytes = maxQueuedBytes + process.largestBatchBytes;
    this.#options.tell({
      kind: 'held',
      who: this.name,
      what: 'rows that wait for the application',
      bytes: process.peakQueuedBytes,
      maxBytes,
    });
    this.#options.tell({
      kind: 'held',
      who: this.name,
      what: 'input while its queue was full',
      bytes: process.overfedBytes,
      maxBytes: 0,
    });
  }

  #subscribeAtStart(follower: Follower, now: Millis): void {
    if (this.#followsAll) {
      const { from, onReset } = this.#specs[0]!;
      const spec: AllSpec = { from, onReset, positions: new Map(this.#checkpoint) };
      follower.handleSubscribeAll(now, spec);
      return;
    }
    for (const spec of this.#specs)
      follower.handleSubscribe(now, { ...spec, from: this.#checkpoint.get(spec.stream) ?? spec.from });
  }

  #subscribe(process: Process, stream: StreamName, from: StartsAt): void {
    this.#beginReader(process, stream, from, false);
    const { onReset } = this.#specs.find((spec) => spec.stream === stream)!;
    process.follower.handleSubscribe(process.clock.now(), { stream, from, onReset });
    process.pump.drain();
  }

  #beginReader(process: Process, stream: StreamName, from: StartsAt, isResumed: boolean): void {
    const { random, shape, tell, storesEarly } = this.#options;
    const reader: Reader = { worker: this.name, stream, reader: `${this.name}.${++this.#readers} ${stream}` };
    process.subscribers.get(stream)?.stop();
    const store = (position: Position): void => {
      if (random.next() * 100 < shape.storedPercent) this.#checkpoint.set(stream, position);
    };
    const subscriber = new SimulatedSubscriber({
      reader,
      clock: process.clock,
      onReset: this.#specs.find((spec) => spec.stream === stream)!.onReset,
      applyMs: () => this.#applyMs(process.clock.now()),
      tell,
      onApplied: (bytes) => {
        process.queuedBytes -= bytes;
        process.follower.handleApplied(process.clock.now(), bytes);
        process.pump.drain();
      },
      onPosition: store,
      ...(storesEarly && { onQueued: (position: Position) => void this.#checkpoint.set(stream, position) }),
    });
    if (typeof from === 'object') subscriber.position = from;
    process.subscribers.set(stream, subscriber);
    tell({ kind: 'subscribed', ...reader, from, isResumed });
  }

  #applyMs(now: Millis): Millis {
    const { random, shape } = this.#options;
    if (now < this.slowUntil) return randomInteger(random, 30, 200);
    return shape.maxApplyMs === 0 ? 0 : randomInteger(random, 0, shape.maxApplyMs);
  }

  #handleOutput(process: Process, output: Output): void {
    switch (output.kind) {
      case 'event':
        return this.#handleEvent(process, output.event);
      case 'failed':
        return this.#handleFailed(process, output.stream, output.error.code);
      case 'batch':
        process.queuedBytes += output.bytes;
        process.peakQueuedBytes = Math.max(process.peakQueuedBytes, process.queuedBytes);
        process.largestBatchBytes = Math.max(process.largestBatchBytes, output.bytes);
        break;
      case 'position':
      case 'reset':
        break;
    }
    process.subscribers.get(output.stream)!.handle(output);
  }

  #handleEvent(process: Process, event: Extract<Output, { kind: 'event' }>['event']): void {
    if (event.kind !== 'disconnected') return;
    const { end } = process;
    process.end = undefined;
    const { code, message } = event.error;
    const { idleTimeoutMs, flushTimeoutMs } = this.#options.shape.workerLimits;
    if (code === 'IDLE_TIMEOUT' && end !== undefined) {
      const healthyMs = process.clock.now() - end.link.lastTroubleAt;
      this.#options.tell({
        kind: 'called-silent',
        who: end.peer,
        healthyMs,
        idleTimeoutMs: idleTimeoutMs + flushTimeoutMs,
      });
    } else if (!EXPECTED.has(code)) {
      this.#options.tell({ kind: 'threw', thrown: `${this.name} was disconnected: ${code} ${message}` });
    }
  }

  /** The application takes note of the error and starts afresh. */
  #handleFailed(process: Process, stream: StreamName, code: string): void {
    const subscriber = process.subscribers.get(stream)!;
    subscriber.stop();
    this.#options.tell({ kind: 'failed', ...subscriber.reader, code, received: subscriber.received });
    process.clock.wakeIn(randomInteger(this.#options.random, 5, 80), () => {
      if (!process.isStopping) this.#subscribe(process, stream, 'start');
    });
  }

  #connect(process: Process, handler: ConnectionHandler): LinkEnd {
    const { maxQueuedBytes } = this.#options.shape.workerLimits;
    const end = this.#options.network.connect(this.name, {
      handleOpen: () => handler.handleOpen(),
      handleBytes: (chunk) => {
        if (process.queuedBytes > maxQueuedBytes) process.overfedBytes += chunk.length;
        handler.handleBytes(chunk);
      },
      handleDrained: () => handler.handleDrained(),
      handleClosed: (error) => handler.handleClosed(error),
    });
    process.end = end;
    return end;
  }

  #transport(connect: (handler: ConnectionHandler) => LinkEnd): Transport {
    return {
      connect: (_address, handler) => connect(handler),
      listen: () => Promise.reject(new Error('a worker does not listen')),
    };
  }
}

/** How connections end in a world of faults. Anything else is a fault of ours. */
const EXPECTED: ReadonlySet<string> = new Set(['CONNECTION_LOST', 'PEER_ERROR', 'IDLE_TIMEOUT', 'GAP', 'RESET']);
