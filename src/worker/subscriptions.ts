/** All subscriptions of a worker: what was asked for, from where each begins, who gets what comes. Knows no connection. */

import type { Millis } from '../base/clock.ts';
import { type RowcastError, UsageError } from '../core/model/errors.ts';
import { type Stream, type StreamName, streamName } from '../core/model/stream.ts';
import { token as checkToken } from '../core/model/token.ts';
import type { Follower } from '../core/follow/follower.ts';
import type { InterestOutput, Position } from '../core/follow/interests.ts';
import type { SubscribeOptions } from './options.ts';
import { type BatchHandler, LiveSubscription, type SubscriptionHooks } from './subscription.ts';

export interface SubscriptionsOptions {
  readonly follower: Follower;
  readonly now: () => Millis;
  readonly hasCheckpoint: boolean;
  readonly hooks: (stream: StreamName) => Omit<SubscriptionHooks, 'onFailed'>;
  readonly onFailed: (subscription: LiveSubscription, error: RowcastError) => void;
}

/** What was asked for a stream before the checkpoint was read. */
interface Wish {
  readonly stream: Stream;
  readonly options: SubscribeOptions;
}

export class Subscriptions {
  readonly #options: SubscriptionsOptions;
  readonly #subscriptions = new Map<StreamName, LiveSubscription>();
  #wishes: Wish[] = [];
  #all: { readonly options: SubscribeOptions; readonly handler: BatchHandler } | undefined;
  /** What the checkpoint held, and where subscriptions stood that have ended since; undefined before it was read. */
  #stored: Map<StreamName, Position> | undefined;

  constructor(options: SubscriptionsOptions) {
    this.#options = options;
  }

  [Symbol.iterator](): Iterator<LiveSubscription> {
    return this.#subscriptions.values();
  }

  get(stream: StreamName): LiveSubscription | undefined {
    return this.#subscriptions.get(stream);
  }

  /** Positions to store: of this process, and of streams that only earlier ones followed. */
  get positions(): Map<StreamName, Position> {
    const positions = new Map(this.#stored);
    for (const { stream, fullPosition } of this) if (fullPosition !== undefined) positions.set(stream, fullPosition);
    return positions;
  }

  /** @throws UsageError DUPLICATE_STREAM, INVALID_STREAM_NAME, INVALID_TOKEN, INVALID_OPTION */
  add(stream: Stream | StreamName, options: SubscribeOptions, handler: BatchHandler): LiveSubscription {
    this.#check(options);
    const definition: Stream = typeof stream === 'string' ? unknownStream(streamName(stream)) : stream;
    const existing = this.#subscriptions.get(definition.name);
    if (existing !== undefined) {
      if (existing.error === undefined)
        throw new UsageError('DUPLICATE_STREAM', `stream ${definition.name} is subscribed already`);
      this.remove(existing);
    }
    const subscription = this.#make(definition, handler);
    if (this.#stored === undefined) this.#wishes.push({ stream: definition, options });
    else this.#follow({ stream: definition, options });
    return subscription;
  }

  /** @throws UsageError DUPLICATE_STREAM, INVALID_TOKEN, INVALID_OPTION */
  addAll(options: SubscribeOptions, handler: BatchHandler): void {
    this.#check(options);
    if (this.#all !== undefined) throw new UsageError('DUPLICATE_STREAM', 'all streams are subscribed already');
    this.#all = { options, handler };
    if (this.#stored !== undefined) this.#followAll();
  }

  /** Forgets a subscription that ended, but not where it stood. */
  remove(subscription: LiveSubscription): void {
    const { stream } = subscription;
    if (this.#subscriptions.get(stream) !== subscription) return;
    this.#subscriptions.delete(stream);
    this.#keepPosition(subscription);
    this.#wishes = this.#wishes.filter((wish) => wish.stream.name !== stream);
    this.#options.follower.handleUnsubscribe(stream);
  }

  /** The checkpoint was read: everything that was asked for begins. */
  begin(stored: ReadonlyMap<StreamName, Position>): void {
    this.#stored = new Map(stored);
    for (const wish of this.#wishes) this.#follow(wish);
    this.#wishes = [];
    if (this.#all !== undefined) this.#followAll();
  }

  handle(output: InterestOutput): void {
    const subscription = this.#find(output.stream);
    if (output.kind === 'failed') subscription?.fail(output.error);
    else if (subscription !== undefined) subscription.handle(output);
    else if (output.kind === 'batch') this.#options.follower.handleApplied(this.#options.now(), output.bytes);
  }

  #make({ name, row }: Stream, handler: BatchHandler): LiveSubscription {
    const { onPosition, ...hooks } = this.#options.hooks(name);
    const subscription: LiveSubscription = new LiveSubscription({
      stream: name,
      validator: row,
      handler,
      hooks: {
        ...hooks,
        onPosition: () => {
          // Its last batch may be through only after it was removed.
          if (!this.#subscriptions.has(name)) this.#keepPosition(subscription);
          onPosition();
        },
        onFailed: (error) => this.#options.onFailed(subscription, error),
      },
    });
    this.#subscriptions.set(name, subscription);
    return subscription;
  }

  #keepPosition({ stream, fullPosition }: LiveSubscription): void {
    if (fullPosition !== undefined) this.#stored?.set(stream, fullPosition);
  }

  /** The subscription that an output is for; once all are subscribed, any stream has one. */
  #find(stream: StreamName): LiveSubscription | undefined {
    const subscription = this.#subscriptions.get(stream);
    if (subscription !== undefined || this.#all === undefined) return subscription;
    return this.#make(unknownStream(stream), this.#all.handler);
  }

  #follow({ stream: { name, durable }, options }: Wish): void {
    const subscription = this.#subscriptions.get(name)!;
    const from = this.#resolve(options, this.#stored!.get(name));
    if (typeof from === 'object') subscription.resumeAt(from);
    this.#options.follower.handleSubscribe(this.#options.now(), {
      stream: name,
      from,
      onReset: options.onReset ?? (durable ? 'by-durability' : 'earliest'),
      readWithinMs: options.readWithinMs,
    });
  }

  #followAll(): void {
    const { options } = this.#all!;
    const positions = new Map<StreamName, Position>();
    if (this.#from(options) === 'checkpoint') {
      for (const [stream, position] of this.#stored!) {
        if (this.#subscriptions.has(stream)) continue;
        this.#find(stream)!.resumeAt(position);
        positions.set(stream, position);
      }
    }
    const from = this.#resolve(options, undefined);
    this.#options.follower.handleSubscribeAll(this.#options.now(), {
      from,
      onReset: options.onReset ?? 'by-durability',
      readWithinMs: options.readWithinMs,
      positions,
    });
  }

  #from(options: SubscribeOptions): NonNullable<SubscribeOptions['from']> {
    return options.from ?? (this.#options.hasCheckpoint ? 'checkpoint' : 'now');
  }

  #resolve(options: SubscribeOptions, stored: Position | undefined): Position | 'start' | 'now' {
    const from = this.#from(options);
    if (from === 'checkpoint' && stored !== undefined) return stored;
    const begin = from === 'checkpoint' ? (options.fallback ?? 'now') : from;
    return typeof begin === 'number' ? { token: begin } : begin;
  }

  #check({ from, fallback, onReset, readWithinMs }: SubscribeOptions): void {
    if (typeof from === 'number') checkToken(from);
    else checkChoice('from', from, ['start', 'now', 'checkpoint']);
    if (typeof fallback === 'number') checkToken(fallback);
    else checkChoice('fallback', fallback, ['start', 'now']);
    checkChoice('onReset', onReset, ['fail', 'earliest', 'now']);
    if (readWithinMs !== undefined && !(readWithinMs > 0)) {
      throw new UsageError(
        'INVALID_OPTION',
        `option readWithinMs of a subscription is a positive number of ms, not ${readWithinMs}`,
      );
    }
    if (from === 'checkpoint' && !this.#options.hasCheckpoint) {
      throw new UsageError('INVALID_OPTION', "from: 'checkpoint' needs the option checkpoint of the worker");
    }
  }
}

function checkChoice(option: string, value: string | undefined, choices: readonly string[]): void {
  if (value === undefined || choices.includes(value)) return;
  throw new UsageError(
    'INVALID_OPTION',
    `option ${option} of a subscription is one of ${choices.join(', ')}, not ${JSON.stringify(value)}`,
  );
}

/** A stream of which only the name is known. */
function unknownStream(name: StreamName): Stream {
  return { name, durable: true, retain: {} };
}
