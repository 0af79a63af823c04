/** Bytes and their text without Node's Buffer, for code that must not depend on Node. */

const encoder = new TextEncoder();

/** Text is encoded into this buffer first: an array for each short text would cost the most. */
const scratch = new Uint8Array(12 * 1024);

export const LONGEST_UTF8_BYTES_PER_UNIT = 3;
const SCRATCH_UNITS = scratch.length / LONGEST_UTF8_BYTES_PER_UNIT;

/** Encodes text as UTF-8. A lone surrogate becomes U+FFFD. */
export function utf8(text: string): Uint8Array {
  if (text.length > SCRATCH_UNITS) return encoder.encode(text);
  return scratch.slice(0, encoder.encodeInto(text, scratch).written);
}

const REPLACEMENT = '\ufffd';
const decoder = new TextDecoder('utf-8', { fatal: false, ignoreBOM: true });

/** Gives U+FFFD for what is not UTF-8. */
export function decodeLeniently(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/**
 * Whether the bytes are the UTF-8 of a text that was decoded leniently. Throws nothing, because
 * errors for very many short texts take long.
 */
export function isWhole(text: string, bytes: Uint8Array): boolean {
  let replaced = 0;
  for (let at = text.indexOf(REPLACEMENT); at >= 0; at = text.indexOf(REPLACEMENT, at + 1)) replaced++;
  // Those that stand in the bytes themselves. 0xef always begins a character.
  for (let at = bytes.indexOf(0xef); at >= 0 && replaced > 0; at = bytes.indexOf(0xef, at + 1)) {
    if (bytes[at + 1] === 0xbf && bytes[at + 2] === 0xbd) replaced--;
  }
  return replaced === 0;
}

/** A copy of a part of a longer text that does not keep the longer text in memory. */
export function ownText(part: string): string {
  return decoder.decode(encoder.encode(part));
}

/** The number of bytes that utf8 would return, without allocating them. */
export function utf8Length(text: string): number {
  let bytes = 0;
  for (let at = 0, end = 0; at < text.length; at = end) {
    end = Math.min(at + SCRATCH_UNITS, text.length);
    // A surrogate pair must not be split between two pieces.
    if (end < text.length && isHighSurrogate(text.charCodeAt(end - 1))) end--;
    bytes += encoder.encodeInto(text.slice(at, end), scratch).written;
  }
  return bytes;
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff;
}
