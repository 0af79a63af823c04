/** Counts a primary's events since its start. The caller connects it to those events. */

import type { ErrorCode } from '../core/model/errors.ts';

export type CountsByCode = Readonly<Partial<Record<ErrorCode, number>>>;

export interface Counts {
  /** All connections so far, open ones included. */
  readonly connectionsMade: number;
  /** Workers that were disconnected because they did not keep up. */
  readonly slowConsumersCut: number;
  /**
   * Streams for which a peer other than Rowcast asked for rows that are no longer kept. It was
   * served the rows that are kept.
   */
  readonly trimmedServed: number;
  /**
   * Streams that were refused or are no longer replicated, by reason. Rowcast workers keep their
   * connection.
   */
  readonly refusals: CountsByCode;
  /** Connections that the primary ended with ERROR for another reason, and commands that failed. */
  readonly errors: CountsByCode;
}

/** The codes of REFUSED (docs/protocol.md). */
export const refusalCodes: readonly ErrorCode[] = Object.freeze([
  'GAP',
  'RESET',
  'UNKNOWN_STREAM',
  'AHEAD',
  'UNAVAILABLE',
]);

export class Counters {
  #connectionsMade = 0;
  #slowConsumersCut = 0;
  #trimmedServed = 0;
  readonly #refusals = new Map<ErrorCode, number>();
  readonly #errors = new Map<ErrorCode, number>();

  handleConnected(): void {
    this.#connectionsMade++;
  }

  handleWarning({ code }: { readonly code: ErrorCode }): void {
    if (code === 'SLOW_CONSUMER') this.#slowConsumersCut++;
    else if (code === 'TRIMMED') this.#trimmedServed++;
    else count(refusalCodes.includes(code) ? this.#refusals : this.#errors, code);
  }

  get counts(): Counts {
    return {
      connectionsMade: this.#connectionsMade,
      slowConsumersCut: this.#slowConsumersCut,
      trimmedServed: this.#trimmedServed,
      refusals: Object.fromEntries(this.#refusals),
      errors: Object.fromEntries(this.#errors),
    };
  }
}

function count(counts: Map<ErrorCode, number>, code: ErrorCode): void {
  counts.set(code, (counts.get(code) ?? 0) + 1);
}
