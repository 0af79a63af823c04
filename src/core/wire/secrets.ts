/**
 * Which arguments of commands are secret. No error, log line or ERROR shows one, and so none shows
 * anything of a line that has one and does not parse: the secret may stand anywhere in it.
 */

import type { Command, CommandName } from './command.ts';

type ArgumentOf<Name extends CommandName> = Exclude<keyof Extract<Command, { name: Name }>, 'name'>;

/** The secret arguments of each command. A command that is missing does not compile. */
export const secretArguments: { readonly [Name in CommandName]: readonly ArgumentOf<Name>[] } = Object.freeze({
  SERVER: [],
  RDATA: [],
  POSITION: [],
  HISTORY: [],
  ERA: [],
  REFUSED: [],
  RELEASED: [],
  ATTR: [],
  ERROR: [],
  PING: [],
  NAME: [],
  REPLICATE: [],
  RELEASE: [],
  APPLIED: [],
  USER_SYNC: [],
  FEDERATION_ACK: [],
  // A push key lets its holder send notifications to a device.
  REMOVE_PUSHER: ['pushKey'],
  INVALIDATE_CACHE: [],
  USER_IP: ['accessToken'],
  SYNC: [],
});

const secretive = (Object.keys(secretArguments) as CommandName[]).filter((name) => secretArguments[name].length > 0);

/** Nothing of a line of this command may be shown. */
export function isSecretive(name: CommandName): boolean {
  return secretArguments[name].length > 0;
}

/**
 * What may be shown of a name that is no command's. A tab, or no space at all, behind the name of a
 * command makes its arguments a part of the name.
 */
export function presentableName(name: string): string {
  const known = secretive.find((command) => name.toUpperCase().startsWith(command));
  return known === undefined || name.length === known.length ? name : `${name.slice(0, known.length)}…`;
}
