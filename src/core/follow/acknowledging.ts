/**
 * What one replication may tell of its applied and saved position by APPLIED (docs/protocol.md,
 * "APPLIED").
 */

import type { Token } from '../model/token.ts';
import type { Delivery } from './delivery.ts';

export interface Acknowledgement {
  readonly applied: Token;
  readonly saved: Token | undefined;
}

export class Acknowledging {
  readonly #delivery: Delivery;
  /** Where the present replication began. Undefined until the primary has told. */
  #began: Token | undefined;
  /** The first items, up to this count, came before the last reset. */
  #resetMark = 0;
  /** Once this many items are finished, the applied position belongs to the present replication. */
  #ownFrom = 0;
  /** The last APPLIED of the present replication. */
  #told: Acknowledgement | undefined;

  constructor(delivery: Delivery) {
    this.#delivery = delivery;
  }

  /** A replication was requested. `after` undefined: the primary will tell where it begins. */
  handleAsked(after: Token | undefined): void {
    this.#told = undefined;
    this.#began = after;
    this.#ownFrom = after === undefined ? this.#delivery.pushed + 1 : this.#resetMark;
  }

  handleBegan(after: Token): void {
    this.#began ??= after;
  }

  /** The item that was pushed last is a reset. */
  handleReset(): void {
    this.#resetMark = this.#delivery.pushed;
  }

  /** The APPLIED to send now. Undefined when there is nothing new, or nothing that may be told. */
  take(): Acknowledgement | undefined {
    const { applied, saved, done } = this.#delivery;
    if (this.#began === undefined || applied === undefined || done < this.#ownFrom) return undefined;
    if (applied.token < this.#began) return undefined;
    const told = this.#told;
    if (told?.applied === applied.token && told.saved === saved?.token) return undefined;
    this.#told = { applied: applied.token, saved: saved?.token };
    return this.#told;
  }
}
