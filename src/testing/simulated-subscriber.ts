/** The application's side of one subscription: applies what comes, one thing after another, each in its time. */

import type { Clock, Millis } from '../base/clock.ts';
import type { InterestOutput, Position, SubscriptionSpec } from '../core/follow/interests.ts';
import type { Happening, Reader, StartsAt, WorldRow } from './happening.ts';

export interface SimulatedSubscriberOptions {
  readonly reader: Reader;
  readonly clock: Clock;
  readonly onReset: SubscriptionSpec['onReset'];
  /** How long the next batch takes. */
  readonly applyMs: () => Millis;
  readonly tell: (happening: Happening) => void;
  readonly onApplied: (bytes: number) => void;
  readonly onPosition: (position: Position) => void;
  /** A position that is still to be applied came in. */
  readonly onQueued?: (position: Position) => void;
}

type Item = Exclude<InterestOutput, { kind: 'failed' }>;

export class SimulatedSubscriber {
  readonly reader: Reader;
  readonly #options: SimulatedSubscriberOptions;
  #items: Item[] = [];
  #isBusy = false;
  #isStopped = false;
  /** Where it stands: everything up to here is applied. */
  position: Position | undefined;
  /** Where it will stand when what waits is applied. */
  received: Position | undefined;

  constructor(options: SimulatedSubscriberOptions) {
    this.#options = options;
    this.reader = options.reader;
  }

  get isIdle(): boolean {
    return !this.#isBusy && this.#items.length === 0 && !this.#isStopped;
  }

  handle(item: Item): void {
    if (this.#isStopped) {
      if (item.kind === 'batch') this.#options.onApplied(item.bytes);
      return;
    }
    if (item.position !== undefined) this.#options.onQueued?.(item.position);
    this.received = item.position ?? this.received;
    this.#items.push(item);
    this.#run();
  }

  /** What waits is given up. */
  stop(): void {
    this.#isStopped = true;
    const items = this.#items;
    this.#items = [];
    for (const item of items) if (item.kind === 'batch') this.#options.onApplied(item.bytes);
  }

  #run(): void {
    while (!this.#isBusy) {
      const item = this.#items.shift();
      if (item === undefined) return;
      const applyMs = item.kind === 'batch' ? this.#options.applyMs() : 0;
      this.#isBusy = true;
      if (applyMs > 0) {
        this.#options.clock.wakeIn(applyMs, () => {
          this.#finish(item);
          this.#run();
        });
        return;
      }
      this.#finish(item);
    }
  }

  #finish(item: Item): void {
    this.#isBusy = false;
    if (!this.#isStopped) this.#apply(item);
    if (item.kind === 'batch') this.#options.onApplied(item.bytes);
  }

  #apply(item: Item): void {
    const { reader, tell, onReset, onPosition } = this.#options;
    if (item.kind === 'batch')
      tell({
        kind: 'applied',
        ...reader,
        token: item.token,
        rows: (item.rows as WorldRow[]).map(({ batch, index, of }) => ({ batch, index, of })),
      });
    if (item.kind === 'reset') {
      const next: StartsAt = item.position ?? (onReset === 'now' ? 'now' : 'start');
      this.position = item.position;
      tell({ kind: 'reset', ...reader, code: item.error.code, next });
    } else if (item.position !== undefined) {
      this.position = item.position;
      tell({ kind: 'positioned', ...reader, position: item.position });
    }
    if (item.position !== undefined) onPosition(item.position);
  }
}
