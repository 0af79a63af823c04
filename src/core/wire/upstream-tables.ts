/**
 * The fields of each command that an application sends, checked as options are. Whether their
 * values fit on a line is found out where the line is written.
 */

import { quote, UsageError } from '../model/errors.ts';
import { anyText, hidden, kind, oneOf, required } from '../model/option-kinds.ts';
import { checkArgument, checkOptions, type Kind, type OptionTable } from '../model/options.ts';
import type { UpstreamCommand } from './command.ts';

const anyNumber: Kind<number> = kind('a number', (value) => typeof value === 'number');

const secretText: Kind<string> = hidden('text', (value) => typeof value === 'string');

const commandKind: Kind<UpstreamCommand> = hidden(
  'an object with the name of a command and its fields',
  (value) => typeof value === 'object' && value !== null && typeof (value as { name?: unknown }).name === 'string',
);

const upstreamTables: {
  readonly [Name in UpstreamCommand['name']]: OptionTable<Extract<UpstreamCommand, { readonly name: Name }>>;
} = Object.freeze({
  USER_SYNC: {
    name: required(oneOf('USER_SYNC')),
    userId: required(anyText),
    state: required(oneOf('start', 'end')),
    lastSyncMs: required(anyNumber),
  },
  FEDERATION_ACK: { name: required(oneOf('FEDERATION_ACK')), token: required(anyNumber) },
  REMOVE_PUSHER: {
    name: required(oneOf('REMOVE_PUSHER')),
    appId: required(anyText),
    pushKey: required(secretText),
    userId: required(anyText),
  },
  INVALIDATE_CACHE: {
    name: required(oneOf('INVALIDATE_CACHE')),
    cacheName: required(anyText),
    keys: required(
      kind<readonly unknown[] | null>(
        'a list of keys, or null for all of the cache',
        (value) => value === null || Array.isArray(value),
      ),
    ),
  },
  USER_IP: {
    name: required(oneOf('USER_IP')),
    userId: required(anyText),
    accessToken: required(secretText),
    ip: required(anyText),
    userAgent: required(anyText),
    deviceId: required(kind<string | null>('text, or null', (value) => value === null || typeof value === 'string')),
    lastSeenMs: required(anyNumber),
  },
  SYNC: { name: required(oneOf('SYNC')), text: required(anyText) },
});

/**
 * Refuses what is no command of an application's, and fields that are missing, unknown or of
 * another type.
 * @throws UsageError INVALID_COMMAND, INVALID_OPTION
 */
export function checkUpstreamCommand(of: string, command: UpstreamCommand): void {
  checkArgument(of, 'command', command, commandKind);
  const { name } = command;
  if (!Object.hasOwn(upstreamTables, name)) {
    const names = Object.keys(upstreamTables).join(', ');
    throw new UsageError('INVALID_COMMAND', `there is no command ${quote(name)} to send: there are ${names}`);
  }
  checkOptions<object>(`command ${name}`, command, upstreamTables[name]);
}
