/**
 * How a worker reads RDATA and POSITION from a primary that is not Rowcast (docs/protocol.md, "Any
 * other primary").
 *
 * A real Synapse sends the rows of one stream that came up together in one run of lines, in any
 * order: `backfill 67, 66, … 53, 46, 47, …`. The next run has higher tokens only. So a live
 * position moves only when a line comes that is not of the run. If it moved earlier, a cut between
 * two lines of the run would lose the rows still to come. A PING is such a line, so the position
 * moves within 10 s.
 */

import type { StreamName } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import type { LineInText } from '../sessions/worker-session.ts';
import type { Subscription } from './subscription.ts';

export interface SeedRulesOptions {
  readonly find: (stream: StreamName) => Subscription | undefined;
  /** Called for a stream that is not followed by name, when every stream is followed. */
  readonly discover: (stream: StreamName) => Subscription | undefined;
  readonly reconnect: (stream: StreamName) => void;
}

/** The state of one connection. */
export class SeedRules {
  readonly #options: SeedRulesOptions;
  /** ALL was requested, so rows of any stream come. */
  #isAll = false;
  #hasPosition = false;
  /** The live subscription whose run is coming in, and the highest token of the run so far. */
  #run: { readonly subscription: Subscription; highest: Token } | undefined;

  constructor(options: SeedRulesOptions) {
    this.#options = options;
  }

  /** Whether the primary has told which streams it has. True when ALL was not requested. */
  get isSettled(): boolean {
    return !this.#isAll || this.#hasPosition;
  }

  handleAllAsked(): void {
    this.#isAll = true;
  }

  takeRow(stream: StreamName, token: Token | undefined, row: unknown, line: LineInText): void {
    if (this.#run?.subscription.stream !== stream) this.endRun();
    const subscription = this.#find(stream);
    const became = subscription?.seed.handleRow(token, row, line, this.#isAll);
    if (became === 'reconnect') this.#options.reconnect(stream);
    if (became !== 'live' || token === undefined) return;
    if (this.#run === undefined) this.#run = { subscription: subscription!, highest: token };
    else this.#run.highest = Math.max(this.#run.highest, token);
  }

  takePosition(stream: StreamName, token: Token): void {
    // POSITION says where the stream stands, whatever the run before it came to.
    if (this.#run?.subscription.stream === stream) this.#run = undefined;
    else this.endRun();
    this.#hasPosition = true;
    if (this.#find(stream)?.seed.handlePosition(token) === 'reconnect') this.#options.reconnect(stream);
  }

  /** A line came that is not of the run. */
  endRun(): void {
    const run = this.#run;
    this.#run = undefined;
    run?.subscription.seed.handleRun(run.highest);
  }

  #find(stream: StreamName): Subscription | undefined {
    return this.#options.find(stream) ?? (this.#isAll ? this.#options.discover(stream) : undefined);
  }
}
