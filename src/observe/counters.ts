/** Counts of what happened to a primary since it started. Hears of it from whoever wires it to the primary's events. */

import type { ErrorCode } from '../core/model/errors.ts';

export interface Counts {
  /** Connections that were made, those that are open included. */
  readonly connectionsMade: number;
  /** Workers that were disconnected because they did not keep up. */
  readonly slowConsumersCut: number;
  /** Other connections that the primary ended with ERROR, by what was wrong. */
  readonly errors: Readonly<Partial<Record<ErrorCode, number>>>;
}

export class Counters {
  #connectionsMade = 0;
  #slowConsumersCut = 0;
  readonly #errors = new Map<ErrorCode, number>();

  handleConnected(): void {
    this.#connectionsMade++;
  }

  handleWarning(error: { readonly code: ErrorCode }): void {
    if (error.code === 'SLOW_CONSUMER') this.#slowConsumersCut++;
    else this.#errors.set(error.code, (this.#errors.get(error.code) ?? 0) + 1);
  }

  get counts(): Counts {
    return {
      connectionsMade: this.#connectionsMade,
      slowConsumersCut: this.#slowConsumersCut,
      errors: Object.fromEntries(this.#errors),
    };
  }
}
