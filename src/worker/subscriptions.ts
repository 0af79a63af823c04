/**
 * All subscriptions of a worker: what was requested, from where each begins, which handler gets
 * what comes. Knows no connection.
 */

import { assertNever } from '../base/assert.ts';
import type { Millis } from '../base/clock.ts';
import { boundaryKey } from '../core/follow/boundaries.ts';
import type { Follower, FollowerOutput } from '../core/follow/follower.ts';
import type { Subscription as Machine } from '../core/follow/subscription.ts';
import type { SubscriptionSpec } from '../core/follow/subscription-spec.ts';
import { declaredText, type StreamPattern } from '../core/model/declarations.ts';
import { quote, type RowcastError, UsageError } from '../core/model/errors.ts';
import { LOG_ID_DIGITS } from '../core/model/history.ts';
import { optionError } from '../core/model/options.ts';
import type { Gone } from '../core/follow/catalogs.ts';
import { checkPattern, EVERY_NAME, isPattern, type NamePattern, patternsOverlap } from '../core/model/pattern.ts';
import { PatternTable } from '../core/model/pattern-table.ts';
import { checkPosition, type Position } from '../core/model/position.ts';
import type { RowValidator } from '../core/model/row.ts';
import { catalogOf, nameOf, type Stream, type StreamName, streamName, streamNameFault } from '../core/model/stream.ts';
import { token as checkToken } from '../core/model/token.ts';
import { checkOnError } from './failures.ts';
import type { SubscribeOptions } from './options.ts';
import { type BatchHandler, Runner, type RunnerHooks, type RunnerOptions } from './subscription.ts';

export interface SubscriptionsOptions {
  readonly follower: Follower;
  readonly now: () => Millis;
  readonly hasCheckpoint: boolean;
  readonly hooks: RunnerHooks;
  /** One more subscription, through a pattern. */
  readonly onDiscovered: (runner: Runner) => void;
  /** Something that was held back has begun, or may. */
  readonly onBegun: () => void;
  /** A position that no subscription has now. Undefined: it is void. */
  readonly onChanged: (key: string, position: Position | undefined) => void;
  /** A stream was deleted, whether or not it was followed. */
  readonly onGone: (gone: Gone) => void;
}

/**
 * A subscription that has not begun: the checkpoint is not read yet, or another handler of the
 * stream is still at its last batch.
 */
interface Wish {
  readonly runner: Runner;
  readonly stream: Stream;
  readonly options: SubscribeOptions;
}

/** How the streams of a pattern are followed. */
interface PatternWish {
  readonly pattern: NamePattern;
  /** False: rows that are lost with the primary are nothing to fail for. */
  readonly isDurable: boolean;
  readonly validator: RowValidator | undefined;
  readonly options: SubscribeOptions;
  readonly handler: BatchHandler;
}

export class Subscriptions {
  readonly #options: SubscriptionsOptions;
  readonly #runners = new Map<StreamName, Runner>();
  readonly #byMachine = new Map<Machine, Runner>();
  readonly #wishes = new Set<Wish>();
  /** Patterns that wait for handlers of the streams that they stand for. */
  readonly #heldPatterns = new Set<PatternWish>();
  /** The last subscription of a stream that ended while its handler was at work. */
  readonly #leaving = new Map<StreamName, Runner>();
  /**
   * The primary has ended them, and their handlers have not come so far. True: the stream has been
   * deleted since.
   */
  readonly #ending = new Map<Runner, boolean>();
  readonly #patterns = new PatternTable<PatternWish>();
  /**
   * What the checkpoint held of streams that are not followed through a pattern now, and the last
   * positions of subscriptions that have ended since. Undefined before it was read.
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

  /** Every subscription whose handler is at work, also of those that have ended. */
  atWork(): Runner[] {
    return [...new Set([...this.#runners.values(), ...this.#leaving.values()])].filter(({ isAtWork }) => isAtWork);
  }

  /** Nothing is held back, and every subscription that has ended knows it. */
  get isSettled(): boolean {
    return this.#wishes.size === 0 && this.#heldPatterns.size === 0 && this.#ending.size === 0;
  }

  /** The error of a subscription that failed, and was neither ended nor begun again since. */
  get failure(): RowcastError | undefined {
    for (const { error } of this.#runners.values()) if (error !== undefined) return error;
    return undefined;
  }

  /** Whether a pattern will bring the stream once the primary has it. */
  isAwaited(stream: StreamName): boolean {
    if (this.#stored !== undefined && this.#options.follower.isAwaited(stream)) return true;
    const wish = this.#patterns.find(stream);
    return wish !== undefined && (this.#stored === undefined || this.#heldPatterns.has(wish));
  }

  /**
   * @throws UsageError DUPLICATE_STREAM, INVALID_STREAM_NAME, INVALID_TOKEN, INVALID_POSITION,
   *   INVALID_OPTION
   */
  add(stream: Stream | StreamName, options: SubscribeOptions, handler: BatchHandler): Runner {
    this.#check('subscribe', options);
    const name = streamName(nameOf(stream));
    const definition = typeof stream === 'string' ? unknownStream(name) : stream;
    if (name.startsWith('$')) {
      const text = `stream ${name} is of the primary's log: subscribeAll reads it, an application does not`;
      throw new UsageError('INVALID_STREAM_NAME', text);
    }
    if (isPattern(name)) {
      const text = `${quote(name)} is a pattern of streams: use subscribeMatching`;
      throw new UsageError('INVALID_STREAM_NAME', text, { facts: { stream: name } });
    }
    checkStream(name, options);
    const existing = this.#runners.get(name);
    if (existing !== undefined) {
      if (existing.error === undefined) {
        throw new UsageError(
          'DUPLICATE_STREAM',
          `stream ${name} is subscribed already: do all in one handler, or unsubscribe it first`,
        );
      }
      this.remove(existing);
    }
    const runner = this.#make(name, { validator: definition.row, handler, onError: options.onError ?? 'stop' });
    const wish: Wish = { runner, stream: definition, options };
    this.#wishes.add(wish);
    if (this.#stored !== undefined) this.#begin(wish);
    return runner;
  }

  /**
   * @returns subscriptions through EVERY_NAME whose streams this pattern takes over
   * @throws UsageError DUPLICATE_STREAM, INVALID_STREAM_NAME, INVALID_TOKEN, INVALID_OPTION
   */
  addPattern(pattern: NamePattern | StreamPattern, options: SubscribeOptions, handler: BatchHandler): Runner[] {
    this.#check('subscribeMatching', options);
    const name = checkAnyPattern(declaredText(pattern));
    const definition = typeof pattern === 'string' ? undefined : pattern;
    for (const other of this.#patterns.keys()) {
      const areApart = name !== other && (name === EVERY_NAME || other === EVERY_NAME || !patternsOverlap(name, other));
      if (areApart) continue;
      const text = `patterns ${other} and ${name} share names: subscribe each name through one of them`;
      throw new UsageError('DUPLICATE_STREAM', text, { facts: { patterns: [other, name] } });
    }
    const isDurable = definition?.durable ?? true;
    const wish: PatternWish = { pattern: name, isDurable, validator: definition?.row, options, handler };
    this.#patterns.set(name, wish);
    if (this.#stored === undefined) return [];
    const taken = this.#through(EVERY_NAME).filter(({ stream }) => this.#patterns.find(stream) === wish);
    for (const runner of taken) this.#take(runner);
    this.#beginPattern(wish);
    return taken;
  }

  /**
   * Forgets a pattern and every subscription through it, but keeps their positions.
   * @returns the subscriptions, which are still to be stopped
   */
  removePattern(pattern: NamePattern): Runner[] {
    const wish = this.#patterns.get(pattern);
    const isHeld = wish !== undefined && this.#heldPatterns.delete(wish);
    this.#patterns.giveUp(pattern);
    const runners = this.#through(pattern);
    for (const runner of runners) {
      this.#runners.delete(runner.stream);
      this.#noteLeaving(runner);
      this.#keepPosition(runner);
      for (const machine of runner.machines) this.#byMachine.delete(machine);
    }
    if (this.#stored !== undefined && !isHeld)
      this.#options.follower.handlePatternGivenUp(this.#options.now(), pattern);
    return runners;
  }

  /** Forgets a subscription that ended, but keeps its position. */
  remove(runner: Runner): void {
    if (this.#runners.get(runner.stream) !== runner) return;
    this.#runners.delete(runner.stream);
    this.#noteLeaving(runner);
    this.#keepPosition(runner);
    for (const wish of this.#wishes) if (wish.runner === runner) this.#wishes.delete(wish);
    this.release(runner);
  }

  /** Stops following the stream, and keeps what is known of it. */
  release(runner: Runner): void {
    const isGone = this.#ending.get(runner) === true;
    this.#ending.delete(runner);
    if (isGone) this.#forget(runner.stream, runner);
    for (const machine of runner.machines) {
      if (this.#byMachine.delete(machine)) this.#options.follower.handleUnsubscribe(this.#options.now(), machine);
    }
  }

  /** The stream of a pattern was deleted. `isEnded`: the subscription ended with it. */
  handleDeleted(runner: Runner, isEnded: boolean): void {
    const { stream } = runner;
    if (this.#runners.get(stream) !== runner) return;
    this.#stored?.delete(stream);
    this.#options.onChanged(stream, undefined);
    if (!isEnded) return;
    this.#runners.delete(stream);
    for (const machine of runner.machines) this.#byMachine.delete(machine);
  }

  /** A removed subscription may still finish its last batch, and its position is kept too. */
  handlePosition(runner: Runner): void {
    if (this.#runners.get(runner.stream) !== runner) this.#keepPosition(runner);
  }

  /** The checkpoint was read, so everything that was requested begins. */
  begin(stored: ReadonlyMap<string, Position>): void {
    this.#loaded = stored;
    this.#stored = new Map(stored);
    this.#options.follower.handleStored(stored.values());
    for (const wish of this.#wishes) this.#begin(wish);
    // Another pattern wins over EVERY_NAME, so it comes first.
    const patterns = [...this.#patterns.keys()].sort((a, b) => Number(a === EVERY_NAME) - Number(b === EVERY_NAME));
    for (const pattern of patterns) this.#beginPattern(this.#patterns.get(pattern)!);
  }

  handle(output: Extract<FollowerOutput, { kind: 'ready' | 'discovered' | 'ended' | 'gone' }>): void {
    switch (output.kind) {
      case 'discovered':
        return this.handleDiscovered(output.subscription);
      case 'ready':
        return this.#byMachine.get(output.subscription)?.run();
      case 'ended': {
        const runner = this.#byMachine.get(output.subscription);
        if (runner !== undefined) this.#ending.set(runner, false);
        return;
      }
      case 'gone':
        if (output.isLast) this.#handleGone(output.stream);
        return this.#options.onGone(output);
      default:
        return assertNever(output);
    }
  }

  /** A stream of a pattern is followed by this machine. */
  handleDiscovered(machine: Machine): void {
    const { stream, spec } = machine;
    const { pattern, validator, handler, options } = this.#patterns.get(spec.pattern!)!;
    // From now on the subscription knows where the stream stands.
    if (spec.applied !== undefined && this.#stored!.get(stream) === spec.applied) this.#stored!.delete(stream);
    const before = this.#runners.get(stream);
    const isDraining = before !== undefined && !before.isEnded;
    const runner = isDraining
      ? before
      : this.#make(stream, { pattern, validator, handler, onError: options.onError ?? 'stop' });
    this.#attach(runner, machine);
    if (!isDraining) {
      this.#holdBehindOthers(runner);
      this.#options.onDiscovered(runner);
    }
    runner.run();
  }

  /** The stream was deleted. A subscription that still has items of it learns of that in order. */
  #handleGone(stream: StreamName): void {
    const runner = this.#runners.get(stream);
    // One that was subscribed by name and failed keeps its error.
    if (runner !== undefined && runner.isEnded && runner.pattern === undefined) return;
    if (runner === undefined || runner.isEnded) this.#forget(stream, runner);
    else if (runner.pattern !== undefined && this.#ending.has(runner)) this.#ending.set(runner, true);
  }

  /** Keeps nothing of a stream that was deleted. */
  #forget(stream: StreamName, runner: Runner | undefined): void {
    runner?.machine?.delivery.handleGone();
    if (this.#runners.get(stream) === runner) this.#runners.delete(stream);
    this.#stored?.delete(stream);
    this.#options.onChanged(stream, undefined);
  }

  #make(stream: StreamName, options: Omit<RunnerOptions, 'hooks'>): Runner {
    const runner = new Runner(stream, { ...options, hooks: this.#options.hooks });
    this.#runners.set(stream, runner);
    return runner;
  }

  #attach(runner: Runner, machine: Machine): void {
    runner.attach(machine);
    this.#byMachine.set(machine, runner);
  }

  #through(pattern: NamePattern): Runner[] {
    return [...this.#runners.values()].filter((runner) => runner.pattern === pattern);
  }

  /** Ends a subscription whose stream another pattern follows from now on. */
  #take(runner: Runner): void {
    this.remove(runner);
    this.#options.follower.handleTaken(runner.stream);
  }

  #noteLeaving(runner: Runner): void {
    this.#ending.delete(runner);
    if (!runner.isAtWork) return;
    const { stream } = runner;
    this.#leaving.set(stream, runner);
    void runner.finished().then(() => {
      if (this.#leaving.get(stream) === runner) this.#leaving.delete(stream);
    });
  }

  /** One stream never has two handlers at work. */
  #holdBehindOthers(runner: Runner): void {
    const before = this.#leaving.get(runner.stream);
    if (before !== undefined) runner.hold(before.finished());
  }

  /** Follows a stream that was requested, if its place is known. */
  #begin(wish: Wish): void {
    const before = this.#leaving.get(wish.runner.stream);
    if (before !== undefined && this.#from(wish.options) === 'checkpoint') {
      // It goes on from where the handler before it ends.
      void before.finished().then(() => {
        if (this.#wishes.has(wish)) this.#begin(wish);
        this.#options.onBegun();
      });
      return;
    }
    this.#wishes.delete(wish);
    this.#holdBehindOthers(wish.runner);
    this.#follow(wish);
  }

  #beginPattern(wish: PatternWish): void {
    const before = [...this.#leaving.values()].filter(({ stream }) => this.#patterns.find(stream) === wish);
    if (before.length === 0 || this.#from(wish.options) !== 'checkpoint') return this.#followPattern(wish);
    this.#heldPatterns.add(wish);
    void Promise.all(before.map(async (runner) => runner.finished())).then(() => {
      if (this.#heldPatterns.delete(wish)) this.#beginPattern(wish);
      this.#options.onBegun();
    });
  }

  #keepPosition({ stream, machine }: Runner): void {
    const position = machine?.delivery.toSave;
    if (position === undefined) return;
    this.#stored?.set(stream, position);
    if (this.#runners.get(stream) === undefined) this.#options.onChanged(stream, position);
  }

  #follow({ runner, stream: { name, durable, row }, options }: Wish): void {
    const { from, applied, saved } = this.#resolve(name, options);
    const machine = this.#options.follower.handleSubscribe(this.#options.now(), {
      stream: name,
      from,
      applied,
      saved,
      onReset: options.onReset ?? (durable ? 'by-durability' : 'earliest'),
      readWithinMs: options.readWithinMs,
      keepsTexts: keepsTexts(row, options),
    });
    this.#attach(runner, machine);
    runner.run();
  }

  #followPattern({ pattern, isDurable, validator, options }: PatternWish): void {
    const from = this.#from(options);
    const begin = from === 'checkpoint' ? (options.fallback ?? 'now') : from;
    const isResumed = from === 'checkpoint';
    this.#options.follower.handlePattern(this.#options.now(), {
      pattern,
      // addPattern has refused other tokens.
      from: begin as 'start' | 'now' | 0,
      onReset: options.onReset ?? (isDurable ? 'by-durability' : 'earliest'),
      readWithinMs: options.readWithinMs,
      keepsTexts: keepsTexts(validator, options),
      positions: isResumed ? this.#stored : undefined,
      saved: isResumed ? this.#loaded : undefined,
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

  /** Checks what no table can say. */
  #check(of: string, options: SubscribeOptions): void {
    const { from, fallback } = options;
    checkPlace(from);
    checkPlace(fallback);
    checkOnError(of, options.onError);
    if (from === 'checkpoint' && !this.#options.hasCheckpoint) {
      throw optionError(of, 'from', "is 'checkpoint', which needs the option checkpoint of the worker");
    }
    if (fallback !== undefined && this.#from(options) !== 'checkpoint') {
      throw optionError(of, 'fallback', "is for from: 'checkpoint' alone: nothing else can lack the stream");
    }
  }
}

function checkPlace(place: SubscribeOptions['from']): void {
  if (typeof place === 'number') checkToken(place);
  else if (typeof place === 'object') checkPosition(place);
}

/**
 * Checks a pattern from outside. The key of its boundaries must be a name too, so that every
 * checkpoint can keep it.
 * @throws UsageError INVALID_STREAM_NAME
 */
function checkAnyPattern(text: string): NamePattern {
  const pattern = text === EVERY_NAME ? text : checkPattern(text);
  const fault = streamNameFault(boundaryKey(catalogOf('0'.repeat(LOG_ID_DIGITS)), pattern));
  if (fault === undefined) return pattern;
  throw new UsageError('INVALID_STREAM_NAME', `pattern ${quote(text)} is too long to be followed`);
}

/** Refuses a position of another stream, which is a mix-up. */
function checkStream(stream: StreamName, options: SubscribeOptions): void {
  for (const option of ['from', 'fallback'] as const) {
    const place = options[option];
    if (typeof place !== 'object' || place.stream === stream) continue;
    throw new UsageError('INVALID_POSITION', `${option} is a position of stream ${place.stream}, not of ${stream}`);
  }
}

/** Whether the text of a row may be needed: for a dead-letter stream, or to give the row anew. */
function keepsTexts(validator: RowValidator | undefined, { onError = 'stop' }: SubscribeOptions): boolean {
  return validator !== undefined || typeof onError !== 'string';
}

/** The definition of a stream that is known only by name. */
function unknownStream(name: StreamName): Stream {
  return { name, durable: true, retain: {} };
}
