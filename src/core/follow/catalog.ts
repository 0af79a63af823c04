/**
 * Follows the stream of streams of one of the primary's logs, for a worker that follows every
 * stream (docs/protocol.md, "Every stream").
 *
 *   boundary ──POSITION──▶ listing ──▶ live
 *
 * The boundary is where `$streams` stood when the worker began; a checkpoint keeps it. A stream
 * made at or below the boundary is followed from where the application said. A stream made above it
 * is always followed from its first row.
 */

import { PeerError, quoteValue } from '../model/errors.ts';
import { logIdOf } from '../model/history.ts';
import type { Position } from '../model/position.ts';
import { type StreamName, streamNameFault } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import { Subscription, type SubscriptionHost } from './subscription.ts';

export interface CatalogOptions {
  readonly name: StreamName;
  /** The boundary that a checkpoint holds. */
  readonly boundary: Position | undefined;
  /**
   * False for an observer, which may not send RELEASE. Its boundary is where the first listing
   * ends.
   */
  readonly canRelease: boolean;
  readonly host: SubscriptionHost;
  /** Called with the boundary once it is known, to store it in a checkpoint. */
  readonly keep: (boundary: Position) => void;
  /** Called for each stream that is listed. `isNew`: it was made above the boundary. */
  readonly discover: (stream: StreamName, isNew: boolean) => void;
}

export class Catalog {
  readonly #name: StreamName;
  readonly #keep: CatalogOptions['keep'];
  readonly #discover: CatalogOptions['discover'];
  readonly subscription: Subscription;
  #boundary: Position | undefined;
  #phase: 'boundary' | 'listing';
  /**
   * Streams made above this token are new. Infinity before the boundary is known: nothing is new.
   */
  #newAbove: Token;

  constructor({ name, boundary, canRelease, host, keep, discover }: CatalogOptions) {
    this.#name = name;
    this.#keep = keep;
    this.#discover = discover;
    this.#boundary = boundary;
    this.#newAbove = boundary?.token ?? Infinity;
    this.#phase = canRelease ? 'boundary' : 'listing';
    const from = canRelease ? (boundary ?? 'now') : 'start';
    this.subscription = new Subscription({ stream: name, from, onReset: 'earliest' }, host);
  }

  /**
   * Takes what has come.
   * @param onApplied called with the cost of each item
   * @throws PeerError INVALID_ROW, TOO_MANY_STREAMS
   */
  handleItems(onApplied: (cost: number) => void): void {
    const { delivery } = this.subscription;
    for (let item = delivery.take(); item !== undefined; item = delivery.take()) {
      delivery.finish(item, true);
      onApplied(item.cost);
      switch (item.kind) {
        case 'batch':
          this.#checkLog(item.batch.position);
          for (const row of item.batch.rows) this.#handleRow(row, item.batch.token);
          break;
        case 'reset':
          this.#handleReset();
          break;
        case 'position':
          this.#handlePosition(item.position);
          break;
      }
    }
  }

  /**
   * A stream that is not followed yet is new, whatever its token: tokens of another history say
   * nothing.
   */
  #handleReset(): void {
    this.#newAbove = 0;
    this.#boundary = undefined;
    this.#phase = 'listing';
  }

  /**
   * An observer does not ask for its boundary, so no RESET tells that the boundary is of another
   * log.
   */
  #checkLog({ history }: Position): void {
    const before = this.#boundary?.history;
    if (before !== undefined && history !== undefined && logIdOf(before) !== logIdOf(history)) this.#handleReset();
  }

  #handlePosition(position: Position): void {
    this.#checkLog(position);
    this.#newAbove = Math.min(this.#newAbove, position.token);
    if (this.#boundary === undefined) {
      this.#boundary = { ...position, token: this.#newAbove };
      this.#keep(this.#boundary);
    }
    if (this.#phase === 'listing') return;
    this.#phase = 'listing';
    this.subscription.askAgain('start');
  }

  #handleRow(row: unknown, token: Token): void {
    const { stream, made } = (row ?? {}) as { stream?: unknown; made?: unknown };
    if (typeof stream !== 'string' || streamNameFault(stream) !== undefined || stream.startsWith('$')) {
      throw new PeerError('INVALID_ROW', `stream ${this.#name} has a row that names no stream: ${quoteValue(row)}`);
    }
    // Rows of other kinds belong to later versions.
    if (made === undefined) return;
    this.#discover(stream, token > this.#newAbove);
  }
}
