/**
 * Patterns of stream names (docs/protocol.md, "Patterns"). `*` stands for one or more characters
 * other than `:`. So `room:*` matches `room:42`, and neither `room:` nor `room:42:events`.
 * `**` alone matches every name. No pattern matches a name that begins with `$`, and none but `**`
 * a name with a `*`.
 */

import { quote, quoteValue, UsageError } from './errors.ts';
import { type StreamName, streamNameFault } from './stream.ts';

/** Text with at least one `*`. Made by checkPattern, or EVERY_NAME. */
export type NamePattern = string;

/** Matches every name. */
export const EVERY_NAME: NamePattern = '**';

/** Whether the text is meant as a pattern: no name has a `*`. */
export function isPattern(text: string): boolean {
  return text.includes('*');
}

/**
 * Checks a pattern from outside.
 * @throws UsageError INVALID_STREAM_NAME
 */
export function checkPattern(text: string): NamePattern {
  const why = patternFault(text);
  if (why !== undefined)
    throw new UsageError(
      'INVALID_STREAM_NAME',
      `pattern ${typeof text === 'string' ? quote(text) : quoteValue(text)}: ${why}`,
    );
  return text;
}

/** Why a text is no pattern, in words; undefined when it is one. */
export function patternFault(text: unknown): string | undefined {
  if (typeof text !== 'string') return 'it is no text';
  if (!isPattern(text)) return 'it has no *, so it is a name';
  if (text.startsWith('$')) return "names with $ in front are a log's own";
  if (text.includes('**')) return 'a * stands beside another *';
  return streamNameFault(text);
}

/** Whether a name is one of those that the pattern means. */
export function matchesPattern(pattern: NamePattern, name: StreamName): boolean {
  if (name.startsWith('$')) return false;
  if (pattern === EVERY_NAME) return true;
  // Else append and REPLICATE would take a pattern for a stream of its own.
  if (isPattern(name)) return false;
  const patternParts = pattern.split(':');
  const nameParts = name.split(':');
  return patternParts.length === nameParts.length && patternParts.every((part, i) => matchesPart(part, nameParts[i]!));
}

/** Takes the leftmost place of each piece between stars: linear in memory, never exponential in time. */
function matchesPart(pattern: string, text: string): boolean {
  const pieces = pattern.split('*');
  if (pieces.length === 1) return pattern === text;
  const first = pieces[0]!;
  const last = pieces[pieces.length - 1]!;
  if (!text.startsWith(first)) return false;
  let at = first.length;
  for (const piece of pieces.slice(1, -1)) {
    const found = text.indexOf(piece, at + 1);
    if (found < 0) return false;
    at = found + piece.length;
  }
  return text.length - last.length > at && text.endsWith(last);
}

/** Whether some name matches both patterns. */
export function patternsOverlap(a: NamePattern, b: NamePattern): boolean {
  if (a === EVERY_NAME || b === EVERY_NAME) return true;
  const partsOfA = a.split(':');
  const partsOfB = b.split(':');
  return partsOfA.length === partsOfB.length && partsOfA.every((part, i) => partsOverlap(part, partsOfB[i]!));
}

/**
 * Whether some text matches both parts. Walks both at once over every text: a star is one character
 * of any kind (ANY), and then any number of further ones (MANY).
 */
function partsOverlap(a: string, b: string): boolean {
  const stepsOfA = stepsOf(a);
  const stepsOfB = stepsOf(b);
  const width = stepsOfB.length + 1;
  const seen = new Set<number>();
  const open = [0];
  for (let place = open.pop(); place !== undefined; place = open.pop()) {
    if (seen.has(place)) continue;
    seen.add(place);
    const [i, j] = [Math.floor(place / width), place % width];
    const [stepOfA, stepOfB] = [stepsOfA[i], stepsOfB[j]];
    if (stepOfA === undefined && stepOfB === undefined) return true;
    if (stepOfA === MANY) open.push(place + width);
    if (stepOfB === MANY) open.push(place + 1);
    if (stepOfA === undefined || stepOfB === undefined) continue;
    const isSame = stepOfA === stepOfB || stepOfA.startsWith(ANY) || stepOfB.startsWith(ANY);
    if (isSame) open.push(place + (stepOfA === MANY ? 0 : width) + (stepOfB === MANY ? 0 : 1));
  }
  return false;
}

const ANY = '*';
const MANY = '**';

function stepsOf(part: string): string[] {
  return Array.from(part).flatMap((character) => (character === '*' ? [ANY, MANY] : [character]));
}
