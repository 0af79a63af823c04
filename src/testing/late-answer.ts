/**
 * A promise that reports errors thrown by the code that awaits it. A simulation must miss no error.
 */

export class LateAnswer<Value> extends Promise<Value> {
  #onThrown: (thrown: unknown) => void = () => {};

  static override get [Symbol.species](): PromiseConstructor {
    return Promise;
  }

  constructor(onThrown: (thrown: unknown) => void, executor: ConstructorParameters<typeof Promise<Value>>[0]) {
    super(executor);
    this.#onThrown = onThrown;
  }

  // oxlint-disable-next-line unicorn/no-thenable -- it is a promise, and watches its own then
  override then<Kept = Value, Caught = never>(
    onKept?: ((value: Value) => Kept | PromiseLike<Kept>) | null,
    onRejected?: ((reason: unknown) => Caught | PromiseLike<Caught>) | null,
  ): Promise<Kept | Caught> {
    const result = super.then(onKept, onRejected);
    result.catch(this.#onThrown);
    return result;
  }
}
