/** The limits of an admin server with their defaults (docs/operations.md, "The admin port"). */

import type { Millis } from '../base/clock.ts';
import { UsageError } from '../core/model/errors.ts';

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

/**
 * Lays the caller's own values over the defaults.
 * @throws UsageError INVALID_OPTION
 */
export function mergeAdminLimits(own: Partial<AdminLimits> = {}): AdminLimits {
  for (const [name, value] of Object.entries(own)) {
    if (!Object.hasOwn(defaultAdminLimits, name)) {
      const names = Object.keys(defaultAdminLimits).join(', ');
      throw new UsageError('INVALID_OPTION', `there is no limit ${name} of the admin port; there are ${names}`);
    }
    if (!Number.isSafeInteger(value) || value < 1)
      throw new UsageError('INVALID_OPTION', `limit ${name} of the admin port is a positive integer`);
  }
  return { ...defaultAdminLimits, ...own };
}
