/**
 * All subscriptions of a worker: what was requested, from where each begins, which handler gets
 * what comes. Knows no connection.
 */

import type { Millis } from '../base/clock.ts';
import type { Follower, FollowerOutput } from '../core/follow/follower.ts';
import type { Subscription as Machine, SubscriptionSpec } from '../core/follow/subscription.ts';
import { type RowcastError, UsageError } from '../core/model/errors.ts';
import { history as checkHistory } from '../core/model/history.ts';
import type { Position } from '../core/model/position.ts';
import { type Stream, type StreamName, streamName } from '../core/model/stream.ts';
import { token as checkToken, type Token } from '../core/model/token.ts';
import type { SubscribeOptions } from './options.ts';
import { type BatchHandler, Runner, type RunnerHooks } from './subscription.ts';

export interface SubscriptionsOptions {
  readonly follower: Follower;
  readonly now: () => Millis;
  readonly hasCheckpoint: boolean;
  readonly hooks: RunnerHooks;
  readonly onEnded: (runner: Runner, error: RowcastError) => void;
}

/** A subscription that was requested before the checkpoint was read. */
interface Wish {
  readonly runner: Runner;
  readonly stream: Stream;
  readonly options: SubscribeOptions;
}

/**
 * A position at the time when a checkpoint was written, so that the subscription can be told once
 * it is saved.
 */
export interface SavedPosition {
  readonly machine: Machine;
  readonly position: Position;
  readonly lineage: number;
}

export class Subscriptions {
  readonly #options: SubscriptionsOptions;
  readonly #runners = new Map<StreamName, Runner>();
  readonly #byMachine = new Map<Machine, Runner>();
  #wishes: Wish[] = [];
  #all: { readonly options: SubscribeOptions; readonly handler: BatchHandler } | undefined;
  /**
   * What the checkpoint held, and the last positions of subscriptions that have ended since.
   * Undefined before it was read.
   */
  #stored: Map<string, Position> | undefined;
  /** What the checkpoint held when it was read. These positions are certainly saved. */
  #loaded: ReadonlyMap<string, Position> = new Map();

  constructor(options: SubscriptionsOptions) {
    this.#options = options;
  }

  [Symbol.iterator](): Iterator<Runner> {
    return this.#runners.values();
  }

  get(stream: StreamName): Runner | undefined {
    return this.#runners.get(stream);
  }

  /**
   * The positions for a checkpoint: of this process, and of streams that only earlier processes
   * followed.
   */
  get positions(): { readonly positions: Map<string, Position>; readonly own: readonly SavedPosition[] } {
    const positions = new Map(this.#stored);
    const own: SavedPosition[] = [];
    for (const boundary of this.#options.follower.boundaries) positions.set(boundary.stream, boundary);
    for (const { stream, machine } of this.#runners.values()) {
      if (machine === undefined) continue;
      const { toSave, applied, lineage } = machine.delivery;
      if (toSave !== undefined) positions.set(stream, toSave);
      if (applied !== undefined) own.push({ machine, position: applied, lineage });
    }
    return { positions, own };
  }

  /**
   * @throws UsageError DUPLICATE_STREAM, INVALID_STREAM_NAME, INVALID_TOKEN, INVALID_POSITION,
   *   INVALID_OPTION
   */
  add(stream: Stream | StreamName, options: SubscribeOptions, handler: BatchHandler): Runner {
    this.#check(options);
    const definition: Stream = typeof stream === 'string' ? unknownStream(streamName(stream)) : stream;
    if (definition.name.startsWith('$')) {
      const text = `stream ${definition.name} is of the primary's log: subscribeAll reads it, an application does not`;
      throw new UsageError('INVALID_STREAM_NAME', text);
    }
    checkStream(definition.name, options);
    const existing = this.#runners.get(definition.name);
    if (existing !== undefined) {
      if (existing.error === undefined) {
        throw new UsageError('DUPLICATE_STREAM', `stream ${definition.name} is subscribed already`);
      }
      this.remove(existing);
    }
    const runner = this.#make(definition, handler);
    if (this.#stored === undefined) this.#wishes.push({ runner, stream: definition, options });
    else this.#follow({ runner, stream: definition, options });
    return runner;
  }

  /** @throws UsageError DUPLICATE_STREAM, INVALID_TOKEN, INVALID_OPTION */
  addAll(options: SubscribeOptions, handler: BatchHandler): void {
    this.#check(options);
    for (const option of ['from', 'fallback'] as const) {
      const place = options[option];
      if (typeof place !== 'string' && place !== undefined) {
        throw new UsageError(
          'INVALID_OPTION',
          `${option} of all streams is 'start' or 'now': a token is of one stream`,
        );
      }
    }
    if (this.#all !== undefined) throw new UsageError('DUPLICATE_STREAM', 'all streams are subscribed already');
    this.#all = { options, handler };
    if (this.#stored !== undefined) this.#followAll();
  }

  /** Forgets a subscription that ended, but keeps its position. */
  remove(runner: Runner): void {
    if (this.#runners.get(runner.stream) !== runner) return;
    this.#runners.delete(runner.stream);
    this.#keepPosition(runner);
    this.#wishes = this.#wishes.filter((wish) => wish.runner !== runner);
    this.release(runner);
  }

  /** Stops following the stream, and keeps what is known of it. */
  release(runner: Runner): void {
    const { machine } = runner;
    if (machine === undefined || !this.#byMachine.delete(machine)) return;
    this.#options.follower.handleUnsubscribe(this.#options.now(), machine);
  }

  /** A removed subscription may still finish its last batch, and its position is kept too. */
  handlePosition(runner: Runner): void {
    if (this.#runners.get(runner.stream) !== runner) this.#keepPosition(runner);
  }

  /** The checkpoint was read, so everything that was requested begins. */
  begin(stored: ReadonlyMap<string, Position>): void {
    this.#loaded = stored;
    this.#stored = new Map(stored);
    for (const wish of this.#wishes) this.#follow(wish);
    this.#wishes = [];
    if (this.#all !== undefined) this.#followAll();
  }

  handle(output: Extract<FollowerOutput, { kind: 'ready' | 'discovered' | 'ended' }>): void {
    const { kind, subscription: machine } = output;
    if (kind === 'discovered') {
      const runner = this.#make(unknownStream(machine.stream), this.#all!.handler);
      this.#attach(runner, machine);
      return runner.run();
    }
    const runner = this.#byMachine.get(machine);
    if (kind === 'ready') return runner?.run();
    this.#byMachine.delete(machine);
    if (runner === undefined) return;
    runner.fail(output.error);
    this.#options.onEnded(runner, output.error);
  }

  #make({ name, row }: Stream, handler: BatchHandler): Runner {
    const runner = new Runner(name, { validator: row, handler, hooks: this.#options.hooks });
    this.#runners.set(name, runner);
    return runner;
  }

  #attach(runner: Runner, machine: Machine): void {
    runner.machine = machine;
    this.#byMachine.set(machine, runner);
  }

  #keepPosition({ stream, machine }: Runner): void {
    const position = machine?.delivery.toSave;
    if (position !== undefined) this.#stored?.set(stream, position);
  }

  #follow({ runner, stream: { name, durable }, options }: Wish): void {
    const { from, applied, saved } = this.#resolve(name, options);
    const machine = this.#options.follower.handleSubscribe(this.#options.now(), {
      stream: name,
      from,
      applied,
      saved,
      onReset: options.onReset ?? (durable ? 'by-durability' : 'earliest'),
      readWithinMs: options.readWithinMs,
    });
    this.#attach(runner, machine);
    runner.run();
  }

  #followAll(): void {
    const { options } = this.#all!;
    const from = this.#from(options);
    const begin = from === 'checkpoint' ? (options.fallback ?? 'now') : from;
    this.#options.follower.handleSubscribeAll(this.#options.now(), {
      // addAll has refused tokens.
      from: begin as 'start' | 'now',
      onReset: options.onReset ?? 'by-durability',
      readWithinMs: options.readWithinMs,
      positions: from === 'checkpoint' ? new Map(this.#stored) : new Map(),
    });
  }

  #from(options: SubscribeOptions): NonNullable<SubscribeOptions['from']> {
    return options.from ?? (this.#options.hasCheckpoint ? 'checkpoint' : 'now');
  }

  #resolve(stream: StreamName, options: SubscribeOptions): Pick<SubscriptionSpec, 'from' | 'applied' | 'saved'> {
    const from = this.#from(options);
    const stored = from === 'checkpoint' ? this.#stored!.get(stream) : undefined;
    if (stored !== undefined) {
      // A position of this process may not be written yet. The end of the next write tells.
      const saved = this.#loaded.get(stream) === stored ? stored : undefined;
      return { from: stored, applied: stored, saved };
    }
    const begin = from === 'checkpoint' ? (options.fallback ?? 'now') : from;
    // A bare token proves nothing until a primary has answered. A position says what was applied.
    if (typeof begin === 'number') return { from: { stream, token: begin, history: undefined } };
    if (typeof begin === 'object') return { from: begin, applied: begin };
    return { from: begin };
  }

  #check({ from, fallback, onReset, readWithinMs }: SubscribeOptions): void {
    checkPlace('from', from, ['start', 'now', 'checkpoint']);
    checkPlace('fallback', fallback, ['start', 'now']);
    checkChoice('onReset', onReset, ['fail', 'earliest', 'now']);
    if (readWithinMs !== undefined && !(readWithinMs > 0)) {
      const text = `option readWithinMs of a subscription is a positive number of ms, not ${readWithinMs}`;
      throw new UsageError('INVALID_OPTION', text);
    }
    if (from === 'checkpoint' && !this.#options.hasCheckpoint) {
      throw new UsageError('INVALID_OPTION', "from: 'checkpoint' needs the option checkpoint of the worker");
    }
  }
}

function checkPlace(option: string, place: Token | Position | string | undefined, choices: readonly string[]): void {
  if (typeof place === 'number') checkToken(place);
  else if (typeof place === 'object' && place !== null) {
    checkToken(place.token);
    if (place.history !== undefined) checkHistory(place.history);
  } else checkChoice(option, place, choices);
}

/** Refuses a position of another stream, which is a mix-up. */
function checkStream(stream: StreamName, options: SubscribeOptions): void {
  for (const option of ['from', 'fallback'] as const) {
    const place = options[option];
    if (typeof place !== 'object' || place.stream === stream) continue;
    throw new UsageError('INVALID_POSITION', `${option} is a position of stream ${place.stream}, not of ${stream}`);
  }
}

function checkChoice(option: string, value: string | undefined, choices: readonly string[]): void {
  if (value === undefined || choices.includes(value)) return;
  const text = `option ${option} of a subscription is one of ${choices.join(', ')}, not ${JSON.stringify(value)}`;
  throw new UsageError('INVALID_OPTION', text);
}

/** The definition of a stream that is known only by name. */
function unknownStream(name: StreamName): Stream {
  return { name, durable: true, retain: {} };
}
