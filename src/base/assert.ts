/** Assertions. A failed one is a bug in Rowcast itself, and nothing below the top catches it. */

export function assert(condition: boolean, expectation: string): asserts condition {
  if (!condition) throw new Error(`Bug in Rowcast: expected ${expectation}`);
}

/** Ends a switch over a union: a forgotten case does not compile. */
export function assertNever(value: never): never {
  throw new Error(`Bug in Rowcast: no case for ${JSON.stringify(value)}`);
}
