/** FEDERATION_ACK: rows that every federation sender has handled need not be kept. */

import { RowcastError } from '../core/model/errors.ts';
import { checkArgument, checkOptions, type OptionTable } from '../core/model/options.ts';
import { nameOf, type Stream, streamKind, type StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { Primary } from '../primary/primary.ts';
import { type PrimaryEvents, primaryKind } from '../primary/options.ts';
import { federation } from './federation.ts';

/** Options of `trackFederationAcks`. */
export interface FederationAcksOptions {
  /** Default: `federation`. */
  readonly stream?: Stream | StreamName;
}

const optionTable: OptionTable<FederationAcksOptions> = { stream: streamKind };

/**
 * Trims the stream up to the lowest ack of the connected senders. A connection is a sender from its
 * first ack on, and holds back rows that it has not acked until it closes. A sender that returns
 * resumes or is told of a gap.
 * @returns a function that ends it
 * @throws UsageError INVALID_OPTION, NO_SUCH_STREAM
 */
export function trackFederationAcks(primary: Primary, options?: FederationAcksOptions): () => void {
  checkArgument('trackFederationAcks', 'primary', primary, primaryKind);
  const { stream = federation } = checkOptions('trackFederationAcks', options, optionTable);
  const name = nameOf(stream);
  // Fails here, not at the first ack, when federation is not switched on.
  primary.position(name);
  const acks = new Map<number, Token>();
  let trimmed: Token = 0;
  let isTrimming = false;

  const trim = async (): Promise<void> => {
    if (isTrimming) return;
    isTrimming = true;
    try {
      // Acks that come during a trim belong to the next round.
      for (let upTo = lowest(acks); upTo > trimmed; upTo = lowest(acks)) {
        await primary.trim(name, upTo);
        trimmed = upTo;
      }
    } catch (error) {
      if (!(error instanceof RowcastError)) throw error;
      // The primary is stopping, so the trim no longer matters.
      if (error.code !== 'CLOSED') primary.emit('error', error);
    } finally {
      isTrimming = false;
    }
  };
  const handleCommand = ({ command, worker }: PrimaryEvents['command'][0]): void => {
    if (command.name !== 'FEDERATION_ACK') return;
    // No sender can have handled rows that were not sent: such an ack belongs to an earlier life of
    // the stream.
    if (command.token > primary.position(name).token) return;
    // A sender that starts over acks lower tokens. They do not move it back.
    acks.set(worker.id, Math.max(command.token, acks.get(worker.id) ?? 0));
    void trim();
  };
  const handleDisconnected = ({ worker }: PrimaryEvents['disconnected'][0]): void => {
    if (acks.delete(worker.id)) void trim();
  };
  primary.on('command', handleCommand);
  primary.on('disconnected', handleDisconnected);
  return () => {
    primary.off('command', handleCommand);
    primary.off('disconnected', handleDisconnected);
  };
}

/** The lowest ack. Without a sender it is 0, because one may still come. */
function lowest(acks: ReadonlyMap<number, Token>): Token {
  return acks.size === 0 ? 0 : Math.min(...acks.values());
}
