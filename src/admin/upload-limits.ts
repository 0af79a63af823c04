/** What an upload may ask for. The command line checks it before it sends anything. */

export const MAX_ROWS_PER_BATCH = 10_000;
/** With `/` and the number of a batch it is an id of a batch, of at most 255 characters. */
const LONGEST_IDEMPOTENCY_KEY = 200;
export const IDEMPOTENCY_KEY_RULE: string = `1 to ${LONGEST_IDEMPOTENCY_KEY} visible ASCII characters`;

/** Whether every batch of an upload can have an id of its own by this key. */
export function isIdempotencyKey(text: string): boolean {
  return text.length <= LONGEST_IDEMPOTENCY_KEY && /^[\x21-\x7e]+$/.test(text);
}
