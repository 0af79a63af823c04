/** The error of a stop that gives up: it names what did not end. */

import type { Millis } from '../base/clock.ts';
import { HandlerError } from '../core/model/errors.ts';
import { type Address, formatAddress } from '../transport/transport.ts';
import type { Runner } from './subscription.ts';

export interface Unfinished {
  readonly workerName: string;
  readonly timeoutMs: Millis;
  /** Subscriptions whose handlers are at work. */
  readonly atWork: readonly Pick<Runner, 'stream' | 'busyAt'>[];
  /** A save of the checkpoint is on its way. */
  readonly isSaving: boolean;
  /** The address of the connection that has not ended. */
  readonly address: Address | undefined;
}

/** How many handlers the error names. */
const MOST_NAMED = 5;

export function stopTimeoutError({ workerName, timeoutMs, atWork, isSaving, address }: Unfinished): HandlerError {
  const texts: string[] = [];
  const unfinished: object[] = [];
  for (const { stream, busyAt } of atWork.slice(0, MOST_NAMED)) {
    texts.push(`the handler of stream ${stream} is still at its batch of token ${busyAt}`);
    unfinished.push({ what: 'handler', stream, token: busyAt });
  }
  if (atWork.length > MOST_NAMED) texts.push(`${atWork.length - MOST_NAMED} more handlers are at work`);
  if (isSaving) {
    texts.push('a save of the checkpoint has not ended');
    unfinished.push({ what: 'checkpoint' });
  }
  if (address !== undefined) {
    texts.push(`the connection to ${formatAddress(address)} has not ended`);
    unfinished.push({ what: 'connection' });
  }
  // Nothing else can be waited for but the checkpoint that is being closed.
  if (texts.length === 0) {
    texts.push('the checkpoint has not closed');
    unfinished.push({ what: 'checkpoint' });
  }
  const text = `worker ${workerName} did not stop within ${timeoutMs} ms: ${texts.join('; ')}`;
  return new HandlerError('STOP_TIMEOUT', text, { facts: { timeoutMs, unfinished } });
}
