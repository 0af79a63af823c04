/** Commands that wait for a connection. Knows no connection. */

import { assertNever } from '../../base/assert.ts';
import type { UpstreamCommand } from '../wire/command.ts';

/** What becomes of a command that cannot be sent yet. */
export type WhenDisconnected = 'drop' | 'latest' | 'keep';

interface Unsent {
  readonly line: string;
  readonly subject: string;
}

export class UnsentCommands {
  #waiting: Unsent[] = [];

  get size(): number {
    return this.#waiting.length;
  }

  /** @param isLatest it takes the place of an earlier command on the same subject */
  add(command: UpstreamCommand, line: string, isLatest: boolean): void {
    const subject = subjectOf(command);
    if (isLatest) this.#waiting = this.#waiting.filter((other) => other.subject !== subject);
    this.#waiting.push({ line, subject });
  }

  /** Removes and returns the oldest line. */
  shift(): string | undefined {
    return this.#waiting.shift()?.line;
  }
}

/** What a command is about: of two on one subject, the newer says all. */
function subjectOf(command: UpstreamCommand): string {
  const { name } = command;
  switch (name) {
    case 'USER_SYNC':
      return JSON.stringify([name, command.userId]);
    case 'FEDERATION_ACK':
      return name;
    case 'REMOVE_PUSHER':
      return JSON.stringify([name, command.appId, command.pushKey, command.userId]);
    case 'INVALIDATE_CACHE':
      return JSON.stringify([name, command.cacheName, command.keys]);
    case 'USER_IP':
      return JSON.stringify([name, command.userId, command.accessToken, command.ip, command.deviceId]);
    case 'SYNC':
      return JSON.stringify([name, command.text]);
    default:
      return assertNever(name);
  }
}
