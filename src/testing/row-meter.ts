/** Counts the characters of rows that a worker received and has not applied, from the lines. */

import type { StreamName } from '../core/model/stream.ts';

interface Measured {
  /** The characters of each whole batch that is queued for the handler or being applied. */
  held: number[];
  unfinished: number;
  /** Rows that come now may be dropped: nothing is counted until the next call of the handler. */
  isMuted: boolean;
}

export class RowMeter {
  readonly #streams = new Map<StreamName, Measured>();
  #text = '';
  largestBatchBytes = 0;
  #heldBytes = 0;

  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** A new connection: a torn line is gone, and earlier rows may come again. */
  handleConnect(): void {
    this.#text = '';
    for (const stream of this.#streams.keys()) this.mute(stream);
  }

  handleBytes(piece: Uint8Array): void {
    const text = this.#text + Buffer.from(piece.buffer, piece.byteOffset, piece.length).toString('latin1');
    let start = 0;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', start)) {
      if (text.startsWith('RDATA ', start)) this.#handleRow(text.slice(start, end));
      start = end + 1;
    }
    this.#text = text.slice(start);
  }

  handleDelivered(stream: StreamName): void {
    const measured = this.#of(stream);
    if (!measured.isMuted) return;
    measured.isMuted = false;
  }

  handleApplied(stream: StreamName): void {
    const bytes = this.#of(stream).held.shift();
    if (bytes !== undefined) this.#heldBytes -= bytes;
  }

  mute(stream: StreamName): void {
    const measured = this.#of(stream);
    for (const bytes of measured.held) this.#heldBytes -= bytes;
    this.#streams.set(stream, { held: [], unfinished: 0, isMuted: true });
  }

  #handleRow(line: string): void {
    const [, stream = '', token] = line.split(' ', 3);
    const measured = this.#of(stream);
    measured.unfinished += charactersOf(line);
    if (token === 'batch') return;
    const bytes = measured.unfinished;
    measured.unfinished = 0;
    this.largestBatchBytes = Math.max(this.largestBatchBytes, bytes);
    if (measured.isMuted) return;
    measured.held.push(bytes);
    this.#heldBytes += bytes;
  }

  #of(stream: StreamName): Measured {
    let measured = this.#streams.get(stream);
    if (measured === undefined) {
      measured = { held: [], unfinished: 0, isMuted: true };
      this.#streams.set(stream, measured);
    }
    return measured;
  }
}

/** The characters of a line of bytes: continuation bytes do not count. */
function charactersOf(line: string): number {
  let characters = 0;
  for (let i = 0; i < line.length; i++) if ((line.charCodeAt(i) & 0xc0) !== 0x80) characters++;
  return characters;
}
