/** `rowcast send`: sends one command to a primary, as a worker does. */

import { once } from 'node:events';
import { PeerError, quote, UsageError } from '../core/model/errors.ts';
import { decodeCommand } from '../core/wire/codec.ts';
import type { UpstreamCommand } from '../core/wire/command.ts';
import { presentableName } from '../core/wire/secrets.ts';
import { synapseLimits } from '../synapse/profile.ts';
import { type Address, formatAddress } from '../transport/transport.ts';
import { createWorker } from '../worker/worker.ts';
import { type ExitCode, exitCodes, fail, say, type Terminal } from './terminal.ts';

export interface SendOptions {
  readonly connect: Address;
  readonly server?: string;
  readonly name: string;
}

/** The commands that a worker may send to a primary's application. */
const upstream: readonly UpstreamCommand['name'][] = [
  'USER_SYNC',
  'FEDERATION_ACK',
  'REMOVE_PUSHER',
  'INVALIDATE_CACHE',
  'USER_IP',
  'SYNC',
];

/** @throws UsageError INVALID_COMMAND; ConnectionError, PeerError when it cannot be sent */
export async function send(
  words: readonly string[],
  { connect, server, name }: SendOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  const command = parse(words.join(' '));
  const worker = createWorker({
    name,
    connect,
    clock: terminal.clock,
    limits: synapseLimits,
    ...(server !== undefined && { server }),
  });
  const said: string[] = [];
  worker.on('peer-error', ({ text }) => {
    if (said.length < MOST_SAID) said.push(quote(text));
  });
  try {
    const connected = once(worker, 'connected', { signal: terminal.signal });
    const failed = once(worker, 'disconnected').then(([{ error }]) => Promise.reject(error as Error));
    // Its rejection is not awaited when the connection succeeds first.
    failed.catch(() => {});
    worker.start().catch(() => {});
    await Promise.race([connected, failed]);
    worker.send(command);
  } finally {
    // The line leaves before the connection ends, and the primary's reply still arrives.
    await worker.stop();
  }
  for (const text of said) fail(terminal, { code: 'PEER_ERROR', message: `the primary says: ${text}` });
  if (said.length > 0) return exitCodes.failed;
  say(terminal, `${command.name} was sent to ${formatAddress(connect)}; primaries do not acknowledge commands`);
  return exitCodes.fine;
}

/** The most lines that are shown of what the primary says. */
const MOST_SAID = 10;

function parse(line: string): UpstreamCommand {
  try {
    const command = decodeCommand(line, 'worker', 'seed');
    if (isUpstream(command)) return command;
  } catch (error) {
    if (!(error instanceof PeerError)) throw error;
    if (upstream.some((name) => line.startsWith(`${name} `) || line === name))
      throw new UsageError('INVALID_COMMAND', error.message, { cause: error });
  }
  throw new UsageError(
    'INVALID_COMMAND',
    `a worker sends one of ${upstream.join(', ')}, not ${quote(presentableName(line.split(' ')[0]!))}`,
  );
}

function isUpstream(command: { readonly name: string }): command is UpstreamCommand {
  return upstream.some((name) => name === command.name);
}
