/**
 * Follows the stream of streams of one of the primary's logs, for a worker that follows every stream (docs/protocol.md,
 * "Every stream").
 *
 *   boundary ──POSITION──▶ listing ──▶ live
 *
 * First the boundary: where `$streams` stood when the worker began, or what a checkpoint holds of that. A stream made at or
 * below it is followed from where the application said; one that was made above it from its first row, whatever was said.
 */

import { PeerError, quoteValue } from '../model/errors.ts';
import type { Position } from '../model/position.ts';
import { type StreamName, streamNameFault } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import { Subscription, type SubscriptionHost } from './subscription.ts';

export interface CatalogOptions {
  readonly name: StreamName;
  /** As a checkpoint holds it. */
  readonly boundary: Position | undefined;
  /** False for an observer, which may send no RELEASE: its boundary is where the first listing ends. */
  readonly canRelease: boolean;
  readonly host: SubscriptionHost;
  /** There is a stream. `isNew`: it was made above the boundary. */
  readonly discover: (stream: StreamName, isNew: boolean) => void;
}

export class Catalog {
  readonly #name: StreamName;
  readonly #discover: CatalogOptions['discover'];
  readonly subscription: Subscription;
  #boundary: Position | undefined;
  #phase: 'boundary' | 'listing';
  /** Streams made above it are new. Before the boundary is known nothing is. */
  #newAbove: Token;

  constructor({ name, boundary, canRelease, host, discover }: CatalogOptions) {
    this.#name = name;
    this.#discover = discover;
    this.#boundary = boundary;
    this.#newAbove = boundary?.token ?? Infinity;
    this.#phase = canRelease ? 'boundary' : 'listing';
    const from = canRelease ? (boundary ?? 'now') : 'start';
    this.subscription = new Subscription({ stream: name, from, onReset: 'earliest' }, host);
  }

  /** To be stored in a checkpoint. */
  get boundary(): Position | undefined {
    return this.#boundary;
  }

  /**
   * Something came.
   * @returns what the rows counted for
   * @throws PeerError INVALID_ROW, TOO_MANY_STREAMS
   */
  handleItems(): number {
    const { delivery } = this.subscription;
    let cost = 0;
    for (let item = delivery.take(); item !== undefined; item = delivery.take()) {
      delivery.finish(item, true);
      switch (item.kind) {
        case 'batch':
          cost += item.cost;
          for (const row of item.batch.rows) this.#handleRow(row, item.batch.token);
          break;
        case 'reset':
          // What is not followed yet is new, whatever its token: tokens of another history say nothing.
          this.#newAbove = 0;
          this.#boundary = undefined;
          this.#phase = 'listing';
          break;
        case 'position':
          this.#handlePosition(item.position);
          break;
      }
    }
    return cost;
  }

  #handlePosition(position: Position): void {
    this.#newAbove = Math.min(this.#newAbove, position.token);
    this.#boundary ??= { ...position, token: this.#newAbove };
    if (this.#phase === 'listing') return;
    this.#phase = 'listing';
    this.subscription.askAgain('start');
  }

  #handleRow(row: unknown, token: Token): void {
    const { stream, made } = (row ?? {}) as { stream?: unknown; made?: unknown };
    if (typeof stream !== 'string' || streamNameFault(stream) !== undefined || stream.startsWith('$')) {
      throw new PeerError('INVALID_ROW', `stream ${this.#name} has a row that names no stream: ${quoteValue(row)}`);
    }
    // Rows of other kinds are of later versions.
    if (made === undefined) return;
    this.#discover(stream, token > this.#newAbove);
  }
}
