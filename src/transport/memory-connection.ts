/**
 * One end of a connection within the process. Behaves like a socket: bytes arrive later and in
 * order, and a paused reader causes back-pressure.
 */

import { Queue } from '../base/queue.ts';
import { ConnectionError } from '../core/model/errors.ts';
import type { Connection, ConnectionHandler } from './transport.ts';

export class MemoryConnection implements Connection {
  readonly peer: string;
  readonly #highWaterBytes: number;
  readonly #forget: () => void;
  #handler: ConnectionHandler | undefined;
  #other: MemoryConnection | undefined;

  /** Bytes written here that the other end has not taken yet. This queue is the whole wire. */
  readonly #outgoing = new Queue<Uint8Array>();
  #unsentBytes = 0;
  #corks = 0;
  #owesDrained = false;
  #isPaused = false;
  /** Nothing more will be written. The other end finds the end of its input after #outgoing. */
  #isEnded = false;
  #isInputOver = false;
  /** The caller has closed or aborted, and is told of nothing but the end. */
  #isLeaving = false;
  #isOver = false;
  #error: Error | undefined;
  #hasTurn = false;

  constructor(peer: string, highWaterBytes: number, forget: () => void) {
    this.peer = peer;
    this.#highWaterBytes = highWaterBytes;
    this.#forget = forget;
  }

  attach(handler: ConnectionHandler): void {
    this.#handler = handler;
  }

  joinTo(other: MemoryConnection): void {
    this.#other = other;
    other.#other = this;
  }

  open(): void {
    if (!this.#isLeaving && !this.#isOver) this.#handler?.handleOpen();
    this.takeTurn();
  }

  /** Nothing more is sent or received. handleClosed comes, or has come. */
  get isOver(): boolean {
    return this.#isOver;
  }

  get unsentBytes(): number {
    return this.#unsentBytes;
  }

  write(bytes: Uint8Array): boolean {
    if (this.#isEnded || this.#isOver) return false;
    this.#outgoing.push(bytes);
    this.#unsentBytes += bytes.byteLength;
    this.#other?.takeTurn();
    if (this.#unsentBytes < this.#highWaterBytes) return true;
    this.#owesDrained = true;
    return false;
  }

  cork(): void {
    this.#corks++;
  }

  uncork(): void {
    if (this.#corks > 0) this.#corks--;
    this.#other?.takeTurn();
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.takeTurn();
  }

  close(): void {
    if (this.#isLeaving) return;
    if (this.#other === undefined && this.#unsentBytes === 0) return this.abort();
    this.#isLeaving = true;
    this.#end();
  }

  abort(): void {
    this.#isLeaving = true;
    if (this.#isOver) return;
    this.#finish(undefined);
    this.#other?.fail(lost(this.#other, 'the other side aborted it'));
  }

  cut(): void {
    this.fail(lost(this, 'it was cut'));
    this.#other?.fail(lost(this.#other, 'it was cut'));
  }

  fail(error: ConnectionError): void {
    if (!this.#isOver) this.#finish(error);
  }

  /**
   * The handler is called in a turn, except for handleOpen, so never from within a call of the
   * caller's.
   */
  takeTurn(): void {
    if (this.#hasTurn) return;
    this.#hasTurn = true;
    // Not a microtask: two ends that answer each other would starve the event loop.
    setImmediate(() => {
      this.#hasTurn = false;
      this.#turn();
    });
  }

  #turn(): void {
    const handler = this.#handler;
    if (handler === undefined) return;
    if (this.#isOver) {
      this.#handler = undefined;
      handler.handleClosed(this.#error);
      return;
    }
    if (this.#other === undefined) return;
    this.#receive(handler, this.#other);
    if (this.#owesDrained && this.#unsentBytes === 0 && !this.#isOver) {
      this.#owesDrained = false;
      if (!this.#isLeaving) handler.handleDrained();
    }
    if (this.#isInputOver && this.#isEnded && this.#outgoing.length === 0 && !this.#isOver) this.#finish(undefined);
  }

  #receive(handler: ConnectionHandler, other: MemoryConnection): void {
    if (other.#corks > 0) return;
    const chunks = other.#outgoing;
    // Chunks that arrive meanwhile wait for the next turn: a handler that makes the other end write
    // must not keep this loop busy for ever.
    for (let left = chunks.length; left > 0 && this.#isReading; left--) {
      const chunk = chunks.shift();
      if (chunk === undefined) break;
      other.#unsentBytes -= chunk.byteLength;
      other.takeTurn();
      if (!this.#isLeaving) handler.handleBytes(chunk);
    }
    if (!this.#isReading) return;
    if (chunks.length > 0) this.takeTurn();
    else if (other.#isEnded && !this.#isInputOver) {
      this.#isInputOver = true;
      this.#end();
    }
  }

  /**
   * An end that is leaving reads on, even when paused, and drops what it reads until the other end
   * has closed too.
   */
  get #isReading(): boolean {
    return !this.#isOver && (!this.#isPaused || this.#isLeaving);
  }

  #end(): void {
    this.#isEnded = true;
    this.#corks = 0;
    this.#other?.takeTurn();
    this.takeTurn();
  }

  #finish(error: Error | undefined): void {
    this.#isOver = true;
    this.#error = error;
    this.#isEnded = true;
    this.#outgoing.clear();
    this.#unsentBytes = 0;
    this.#forget();
    this.takeTurn();
  }
}

function lost(connection: MemoryConnection, why: string): ConnectionError {
  return new ConnectionError('CONNECTION_LOST', `the connection to ${connection.peer} was lost: ${why}`);
}
