/**
 * The tools of the transport suite: the two ends of a connection, each with a record of its events.
 */

import assert from 'node:assert/strict';
import type { Connection, ConnectionHandler, ListenAddress, Listener, Transport } from '../transport/transport.ts';

type Happening = 'open' | 'bytes' | 'drained' | 'closed';

/** One end: a handler that records events, and can wait for them. */
export class End implements ConnectionHandler {
  /** The events in order. Any number of chunks in a row is one `bytes`. */
  readonly happened: Happening[] = [];
  /**
   * Promises that the transport broke. They are collected, because a transport may swallow a thrown
   * error.
   */
  readonly violations: string[] = [];
  readonly #chunks: Uint8Array[] = [];
  /** Called with each chunk and when the end drained, for tests that answer. */
  onBytes: (chunk: Uint8Array) => void = () => {};
  onDrained: () => void = () => {};
  error: Error | undefined;
  receivedBytes = 0;
  #connection: Connection | undefined;
  #waiters: Array<{ readonly until: () => boolean; readonly resolve: () => void }> = [];
  /** Whether chunks are kept. False for tests that only count. */
  keepsBytes = true;
  /** True while the test's own code calls the connection: no event may happen during the call. */
  #isWithinCall = false;

  get connection(): Connection {
    assert.ok(this.#connection, 'the transport must not call a handler before connect or accept has returned');
    return this.#connection;
  }

  use(connection: Connection): this {
    this.#connection = connection;
    return this;
  }

  handleOpen(): void {
    if (this.happened.length > 0)
      this.violations.push(`open came after ${this.happened.join(', ')}; it comes first of all, and once`);
    this.#record('open');
  }

  handleBytes(chunk: Uint8Array): void {
    this.#chunks.push(...(this.keepsBytes ? [chunk] : []));
    this.receivedBytes += chunk.byteLength;
    this.#record('bytes');
    this.onBytes(chunk);
  }

  handleDrained(): void {
    this.#record('drained');
    this.onDrained();
  }

  handleClosed(error?: Error): void {
    this.error = error;
    this.#record('closed');
  }

  /** Runs calls of the connection. Fails when one of them calls the handler. */
  call<T>(calls: (connection: Connection) => T): T {
    this.#isWithinCall = true;
    try {
      return calls(this.connection);
    } finally {
      this.#isWithinCall = false;
    }
  }

  get received(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  get isClosed(): boolean {
    return this.happened.includes('closed');
  }

  until(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push({ until: condition, resolve }));
  }

  opened(): Promise<void> {
    return this.until(() => this.happened.includes('open'));
  }

  closed(): Promise<void> {
    return this.until(() => this.isClosed);
  }

  hasReceived(bytes: number): Promise<void> {
    return this.until(() => this.receivedBytes >= bytes);
  }

  #record(happening: Happening): void {
    if (this.#isWithinCall) this.violations.push(`${happening} was told from within a call of the connection`);
    if (this.isClosed) this.violations.push(`${happening} was told after closed, which is the last call`);
    if (happening !== 'bytes' || this.happened.at(-1) !== 'bytes') this.happened.push(happening);
    const due = this.#waiters.filter((waiter) => waiter.until());
    this.#waiters = this.#waiters.filter((waiter) => !due.includes(waiter));
    for (const waiter of due) waiter.resolve();
  }
}

/** A listener, with its accepted ends in order. */
export class Place {
  readonly accepted: End[] = [];
  readonly #transport: Transport;
  readonly #wanted: ListenAddress;
  readonly #connected: End[] = [];
  #listener: Listener | undefined;
  #waiters: Array<() => void> = [];

  constructor(transport: Transport, wanted: ListenAddress) {
    this.#transport = transport;
    this.#wanted = wanted;
  }

  /** Called with each connection inside `accept`. */
  onAccept: (end: End) => void = () => {};

  async open(): Promise<this> {
    this.#listener = await this.#transport.listen(this.#wanted, (connection) => {
      const end = new End().use(connection);
      this.onAccept(end);
      this.accepted.push(end);
      for (const resolve of this.#waiters.splice(0)) resolve();
      return end;
    });
    return this;
  }

  get listener(): Listener {
    assert.ok(this.#listener, 'the place is open');
    return this.#listener;
  }

  connect(): End {
    const end = new End();
    end.use(this.#transport.connect(this.listener.address, end));
    this.#connected.push(end);
    return end;
  }

  /** The two ends of a new, open connection. Not for several at a time. */
  async pair(): Promise<{ near: End; far: End }> {
    const index = this.accepted.length;
    const near = this.connect();
    const far = await this.nthAccepted(index);
    await Promise.all([near.opened(), far.opened()]);
    return { near, far };
  }

  async nthAccepted(index: number): Promise<End> {
    for (;;) {
      const end = this.accepted[index];
      if (end !== undefined) return end;
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
  }

  async close(): Promise<void> {
    await this.listener.close();
    const ends = [...this.#connected, ...this.accepted];
    for (const end of ends) end.connection.abort();
    await Promise.all(ends.map((end) => end.closed()));
    await turns(1);
    assert.deepEqual(
      ends.flatMap((end) => end.violations),
      [],
    );
  }
}

/**
 * Lets everything that is ready happen, `times` times. Used to show that something does *not*
 * happen.
 */
export async function turns(times: number): Promise<void> {
  for (let i = 0; i < times; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** `bytes` bytes that show their order: a counter of four bytes, repeated. */
export function numberedBytes(bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  for (let at = 0; at + 4 <= bytes; at += 4) buffer.writeUInt32LE(at / 4, at);
  return buffer;
}

/** Writes as a well-behaved caller: piece by piece, and after a false only when drained. */
export function startWriting(
  end: End,
  bytes: Uint8Array,
): { readonly writtenBytes: number; readonly refusals: number } {
  const progress = { writtenBytes: 0, refusals: 0 };
  const pieceBytes = 32 * 1024;
  const goOn = (): void => {
    while (progress.writtenBytes < bytes.length) {
      const piece = bytes.subarray(progress.writtenBytes, progress.writtenBytes + pieceBytes);
      progress.writtenBytes += piece.length;
      if (!end.call((it) => it.write(piece))) {
        progress.refusals++;
        return;
      }
    }
  };
  end.onDrained = goOn;
  goOn();
  return progress;
}
