/** A promise, and the function that resolves it. */

export interface Resolvable<Value> {
  readonly promise: Promise<Value>;
  readonly resolve: (value: Value | PromiseLike<Value>) => void;
}

export function resolvable<Value>(): Resolvable<Value> {
  let resolve!: Resolvable<Value>['resolve'];
  const promise = new Promise<Value>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
