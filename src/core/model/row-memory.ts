/**
 * About how much memory a row takes once its JSON is read, and never far below. Measured with Node
 * 20 (V8 11.3).
 */

/** An empty array takes 40 bytes including its place in a list, an empty object 64. */
const BYTES_PER_CONTAINER = 56;
const BYTES_PER_ELEMENT = 8;
/** The most that memoryOf counts for one character. The worst text is `{},`, three characters. */
export const MAX_BYTES_PER_CHARACTER = 24;

const COMMA = 0x2c;
const OPEN_BRACKET = 0x5b;
const OPEN_BRACE = 0x7b;

/**
 * About how many bytes of memory the JSON from `start` to `end` takes. Commas and brackets within
 * strings count too.
 */
export function memoryOf(text: string, start: number = 0, end: number = text.length): number {
  let containers = 0;
  let commas = 0;
  for (let i = start; i < end; i++) {
    const code = text.charCodeAt(i);
    if (code === COMMA) commas++;
    else if (code === OPEN_BRACKET || code === OPEN_BRACE) containers++;
  }
  return end - start + containers * BYTES_PER_CONTAINER + commas * BYTES_PER_ELEMENT;
}
