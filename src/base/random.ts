/** Chance. Code that needs it takes a Random, so that a seed repeats its behaviour. */

export interface Random {
  /** A number from 0 (inclusive) to 1 (exclusive). */
  next(): number;
}

/** Math.random: not for secrets. */
export const systemRandom: Random = { next: () => Math.random() };

/**
 * Returns the same numbers for the same seed, on every machine (xorshift32, seeded through a mixing
 * step).
 */
export function seededRandom(seed: number): Random {
  // Neighbouring seeds must not give neighbouring numbers, and xorshift must not start at zero.
  let state = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ (seed >>> 13) || 0x6d2b79f5;
  const next = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
  for (let i = 0; i < 8; i++) next();
  return { next };
}

/** An integer from `low` to `high`, both inclusive. */
export function randomInteger(random: Random, low: number, high: number): number {
  return low + Math.floor(random.next() * (high - low + 1));
}

/** `digits` random hexadecimal digits, for an identity that need not be secret. */
export function randomHex(random: Random, digits: number): string {
  let text = '';
  while (text.length < digits) text += Math.floor(random.next() * 16).toString(16);
  return text;
}
