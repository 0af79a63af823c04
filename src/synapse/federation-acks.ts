/** FEDERATION_ACK: what every federation sender has handled need not be kept. */

import { RowcastError } from '../core/model/errors.ts';
import { nameOf, type Stream, type StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { Primary, PrimaryEvents } from '../primary/primary.ts';
import { federation } from './federation.ts';

export interface FederationAcksOptions {
  /** Default: `federation`. */
  readonly stream?: Stream | StreamName;
}

/**
 * Trims the stream up to the lowest of the acks of the senders that are connected. A connection is
 * a sender from its first ack on, and holds back what it has not acked until it is gone: then it
 * has no queue of ours any more, and when it comes back it resumes or hears a gap.
 * @returns what ends it
 * @throws UsageError NO_SUCH_STREAM
 */
export function trackFederationAcks(primary: Primary, { stream = federation }: FederationAcksOptions = {}): () => void {
  const name = nameOf(stream);
  // Here, not at the first ack: whoever did not switch federation on hears of it.
  primary.position(name);
  const acks = new Map<number, Token>();
  let trimmed: Token = 0;
  let isTrimming = false;

  const trim = async (): Promise<void> => {
    if (isTrimming) return;
    isTrimming = true;
    try {
      // Acks that come meanwhile are of the next round.
      for (let upTo = lowest(acks); upTo > trimmed; upTo = lowest(acks)) {
        await primary.trim(name, upTo);
        trimmed = upTo;
      }
    } catch (error) {
      if (!(error instanceof RowcastError)) throw error;
      // The primary stops: what is kept is no matter any more.
      if (error.code !== 'CLOSED') primary.emit('error', error);
    } finally {
      isTrimming = false;
    }
  };
  const handleCommand = ({ command, worker }: PrimaryEvents['command'][0]): void => {
    if (command.name !== 'FEDERATION_ACK') return;
    // Nobody has handled what was not sent: such an ack is of an earlier life of the stream, and
    // says nothing of this one.
    if (command.token > primary.position(name).token) return;
    // A sender that starts over acks less than before: that moves nothing back.
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

/** Without a sender nothing is trimmed: one may come. */
function lowest(acks: ReadonlyMap<number, Token>): Token {
  return acks.size === 0 ? 0 : Math.min(...acks.values());
}
