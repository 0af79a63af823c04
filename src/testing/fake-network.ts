/**
 * Links between workers and the addresses of primaries, and the fate of a connection before it is
 * open. Knows no protocol.
 */

import type { Clock, Millis } from '../base/clock.ts';
import { type Random, randomInteger } from '../base/random.ts';
import { ConnectionError } from '../core/model/errors.ts';
import type { ConnectionHandler, Listener } from '../transport/transport.ts';
import { FakeLink, type LinkEnd, type LinkOptions } from './fake-link.ts';

export interface FakeNetworkOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly maxWindowBytes: number;
  readonly maxDelayMs: Millis;
  /** How many of a hundred links cut their first bytes into tiny pieces. */
  readonly tinyPercent: number;
  /** Called with each piece of each link on arrival. */
  readonly onPiece?: LinkOptions['onPiece'];
}

export type Accept = (connection: LinkEnd) => ConnectionHandler;

export class FakeNetwork {
  /** The links with at least one end that is not over. */
  readonly links: Set<FakeLink> = new Set<FakeLink>();
  readonly #options: FakeNetworkOptions;
  readonly #accepts = new Map<string, Accept>();
  /** While true, new connections never get an answer. */
  isSilent = false;
  /** The real destination of a connection to an address. */
  route: (path: string) => string = (path) => path;
  #count = 0;

  constructor(options: FakeNetworkOptions) {
    this.#options = options;
  }

  listen(path: string, accept: Accept): Listener {
    this.#accepts.set(path, accept);
    return {
      address: { path },
      close: async () => {
        if (this.#accepts.get(path) === accept) this.#accepts.delete(path);
      },
    };
  }

  /** The listening process is gone. */
  refuse(path: string): void {
    this.#accepts.delete(path);
  }

  connect(from: string, path: string, handler: ConnectionHandler): LinkEnd {
    const { clock, random, maxWindowBytes, maxDelayMs, tinyPercent, onPiece } = this.#options;
    const link = new FakeLink({
      name: `link ${++this.#count} of ${from}`,
      clock,
      random,
      windowBytes: randomInteger(random, Math.ceil(maxWindowBytes / 4), maxWindowBytes),
      maxDelayMs,
      onPiece,
      tinyPieces: random.next() * 100 < tinyPercent ? 60 : 0,
    });
    const [worker, primary] = link.ends;
    worker.attach(handler);
    this.#forgetEnded();
    this.links.add(link);
    if (this.isSilent) link.die();
    clock.wakeIn(randomInteger(random, 0, maxDelayMs * 2), () => {
      // Cut before it was open. The worker is told in its own time.
      if (worker.isOver || primary.isOver || link.diedAt !== undefined) return;
      const accept = this.#accepts.get(this.route(path));
      if (accept === undefined) {
        worker.fail(new ConnectionError('CONNECTION_LOST', 'nobody listens'));
        primary.detach();
        return;
      }
      primary.attach(accept(primary));
      primary.open();
      worker.open();
    });
    return worker;
  }

  /**
   * The process behind these ends is gone. `isSilent`: its machine is gone too, so the other ends
   * are told nothing.
   */
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
