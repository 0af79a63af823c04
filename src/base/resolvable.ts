/** A promise, and the functions that settle it. */

export interface Resolvable<Value> {
  readonly promise: Promise<Value>;
  readonly resolve: (value: Value | PromiseLike<Value>) => void;
  readonly reject: (error: unknown) => void;
}

export function resolvable<Value>(): Resolvable<Value> {
  let resolve!: Resolvable<Value>['resolve'];
  let reject!: Resolvable<Value>['reject'];
  const promise = new Promise<Value>((settle, refuse) => {
    resolve = settle;
    reject = refuse;
  });
  return { promise, resolve, reject };
}
