/** Commands that workers send to a primary, each with a callback. */

import { HandlerError, messageOf } from '../core/model/errors.ts';
import { aFunction } from '../core/model/option-kinds.ts';
import { checkArgument, checkOptions, type OptionTable } from '../core/model/options.ts';
import type { Primary } from '../primary/primary.ts';
import { type ConnectedWorker, type PrimaryEvents, primaryKind } from '../primary/options.ts';
import type { UpstreamCommand } from '../core/wire/command.ts';

type CommandOf<Name extends UpstreamCommand['name']> = Extract<UpstreamCommand, { name: Name }>;
type Callback<Name extends UpstreamCommand['name']> = (
  command: CommandOf<Name>,
  worker: ConnectedWorker,
) => void | Promise<void>;

/** The callbacks of `handleCommands`, by command. */
export interface CommandCallbacks {
  readonly userSync?: Callback<'USER_SYNC'>;
  readonly federationAck?: Callback<'FEDERATION_ACK'>;
  readonly removePusher?: Callback<'REMOVE_PUSHER'>;
  /** `createCaches(primary)` already answers it. */
  readonly invalidateCache?: Callback<'INVALIDATE_CACHE'>;
  readonly userIp?: Callback<'USER_IP'>;
  readonly sync?: Callback<'SYNC'>;
  /** NAME. */
  readonly name?: (name: string, worker: ConnectedWorker) => void | Promise<void>;
  /** ERROR. */
  readonly error?: (text: string, worker: ConnectedWorker) => void | Promise<void>;
}

const callbackTable: OptionTable<CommandCallbacks> = {
  userSync: aFunction(),
  federationAck: aFunction(),
  removePusher: aFunction(),
  invalidateCache: aFunction(),
  userIp: aFunction(),
  sync: aFunction(),
  name: aFunction(),
  error: aFunction(),
};

const callbackNames = {
  USER_SYNC: 'userSync',
  FEDERATION_ACK: 'federationAck',
  REMOVE_PUSHER: 'removePusher',
  INVALIDATE_CACHE: 'invalidateCache',
  USER_IP: 'userIp',
  SYNC: 'sync',
} as const satisfies Record<UpstreamCommand['name'], keyof CommandCallbacks>;

/**
 * Calls back for each command of each worker. A callback that throws or rejects becomes an `error`
 * of the primary (HandlerError HANDLER_FAILED, with the command's name). The other callbacks and
 * the connection go on.
 * @returns a function that ends it
 * @throws UsageError INVALID_OPTION
 */
export function handleCommands(primary: Primary, given: CommandCallbacks): () => void {
  checkArgument('handleCommands', 'primary', primary, primaryKind);
  const callbacks = checkOptions('handleCommands', given, callbackTable);
  const call = async (command: string, callback: () => void | Promise<void> | undefined): Promise<void> => {
    try {
      await callback();
    } catch (cause) {
      primary.emit(
        'error',
        new HandlerError('HANDLER_FAILED', `the callback for ${command} failed: ${messageOf(cause)}`, { cause }),
      );
    }
  };
  const handleCommand = ({ command, worker }: PrimaryEvents['command'][0]): void => {
    const callback = callbacks[callbackNames[command.name]] as Callback<UpstreamCommand['name']> | undefined;
    void call(command.name, () => callback?.(command, worker));
  };
  const handleNamed = ({ name, worker }: PrimaryEvents['named'][0]): void =>
    void call('NAME', () => callbacks.name?.(name, worker));
  const handlePeerError = ({ text, worker }: PrimaryEvents['peer-error'][0]): void =>
    void call('ERROR', () => callbacks.error?.(text, worker));
  primary.on('command', handleCommand);
  primary.on('named', handleNamed);
  primary.on('peer-error', handlePeerError);
  return () => {
    primary.off('command', handleCommand);
    primary.off('named', handleNamed);
    primary.off('peer-error', handlePeerError);
  };
}
