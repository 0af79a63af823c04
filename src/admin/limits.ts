/** The limits of an admin server with their defaults (docs/operations.md, "The admin port"). */

import type { Millis } from '../base/clock.ts';
import { integerFrom } from '../core/model/option-kinds.ts';
import type { OptionTable } from '../core/model/options.ts';

export interface AdminLimits {
  /**
   * What all uploads of the server together may hold in memory, in bytes: rows that wait for the
   * rest of their batch or for the log, and unfinished lines. An upload that would hold more is
   * answered 503 with Retry-After.
   */
  readonly uploadBytes: number;
  /**
   * Where another upload needs the room, one whose batch has not become whole for this long is
   * ended.
   */
  readonly uploadTimeoutMs: Millis;
  /** Connections at a time. One more is closed at once. */
  readonly maxConnections: number;
}

const defaultAdminLimits: AdminLimits = Object.freeze({
  uploadBytes: 16 * 1024 * 1024,
  uploadTimeoutMs: 60_000,
  maxConnections: 512,
});

/** What `limits` of an admin server may have. */
export const adminLimitTable: OptionTable<Partial<AdminLimits>> = {
  uploadBytes: integerFrom(1),
  uploadTimeoutMs: integerFrom(1),
  maxConnections: integerFrom(1),
};

/** Lays the caller's own values, which are checked by a table, over the defaults. */
export function mergeAdminLimits(own: Partial<AdminLimits> = {}): AdminLimits {
  return { ...defaultAdminLimits, ...own };
}
