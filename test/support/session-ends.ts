/** The worker's end of a connection without a connection: drains what a session wants and keeps it, line by line. Time is an argument. */

import type { Millis } from '../../src/base/clock.ts';
import { seededRandom } from '../../src/base/random.ts';
import type { StreamName } from '../../src/core/model/stream.ts';
import type { Token } from '../../src/core/model/token.ts';
import { Follower, type FollowerOutput } from '../../src/core/follow/follower.ts';
import type { SubscriptionSpec } from '../../src/core/follow/interests.ts';
import { defaultWorkerLimits, type WorkerLimits } from '../../src/core/wire/limits.ts';
import { type WorkerOutput, WorkerSession } from '../../src/core/sessions/worker-session.ts';

export const T0: Millis = 1_490_197_665_618;

export function bytesOf(...lines: readonly string[]): Buffer {
  return Buffer.from(lines.map((line) => `${line}\n`).join(''));
}

type Output<Kind> = Extract<WorkerOutput | FollowerOutput, { kind: Kind }>;

/** What is common to all ends: outputs kept, transmitted lines apart. */
class Outputs<Kept extends { readonly kind: string }> {
  readonly #kept: Kept[] = [];
  #bytes: Buffer[] = [];
  #told = 0;
  /** Everything in the order in which it came, the transmitted lines as text. */
  readonly story: string[] = [];

  keep(output: Kept): void {
    this.#kept.push(output);
    if (output.kind !== 'transmit') {
      this.story.push(output.kind);
      return;
    }
    const { bytes } = output as unknown as Output<'transmit'>;
    this.#bytes.push(Buffer.from(bytes));
    this.story.push(...splitLines(Buffer.from(bytes)));
  }

  of<Kind extends Kept['kind']>(kind: Kind): Extract<Kept, { kind: Kind }>[] {
    return this.#kept.filter((output): output is Extract<Kept, { kind: Kind }> => output.kind === kind);
  }

  get all(): readonly Kept[] {
    return this.#kept;
  }

  /** The lines transmitted since the last call. */
  takeLines(): string[] {
    const lines = splitLines(Buffer.concat(this.#bytes));
    this.#bytes = [];
    return lines;
  }

  /** Rows, positions and resets since the last call, as short text. */
  takeRows(): string[] {
    const fresh = this.#kept.slice(this.#told);
    this.#told = this.#kept.length;
    return fresh.filter((output) => isRows(output)).map((output) => describeRows(output));
  }

  /** The bytes transmitted since the last call. */
  takeBytes(): Buffer {
    const bytes = Buffer.concat(this.#bytes);
    this.#bytes = [];
    return bytes;
  }
}

interface Machine {
  nextTimeout(): Millis | undefined;
  handleTimeout(now: Millis): void;
}

/** Lets time pass; wakes the machine whenever it wants to be woken. */
function wakeUntil(end: { now: Millis; poll: () => void }, machine: Machine, until: Millis): void {
  for (let wakes = 0; ; wakes++) {
    if (wakes > 10_000) throw new Error('the machine wakes for ever');
    const at = machine.nextTimeout();
    if (at === undefined || at > until) break;
    end.now = Math.max(at, end.now);
    machine.handleTimeout(end.now);
    end.poll();
  }
  end.now = until;
}

function splitLines(bytes: Buffer): string[] {
  const text = bytes.toString();
  if (text !== '' && !text.endsWith('\n'))
    throw new Error(`what was transmitted does not end with LF: ${JSON.stringify(text)}`);
  return text.split('\n').slice(0, -1);
}

export interface WorkerEndOptions {
  readonly workerName?: string;
  readonly serverName?: string;
  readonly limits?: Partial<WorkerLimits>;
}

/** Rows, positions and resets as short text: `events 54 [1,2] @54`, `events @54 live`, `events reset @0`. */
export function describeRows(output: Output<'batch' | 'position' | 'reset' | 'failed'>): string {
  const tokenOf = (position: Token | { readonly token: Token } | undefined): string =>
    position === undefined ? '' : ` @${typeof position === 'object' ? position.token : position}`;
  switch (output.kind) {
    case 'batch':
      return `${output.stream} ${output.token} ${JSON.stringify(output.rows)}${tokenOf(output.position)}`;
    case 'position':
      return `${output.stream}${tokenOf('token' in output ? output.token : output.position)}${output.isLive ? ' live' : ''}`;
    case 'reset':
      return `${output.stream} reset${tokenOf('token' in output ? output.token : output.position)}`;
    default:
      return `${output.stream} failed ${output.error.code}`;
  }
}

function isRows<Any extends { readonly kind: string }>(
  output: Any,
): output is Any & Output<'batch' | 'position' | 'reset' | 'failed'> {
  return ['batch', 'position', 'reset', 'failed'].includes(output.kind);
}

export class WorkerEnd {
  readonly session: WorkerSession;
  readonly outputs: Outputs<WorkerOutput> = new Outputs<WorkerOutput>();
  now: Millis = T0;

  constructor({ workerName = 'reader-1', serverName, limits }: WorkerEndOptions = {}) {
    this.session = new WorkerSession({
      workerName,
      limits: { ...defaultWorkerLimits, ...limits },
      ...(serverName !== undefined && { serverName }),
    });
  }

  open(): string[] {
    this.session.handleOpen(this.now);
    return this.drain();
  }

  hear(...lines: readonly string[]): string[] {
    return this.hearBytes(bytesOf(...lines));
  }

  hearBytes(bytes: Uint8Array): string[] {
    this.session.handleBytes(this.now, bytes);
    return this.drain();
  }

  /** Opens it, greets it as a Rowcast primary does, asks for streams. */
  static following(
    from: Readonly<Record<StreamName, Token | 'NOW'>>,
    options?: WorkerEndOptions,
    greeting = '1 rowcast/1 log=abc',
  ): WorkerEnd {
    const end = new WorkerEnd(options);
    end.open();
    end.hear('SERVER example.com', `PING ${greeting}`);
    for (const [stream, token] of Object.entries(from)) end.session.handleSubscribe(end.now, stream, token);
    end.drain();
    return end;
  }

  passTime(ms: Millis): string[] {
    wakeUntil(this, this.session, this.now + ms);
    return this.drain();
  }

  drain(): string[] {
    this.poll();
    return this.outputs.takeLines();
  }

  poll(): void {
    for (let output = this.session.pollOutput(); output !== undefined; output = this.session.pollOutput())
      this.outputs.keep(output);
  }

  /** Rows, positions and resets since the last call. */
  takeRows(): string[] {
    return this.outputs.takeRows();
  }
}

export interface FollowerEndOptions extends WorkerEndOptions {
  readonly isObserver?: boolean;
  readonly seed?: number;
}

export class FollowerEnd {
  readonly follower: Follower;
  readonly outputs: Outputs<FollowerOutput> = new Outputs<FollowerOutput>();
  now: Millis = T0;
  /** False: what is transmitted waits until the test calls handleDrained. */
  isWriting = true;

  constructor({ workerName = 'reader-1', serverName, isObserver = false, limits, seed = 1 }: FollowerEndOptions = {}) {
    this.follower = new Follower({
      workerName,
      isObserver,
      limits: { ...defaultWorkerLimits, ...limits },
      random: seededRandom(seed),
      ...(serverName !== undefined && { serverName }),
    });
  }

  subscribe(
    stream: StreamName,
    from: SubscriptionSpec['from'] | Token,
    onReset: SubscriptionSpec['onReset'] = 'fail',
  ): string[] {
    this.follower.handleSubscribe(this.now, {
      stream,
      from: typeof from === 'number' ? { token: from } : from,
      onReset,
    });
    return this.drain();
  }

  subscribeAll(
    from: SubscriptionSpec['from'],
    onReset: SubscriptionSpec['onReset'] = 'fail',
    positions: Readonly<Record<StreamName, Token>> = {},
  ): string[] {
    const stored = new Map(Object.entries(positions).map(([stream, token]) => [stream, { token }]));
    this.follower.handleSubscribeAll(this.now, { from, onReset, positions: stored });
    return this.drain();
  }

  start(): this {
    this.follower.handleStart(this.now);
    this.drain();
    return this;
  }

  /** The connection opens. */
  open(): string[] {
    this.follower.handleOpen(this.now);
    return this.drain();
  }

  hear(...lines: readonly string[]): string[] {
    return this.hearBytes(bytesOf(...lines));
  }

  hearBytes(bytes: Uint8Array): string[] {
    this.follower.handleBytes(this.now, bytes);
    return this.drain();
  }

  /** Starts and is greeted by a Rowcast primary; returns what it asks for. */
  greetedBy(ping: string): string[] {
    this.start().open();
    return this.hear('SERVER example.com', `PING ${ping}`);
  }

  /** The connection ends, the wait passes, another one opens. */
  reconnect(): this {
    this.close();
    this.wait();
    this.open();
    return this;
  }

  /** The wait before it connects again passes. */
  wait(): void {
    this.passTime(this.disconnected.retryInMs);
  }

  close(error?: Error): void {
    this.follower.handleClosed(this.now, error);
    this.drain();
  }

  passTime(ms: Millis): string[] {
    wakeUntil(this, this.follower, this.now + ms);
    return this.drain();
  }

  drain(): string[] {
    this.poll();
    return this.outputs.takeLines();
  }

  /** Outputs about rows since the last call. */
  takeRows(): string[] {
    return this.outputs.takeRows();
  }

  /** The last disconnected event. */
  get disconnected(): { readonly code: string; readonly text: string; readonly retryInMs: Millis } {
    for (const { event } of this.outputs.of('event').toReversed()) {
      if (event.kind === 'disconnected')
        return { code: event.error.code, text: event.error.message, retryInMs: event.retryInMs };
    }
    throw new Error('it was never disconnected');
  }

  poll(): void {
    for (
      let output = this.follower.pollOutput(this.now);
      output !== undefined;
      output = this.follower.pollOutput(this.now)
    ) {
      this.outputs.keep(output);
      if (output.kind === 'transmit' && !this.isWriting) this.follower.handleBlocked();
    }
  }
}
