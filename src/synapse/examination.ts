/**
 * Finds out what listens at an address. Sends only what an observer may send: NAME, PING and
 * `REPLICATE ALL NOW`, which primaries of every generation answer (docs/guides/synapse.md). The
 * PING does not offer rowcast/2, so a Rowcast primary answers as the others do. Knows no socket and
 * no clock.
 *
 *   connecting ──handleOpen──▶ listening ──SERVER──▶ greeted ──PING, or a moment later──▶ asked
 *                                                          asked ──POSITIONs, then quiet──▶ over
 */

import type { Millis } from '../base/clock.ts';
import { Queue } from '../base/queue.ts';
import { ConnectionError, PeerError } from '../core/model/errors.ts';
import { parseSeedToken } from '../core/model/token.ts';
import { parsePrimaryGreeting, type PrimaryEras } from '../core/wire/greeting.ts';
import { LineCutter } from '../core/wire/lines.ts';
import { type Dialect, dialectOf } from './dialect.ts';
import { recogniseService, type Service } from './services.ts';

export interface Finding {
  /** A primary of the replication protocol, a service known by its first words, or neither. */
  readonly kind: 'primary' | Service | 'silent' | 'closed' | 'unknown';
  /** The first bytes, when it is no primary. */
  readonly said: string;
  readonly serverName: string | undefined;
  /** The present eras of a Rowcast primary's logs. */
  readonly eras: PrimaryEras | undefined;
  readonly dialect: Dialect | undefined;
  readonly positions: readonly StreamPosition[];
  /** The texts of ERROR, and lines that are no POSITION: the first MAX_EXAMINED_ERRORS. */
  readonly errors: readonly string[];
  /** What ended the examination before the peer had said all. */
  readonly cut: 'time' | 'bytes' | undefined;
  /** Ms from the connection to the first line, and from REPLICATE to the first answer. */
  readonly greetingMs: Millis | undefined;
  readonly answerMs: Millis | undefined;
}

export interface StreamPosition {
  readonly stream: string;
  /** The process that writes the stream. Primaries before 1.13 do not name it. */
  readonly instance: string | undefined;
  readonly token: number;
}

export type ExaminationOutput =
  | { readonly kind: 'transmit'; readonly text: string }
  | { readonly kind: 'over'; readonly finding: Finding }
  /** There was no connection. */
  | { readonly kind: 'unreachable'; readonly error: Error };

export interface ExaminationOptions {
  readonly workerName: string;
  /** The address where the primary was expected, for people. */
  readonly address: string;
  /** How long the whole examination may take, whatever the peer sends. */
  readonly timeoutMs: Millis;
}

/** The most bytes that are read of a peer: the positions of 200,000 streams. */
export const MAX_EXAMINED_BYTES: number = 8 * 1024 * 1024;
/** The most errors of a peer that are kept. */
const MAX_EXAMINED_ERRORS = 20;
const MAX_LINE_BYTES = 1024 * 1024;
const CONNECT_TIMEOUT_MS = 5_000;
/** How long a service may take for its first bytes. */
const FIRST_WORD_MS = 2_000;
/** How long to wait for a PING after SERVER. Only Rowcast sends it at once. */
const SECOND_WORD_MS = 1_000;
/** How long to wait after a POSITION for another one. */
const QUIET_MS = 500;
const LONGEST_FIRST_WORDS = 4_096;

export class Examination {
  readonly #options: ExaminationOptions;
  readonly #lines = new LineCutter(MAX_LINE_BYTES);
  readonly #outputs = new Queue<ExaminationOutput>();
  readonly #positions: StreamPosition[] = [];
  readonly #errors: string[] = [];
  #state: 'connecting' | 'listening' | 'greeted' | 'asked' | 'over' = 'connecting';
  #first = '';
  #openedAt: Millis = 0;
  #askedAt: Millis | undefined;
  /** When the peer has been quiet for long enough. */
  #until: Millis | undefined;
  #deadline: Millis = Infinity;
  #bytes = 0;
  #cut: Finding['cut'];
  #serverName: string | undefined;
  #eras: PrimaryEras | undefined;
  #dialect: Dialect | undefined;
  #greetingMs: Millis | undefined;
  #answerMs: Millis | undefined;

  constructor(options: ExaminationOptions) {
    this.#options = options;
  }

  /** The connection is being made. */
  handleStart(now: Millis): void {
    this.#until = now + CONNECT_TIMEOUT_MS;
    this.#deadline = now + this.#options.timeoutMs;
  }

  handleOpen(now: Millis): void {
    this.#state = 'listening';
    this.#openedAt = now;
    this.#until = now + FIRST_WORD_MS;
    this.#outputs.push({ kind: 'transmit', text: `NAME ${this.#options.workerName}\nPING ${Math.floor(now)}\n` });
  }

  handleBytes(now: Millis, chunk: Uint8Array): void {
    if (this.#state === 'over') return;
    // A peer that never stops sending may keep the timer waiting.
    if (now >= this.#deadline) return this.#cutOff('time');
    this.#bytes += chunk.length;
    if (this.#bytes > MAX_EXAMINED_BYTES) return this.#cutOff('bytes');
    if (this.#first.length < LONGEST_FIRST_WORDS)
      this.#first += Buffer.from(chunk.subarray(0, LONGEST_FIRST_WORDS)).toString('latin1');
    if (this.#state === 'listening' && recogniseService(this.#first) !== undefined)
      return this.#end(recogniseService(this.#first)!);
    this.#lines.push(chunk);
    try {
      for (let line = this.#lines.next(); line !== undefined; line = this.#lines.next()) this.#takeLine(now, line);
    } catch (thrown) {
      if (!(thrown instanceof PeerError)) throw thrown;
      this.#end(this.#state === 'listening' ? 'unknown' : 'primary');
    }
  }

  handleTimeout(now: Millis): void {
    if (this.#state === 'over') return;
    if (now >= this.#deadline) return this.#cutOff('time');
    if (this.#until === undefined || now < this.#until) return;
    if (this.#state === 'connecting') this.#giveUp(this.#timeoutError());
    else if (this.#state === 'listening') this.#end(this.#first === '' ? 'silent' : 'unknown');
    else if (this.#state === 'greeted') this.#ask(now);
    else this.#end('primary');
  }

  /** The connection could not be made, or the peer ended it. */
  handleClosed(_now: Millis, error?: Error): void {
    if (this.#state === 'over') return;
    if (this.#state === 'connecting') {
      const text = `${this.#options.address} ended the connection`;
      return this.#giveUp(error ?? new ConnectionError('CONNECTION_LOST', text));
    }
    if (this.#serverName !== undefined) this.#end('primary');
    else this.#end(this.#first === '' ? 'closed' : 'unknown');
  }

  pollOutput(): ExaminationOutput | undefined {
    return this.#outputs.shift();
  }

  nextTimeout(): Millis | undefined {
    return this.#until === undefined ? undefined : Math.min(this.#until, this.#deadline);
  }

  #takeLine(now: Millis, line: string): void {
    if (this.#state === 'over') return;
    const space = line.indexOf(' ');
    const [name, rest] = space < 0 ? [line, ''] : [line.slice(0, space), line.slice(space + 1)];
    if (this.#state === 'listening') {
      if (name !== 'SERVER') return;
      this.#state = 'greeted';
      this.#serverName = rest;
      this.#greetingMs = Math.round(now - this.#openedAt);
      this.#until = now + SECOND_WORD_MS;
      return;
    }
    if (name === 'PING' && this.#state === 'greeted') {
      this.#eras = parsePrimaryGreeting(rest);
      this.#ask(now);
    } else if (name === 'POSITION') this.#takePosition(now, rest.split(' '));
    else if (name === 'ERROR') this.#takeError(`ERROR ${rest}`);
  }

  #ask(now: Millis): void {
    this.#state = 'asked';
    this.#askedAt = now;
    this.#until = now + FIRST_WORD_MS;
    this.#outputs.push({ kind: 'transmit', text: 'REPLICATE ALL NOW\n' });
  }

  #takePosition(now: Millis, fields: readonly string[]): void {
    const token = parseSeedToken(fields.at(-1) ?? '');
    if (token === undefined || fields.length < 2) {
      return this.#takeError(`POSITION ${fields.join(' ')}`);
    }
    // It may tell positions without being asked.
    if (this.#askedAt !== undefined) this.#answerMs ??= Math.round(now - this.#askedAt);
    this.#until = now + QUIET_MS;
    this.#dialect ??= dialectOf(fields.length, this.#eras !== undefined);
    const [stream, instance] = fields;
    this.#positions.push({ stream: stream ?? '', instance: fields.length > 2 ? instance : undefined, token });
  }

  #takeError(text: string): void {
    if (this.#errors.length < MAX_EXAMINED_ERRORS) this.#errors.push(text);
  }

  #cutOff(cut: 'time' | 'bytes'): void {
    if (this.#state === 'connecting') return this.#giveUp(this.#timeoutError());
    this.#cut = cut;
    if (this.#serverName !== undefined) this.#end('primary');
    else this.#end(this.#first === '' ? 'silent' : 'unknown');
  }

  #timeoutError(): ConnectionError {
    const waitedMs = Math.min(CONNECT_TIMEOUT_MS, this.#options.timeoutMs);
    const waited = `nobody answered within ${waitedMs / 1_000} s`;
    return new ConnectionError(
      'CONNECTION_LOST',
      `cannot connect to ${this.#options.address}: ${waited}; check the address and the firewalls`,
    );
  }

  #giveUp(error: Error): void {
    this.#state = 'over';
    this.#until = undefined;
    this.#outputs.push({ kind: 'unreachable', error });
  }

  #end(kind: Finding['kind']): void {
    this.#state = 'over';
    this.#until = undefined;
    const isPrimary = kind === 'primary';
    this.#outputs.push({
      kind: 'over',
      finding: {
        kind,
        said: isPrimary ? '' : this.#first,
        serverName: this.#serverName,
        eras: this.#eras,
        dialect: this.#dialect ?? (isPrimary ? dialectOf(undefined, this.#eras !== undefined) : undefined),
        positions: this.#positions,
        errors: this.#errors,
        cut: this.#cut,
        greetingMs: this.#greetingMs,
        answerMs: this.#answerMs,
      },
    });
  }
}
