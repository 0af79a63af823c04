/** The name that a misspelt one was probably meant to be. */

/** No option is longer. A longer name is nobody's slip. */
const LONGEST_NAME = 64;

/** The known name that is nearest to a misspelt one. Undefined when none is near. */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  if (name.length > LONGEST_NAME) return undefined;
  const wrong = name.toLowerCase();
  // A unit or an end may be all that is missing: `timeout` for `timeoutMs`.
  const longer = known.find((each) => wrong.length > 2 && each.toLowerCase().startsWith(wrong));
  if (longer !== undefined) return longer;
  let nearest: string | undefined;
  let least = mostSlips(wrong) + 1;
  for (const each of known) {
    const slips = countSlips(wrong, each.toLowerCase());
    if (slips < least) [nearest, least] = [each, slips];
  }
  return nearest;
}

/** A third of a name, and at least one letter of a short one. */
function mostSlips(name: string): number {
  return Math.max(1, Math.floor(name.length / 3));
}

/**
 * How many letters are to be added, left out, changed or swapped with their neighbour (the
 * optimal string alignment distance).
 */
function countSlips(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = last[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      let slips = Math.min(change, last[j]! + 1, row[j - 1]! + 1);
      const isSwapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (isSwapped) slips = Math.min(slips, before[j - 2]! + 1);
      row.push(slips);
    }
    [before, last] = [last, row];
  }
  return last[b.length]!;
}
