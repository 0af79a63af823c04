/** Text and bytes, for code that knows nothing of Node. */

const encoder = new TextEncoder();

/** Text as UTF-8. */
export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}
