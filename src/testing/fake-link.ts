/**
 * A connection on which everything can go wrong: bytes are split anywhere, delayed, stalled, cut,
 * or lost in a dead link. Knows no protocol. It takes a bounded number of bytes before the other
 * end reads, so back-pressure is real.
 *
 *   write ─▶ unsent ─▶ in flight (at most windowBytes) ─▶ handleBytes, in pieces, unless paused
 */

import type { Clock, Millis } from '../base/clock.ts';
import { type Random, randomInteger } from '../base/random.ts';
import { ConnectionError } from '../core/model/errors.ts';
import type { Connection, ConnectionHandler } from '../transport/transport.ts';
import type { PrimaryLife } from './primary-life.ts';

export interface LinkOptions {
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  /** The most bytes that the system takes from one end before the other end has read them. */
  readonly windowBytes: number;
  /** The longest delay of a piece after the one before it. */
  readonly maxDelayMs: Millis;
  /** The first pieces, this many, are of a few bytes. Later ones are of any size. */
  readonly tinyPieces: number;
  /** Called with each piece on arrival. */
  readonly onPiece?: ((at: LinkEnd, piece: Uint8Array) => void) | undefined;
}

export class FakeLink {
  readonly options: LinkOptions;
  /** The end that connected, then the end that accepted. */
  readonly ends: readonly [LinkEnd, LinkEnd];
  #stalledUntil: Millis = 0;
  #diedAt: Millis | undefined;
  /** The process that accepted. Undefined before that. */
  life: PrimaryLife | undefined;
  /** Why it may end: a fault, or an error that one of its ends was right to report. */
  excuse: string | undefined;

  constructor(options: LinkOptions) {
    this.options = options;
    const ends: [LinkEnd, LinkEnd] = [
      new LinkEnd(this, `${options.name} at the worker`),
      new LinkEnd(this, `${options.name} at the primary`),
    ];
    ends[0].joinTo(ends[1]);
    ends[1].joinTo(ends[0]);
    this.ends = ends;
  }

  get name(): string {
    return this.options.name;
  }

  get isOver(): boolean {
    return this.ends[0].isOver && this.ends[1].isOver;
  }

  get diedAt(): Millis | undefined {
    return this.#diedAt;
  }

  /** The last time at which it did not carry bytes properly. */
  get lastTroubleAt(): Millis {
    return this.#diedAt === undefined
      ? Math.min(this.#stalledUntil, this.options.clock.now())
      : this.options.clock.now();
  }

  get stalledUntil(): Millis {
    return this.#diedAt === undefined ? this.#stalledUntil : Infinity;
  }

  /** Takes and delivers no bytes for a while. */
  stall(ms: Millis): void {
    this.excuse ??= 'stalled';
    this.#stalledUntil = Math.max(this.#stalledUntil, this.options.clock.now() + ms);
  }

  /** Carries nothing from here on, and tells neither end. */
  die(): void {
    this.excuse ??= 'dead';
    this.#diedAt ??= this.options.clock.now();
  }

  /** Breaks at any byte. Both ends are told, each in its own time. */
  cut(): void {
    this.excuse ??= 'cut';
    for (const end of this.ends) end.cutIncoming(new ConnectionError('CONNECTION_LOST', `${this.name} was cut`));
  }
}

export class LinkEnd implements Connection {
  readonly peer: string;
  readonly #link: FakeLink;
  #other!: LinkEnd;
  #handler: ConnectionHandler | undefined;
  #isOpen = false;
  #isPaused = false;
  #isLeaving = false;
  #isOver = false;

  /** Written here, not yet taken. */
  readonly #unsent: Uint8Array[] = [];
  #unsentBytes = 0;
  #owesDrained = false;
  /** Taken from the other end, not yet delivered here. */
  readonly #incoming: Uint8Array[] = [];
  #incomingBytes = 0;
  /** The end that follows the last incoming byte. */
  #endOfIncoming: { readonly error: Error | undefined } | undefined;
  #isDelivering = false;
  #isCut = false;

  // Questions that an observer may ask.
  /** How many bytes this end wrote in its first moment: the greeting. */
  #greetingBytes = 0;
  #writtenBytes = 0;
  receivedBytes = 0;
  peakUnsentBytes = 0;
  tookAt: Millis;
  resumedAt: Millis = 0;
  #pieces = 0;

  constructor(link: FakeLink, peer: string) {
    this.#link = link;
    this.peer = peer;
    this.tookAt = link.options.clock.now();
  }

  get link(): FakeLink {
    return this.#link;
  }

  joinTo(other: LinkEnd): void {
    this.#other = other;
  }

  attach(handler: ConnectionHandler): void {
    this.#handler = handler;
  }

  /** The process behind this end is gone: no handler is called any more. */
  detach(): void {
    this.#handler = undefined;
    this.#isOver = true;
  }

  open(): void {
    if (this.#isOver) return;
    this.#isOpen = true;
    this.#handler?.handleOpen();
    this.#greetingBytes = this.#writtenBytes;
  }

  /** Whether the other end's greeting has arrived completely. */
  get hasGreeting(): boolean {
    return this.#other.#greetingBytes > 0 && this.receivedBytes >= this.#other.#greetingBytes;
  }

  get isOpen(): boolean {
    return this.#isOpen && !this.#isOver;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  get unsentBytes(): number {
    return this.#unsentBytes;
  }

  write(bytes: Uint8Array): boolean {
    // A broken connection swallows writes until its end is reported.
    if (this.#isLeaving || this.#isOver || this.#other.#isCut) return false;
    this.#writtenBytes += bytes.length;
    if (this.#unsentBytes === 0) this.tookAt = this.#now;
    this.#unsent.push(bytes);
    this.#unsentBytes += bytes.length;
    this.#other.#take();
    this.peakUnsentBytes = Math.max(this.peakUnsentBytes, this.#unsentBytes);
    if (this.#unsentBytes === 0) return true;
    this.#owesDrained = true;
    return false;
  }

  cork(): void {}

  uncork(): void {}

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.resumedAt = this.#now;
    this.#deliverSoon();
  }

  close(): void {
    if (this.#isLeaving || this.#isOver) return;
    if (!this.#isOpen) return this.abort();
    this.#isLeaving = true;
    this.#other.#endOfIncoming ??= { error: undefined };
    this.#other.#deliverSoon();
    // The remaining input is dropped, however long this end did not read.
    this.#deliverSoon();
  }

  abort(): void {
    if (this.#isOver) return;
    this.#isLeaving = true;
    this.#other.cutIncoming(new ConnectionError('CONNECTION_LOST', `${this.#link.name} was aborted by the other side`));
    this.fail(undefined);
  }

  /** Ends here. handleClosed is called later, in its own turn. */
  fail(error: Error | undefined): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#unsent.length = 0;
    this.#unsentBytes = 0;
    this.#link.options.clock.wakeIn(0, () => this.#handler?.handleClosed(error));
  }

  /** Delivers some of the bytes on their way to this end, then the error. */
  cutIncoming(error: Error): void {
    if (this.#isOver) return;
    this.#other.#unsent.length = 0;
    this.#other.#unsentBytes = 0;
    let keptBytes = randomInteger(this.#link.options.random, 0, this.#incomingBytes);
    this.#incomingBytes = keptBytes;
    for (let i = 0; i < this.#incoming.length; i++) {
      const piece = this.#incoming[i]!;
      this.#incoming[i] = piece.subarray(0, keptBytes);
      keptBytes -= this.#incoming[i]!.length;
    }
    this.#isCut = true;
    this.#endOfIncoming = { error };
    // A paused reader is told of a reset although it does not read.
    if (this.#isPaused) this.#link.options.clock.wakeIn(this.#delayMs(), () => this.fail(error));
    this.#deliverSoon();
  }

  get #now(): Millis {
    return this.#link.options.clock.now();
  }

  #delayMs(): Millis {
    return randomInteger(this.#link.options.random, 0, this.#link.options.maxDelayMs);
  }

  /** Takes the other end's writes as far as the window allows. */
  #take(): void {
    if (this.#now < this.#link.stalledUntil) return this.#deliverSoon();
    const from = this.#other;
    while (from.#unsent.length > 0) {
      const roomBytes = this.#link.options.windowBytes - this.#incomingBytes;
      if (roomBytes <= 0) break;
      const piece = from.#unsent[0]!;
      const taken = piece.subarray(0, roomBytes);
      if (taken.length === piece.length) from.#unsent.shift();
      else from.#unsent[0] = piece.subarray(roomBytes);
      from.#unsentBytes -= taken.length;
      from.tookAt = this.#now;
      this.#incoming.push(taken);
      this.#incomingBytes += taken.length;
    }
    this.#deliverSoon();
    if (from.#owesDrained && from.#unsentBytes === 0) this.#link.options.clock.wakeIn(0, () => from.#tellDrained());
  }

  /** More may have been written by now; then it has not drained. */
  #tellDrained(): void {
    if (!this.#owesDrained || this.#unsentBytes > 0 || this.#isOver || this.#isLeaving) return;
    this.#owesDrained = false;
    this.#handler?.handleDrained();
  }

  #deliverSoon(): void {
    if (this.#isDelivering || this.#isOver || this.#link.diedAt !== undefined) return;
    if (this.#isPaused && !this.#isLeaving) return;
    if (this.#incomingBytes === 0 && this.#other.#unsentBytes === 0 && this.#endOfIncoming === undefined) return;
    this.#isDelivering = true;
    const waitMs = Math.max(this.#link.stalledUntil - this.#now, 0);
    this.#link.options.clock.wakeIn(waitMs + this.#delayMs(), () => {
      this.#isDelivering = false;
      this.#deliver();
    });
  }

  #deliver(): void {
    if (this.#isOver || this.#link.diedAt !== undefined || (this.#isPaused && !this.#isLeaving)) return;
    if (this.#now < this.#link.stalledUntil) return this.#deliverSoon();
    if (this.#incomingBytes > 0) {
      const piece = this.#nextPiece();
      this.receivedBytes += piece.length;
      this.#link.options.onPiece?.(this, piece);
      if (!this.#isLeaving) this.#handler?.handleBytes(piece);
    } else if (this.#endOfIncoming !== undefined && this.#other.#unsentBytes === 0) {
      return this.#finish(this.#endOfIncoming.error);
    }
    this.#take();
  }

  #finish(error: Error | undefined): void {
    // An orderly end of one side ends the other side too. An error was reported to both when it
    // happened.
    if (error === undefined) this.#other.#endOfIncoming ??= { error: undefined };
    this.fail(error);
    this.#other.#deliverSoon();
  }

  #nextPiece(): Uint8Array {
    const { random, tinyPieces } = this.#link.options;
    const isTiny = this.#pieces++ < tinyPieces;
    const isAll = !isTiny && random.next() < 0.5;
    let leftBytes = isAll
      ? this.#incomingBytes
      : randomInteger(random, 1, isTiny ? Math.min(8, this.#incomingBytes) : this.#incomingBytes);
    this.#incomingBytes -= leftBytes;
    const parts: Uint8Array[] = [];
    while (leftBytes > 0) {
      const head = this.#incoming[0]!;
      const part = head.subarray(0, leftBytes);
      if (part.length === head.length) this.#incoming.shift();
      else this.#incoming[0] = head.subarray(leftBytes);
      leftBytes -= part.length;
      parts.push(part);
    }
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  }
}
