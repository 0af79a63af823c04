/** What an application wants of one stream. */

import type { Millis } from '../../base/clock.ts';
import type { NamePattern } from '../model/pattern.ts';
import type { Position } from '../model/position.ts';
import type { StreamName } from '../model/stream.ts';
import type { Resume } from './subscription-state.ts';

export interface SubscriptionSpec {
  readonly stream: StreamName;
  readonly from: Resume;
  /** The position that was applied before, by a checkpoint or a person's word. */
  readonly applied?: Position | undefined;
  /** The position that a checkpoint is known to hold. */
  readonly saved?: Position | undefined;
  /**
   * After GAP or RESET: end with the error, go on at the earliest row kept, or go on with new rows.
   * `by-durability`: earliest for a stream that is volatile at the primary, fail for any other.
   */
  readonly onReset: 'fail' | 'earliest' | 'now' | 'by-durability';
  /** How long slow handlers may keep a live subscription unread. Without end when left out. */
  readonly readWithinMs?: Millis | undefined;
  /** Keep the text of each row until its batch is applied. */
  readonly keepsTexts?: boolean | undefined;
  /**
   * The pattern through which the stream is followed. Undefined for a stream that is followed by its
   * name. A primary that does not have a stream of a pattern, or no longer has it, is no failure.
   */
  readonly pattern?: NamePattern | undefined;
}
