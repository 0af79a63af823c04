import { expect, test } from 'vitest';
import { checkUpstreamCommand } from './upstream-tables.ts';

test.each<[unknown, string]>([
  [undefined, 'command of send is an object with the name of a command and its fields, not undefined'],
  ['FEDERATION_ACK', 'command of send is an object with the name of a command and its fields, not a string'],
  [{ name: 'PING', data: '' }, 'there is no command PING to send: there are USER_SYNC, FEDERATION_ACK,'],
  [{ name: 'SYNC' }, 'option text of command SYNC is missing: it is text'],
  [{ name: 'FEDERATION_ACK', tokn: 1 }, 'unknown option tokn of command FEDERATION_ACK: did you mean token?'],
  [{ name: 'INVALIDATE_CACHE', cacheName: 'a', keys: 'b' }, 'is a list of keys, or null for all of the cache'],
])('what is no command to send is refused with what is wrong: %s', (command, text) => {
  expect(() => checkUpstreamCommand('send', command as never)).toThrow(text);
});

test('the secret of a command stands in no refusal', () => {
  const command = { name: 'USER_IP', userId: '@bob:example.com', accessToken: ['hush'], ip: '127.0.0.1' };
  expect(() => checkUpstreamCommand('send', command as never)).toThrow(
    'accessToken of command USER_IP is text, not a list',
  );
});
