/** Links between the workers and the one primary, and what happens to a connection before it is open. Knows no protocol. */

import type { Clock, Millis } from '../base/clock.ts';
import { type Random, randomInteger } from '../base/random.ts';
import { ConnectionError } from '../core/model/errors.ts';
import type { ConnectionHandler } from '../transport/transport.ts';
import { FakeLink, type LinkEnd } from './fake-link.ts';

export interface FakeNetworkOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly maxWindowBytes: number;
  readonly maxDelayMs: Millis;
  /** Of a hundred links, how many cut their first bytes into tiny pieces. */
  readonly tinyPercent: number;
}

export class FakeNetwork {
  /** The links that have an end which is not over. */
  readonly links: Set<FakeLink> = new Set<FakeLink>();
  readonly #options: FakeNetworkOptions;
  #accept: ((connection: LinkEnd) => ConnectionHandler) | undefined;
  /** Connections that are begun from now on hear nothing for ever. */
  isSilent = false;
  #count = 0;

  constructor(options: FakeNetworkOptions) {
    this.#options = options;
  }

  get isListening(): boolean {
    return this.#accept !== undefined;
  }

  listen(accept: (connection: LinkEnd) => ConnectionHandler): void {
    this.#accept = accept;
  }

  refuse(): void {
    this.#accept = undefined;
  }

  connect(from: string, handler: ConnectionHandler): LinkEnd {
    const { clock, random, maxWindowBytes, maxDelayMs, tinyPercent } = this.#options;
    const link = new FakeLink({
      name: `link ${++this.#count} of ${from}`,
      clock,
      random,
      windowBytes: randomInteger(random, Math.ceil(maxWindowBytes / 4), maxWindowBytes),
      maxDelayMs,
      tinyPieces: random.next() * 100 < tinyPercent ? 60 : 0,
    });
    const [worker, primary] = link.ends;
    worker.attach(handler);
    this.#forgetEnded();
    this.links.add(link);
    if (this.isSilent) link.die();
    clock.wakeIn(randomInteger(random, 0, maxDelayMs * 2), () => {
      if (worker.isOver || link.diedAt !== undefined) return;
      if (this.#accept === undefined) {
        worker.fail(new ConnectionError('CONNECTION_LOST', 'nobody listens'));
        primary.detach();
        return;
      }
      primary.attach(this.#accept(primary));
      primary.open();
      worker.open();
    });
    return worker;
  }

  /** The process behind these ends is gone. `isSilent`: with its machine, so that the other ends are told nothing. */
  kill(ends: Iterable<LinkEnd>, isSilent: boolean): void {
    for (const end of ends) {
      end.detach();
      if (isSilent) end.link.die();
      else end.link.cut();
    }
  }

  #forgetEnded(): void {
    for (const link of this.links) if (link.isOver) this.links.delete(link);
  }
}
