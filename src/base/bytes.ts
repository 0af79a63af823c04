/** Bytes and their text, for code that must not depend on Node: what Buffer does, with Uint8Array. */

const encoder = new TextEncoder();

/** Text is encoded in here first: an array of its own for each short text costs more than all else. */
const scratch = new Uint8Array(12 * 1024);

export const LONGEST_UTF8_BYTES_PER_UNIT = 3;
const SCRATCH_UNITS = scratch.length / LONGEST_UTF8_BYTES_PER_UNIT;

/** The text as UTF-8; half a character (a lone surrogate) becomes U+FFFD. */
export function utf8(text: string): Uint8Array {
  if (text.length > SCRATCH_UNITS) return encoder.encode(text);
  return scratch.slice(0, encoder.encodeInto(text, scratch).written);
}

/** The length that utf8 would give. Allocates nothing. */
export function utf8Length(text: string): number {
  let bytes = 0;
  for (let at = 0, end = 0; at < text.length; at = end) {
    end = Math.min(at + SCRATCH_UNITS, text.length);
    // A character of two units must not be halved between two pieces.
    if (end < text.length && isHighSurrogate(text.charCodeAt(end - 1))) end--;
    bytes += encoder.encodeInto(text.slice(at, end), scratch).written;
  }
  return bytes;
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff;
}
