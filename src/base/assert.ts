/** Assertions. One that fails is a bug in Rowcast itself: it is not caught below the top. */

export function assert(condition: boolean, expectation: string): asserts condition {
  if (!condition) throw new Error(`Bug in Rowcast: expected ${expectation}`);
}

/** Ends a switch over a union: a case that was forgotten does not compile. */
export function assertNever(value: never): never {
  throw new Error(`Bug in Rowcast: no case for ${JSON.stringify(value)}`);
}
