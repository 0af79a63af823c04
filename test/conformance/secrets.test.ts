/** Secrets of commands stand in no message, whatever is wrong with the line. */

import { expect, onTestFinished, test } from 'vitest';
import { decodeCommand, encodeCommand } from '../../src/core/wire/codec.ts';
import type { Command } from '../../src/core/wire/command.ts';
import { isSecretive, secretArguments } from '../../src/core/wire/secrets.ts';
import { defineStream } from '../../src/core/model/stream.ts';
import type { Logger } from '../../src/core/model/logger.ts';
import { memoryLog } from '../../src/log/memory.ts';
import { createPrimary } from '../../src/primary/primary.ts';
import { createMemoryTransport } from '../../src/transport/memory.ts';
import { createWorker } from '../../src/worker/worker.ts';
import { RunningCommand } from '../support/fake-terminal.ts';
import { Netcat } from '../support/netcat.ts';

const SECRET = 'syt_hunter2';

/** Lines with a secret that do not parse. */
const malformed = [
  `USER_IP @a:b ["${SECRET}","::1","agent",null]`,
  `USER_IP @a:b ["${SECRET}","::1","agent",null,"soon"]`,
  `USER_IP @a:b ["${SECRET}"`,
  `USER_IP @a:b ${SECRET}`,
  `USER_IP @a:b  ["${SECRET}","::1","agent",null,1]`,
  `USER_IP ["${SECRET}","::1","agent",null,1]`,
  `USER_IP  ${SECRET}`,
  `USER_IP ${SECRET}`,
  `USER_IP @a:b {"token":"${SECRET}"}`,
  `USER_IP\t@a:b\t["${SECRET}","::1","agent",null,1]`,
  `USER_IP["${SECRET}","::1","agent",null,1]`,
  `user_ip@a:b["${SECRET}"]`,
  `REMOVE_PUSHER app ${SECRET}`,
  `REMOVE_PUSHER app ${SECRET} `,
  `REMOVE_PUSHER ${SECRET}`,
  `REMOVE_PUSHER  app ${SECRET} @a:b`,
  `REMOVE_PUSHER\tapp\t${SECRET}\t@a:b`,
];

/** All of a thrown value that may be shown somewhere. */
function everythingOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  const { message, stack, cause } = thrown;
  return [message, stack, JSON.stringify(thrown), cause === undefined ? '' : everythingOf(cause)].join('\n');
}

// SPEC B21
test.each(malformed)(
  'a secret stands in no log line, ERROR, event or error when a line does not parse: %s',
  async (line) => {
    const told: string[] = [];
    const log = (fields: object, text: string): void => void told.push(JSON.stringify(fields), text);
    const logger: Logger = { debug: log, info: log, warn: log, error: log };
    const transport = createMemoryTransport();
    const streams = [defineStream('events')];
    const primary = await createPrimary({ name: 'example.com', log: memoryLog(), streams, transport, logger });
    onTestFinished(() => primary.close());
    primary.on('warning', ({ error }) => told.push(everythingOf(error)));
    primary.on('disconnected', ({ error }) => told.push(everythingOf(error)));
    primary.on('command', ({ command }) => told.push(JSON.stringify(command)));
    await primary.listen({ path: '/wire' });
    const hand = new Netcat(transport, { path: '/wire' });
    hand.send(line);
    await hand.line('ERROR ');
    await hand.closed;
    told.push(...hand.lines);
    try {
      decodeCommand(line, 'worker', 'seed');
    } catch (thrown) {
      told.push(everythingOf(thrown));
    }
    const send = new RunningCommand(['send', ...line.split(' ')]);
    expect(await send.ended).not.toBe(0);
    told.push(send.err, send.out);
    expect(told.join('\n')).not.toContain(SECRET);
    expect(told.join('\n')).toMatch(/USER_IP|user_ip|REMOVE_PUSHER/);
  },
);

test('a secret stands in no error when a command does not fit on a line', () => {
  const userIp = { name: 'USER_IP', userId: '@a:b', ip: '::1', userAgent: 'x', deviceId: null, lastSeenMs: 1 } as const;
  const pusher = { name: 'REMOVE_PUSHER', appId: 'app', pushKey: SECRET, userId: '@a:b' } as const;
  const commands: Command[] = [
    { ...userIp, accessToken: SECRET, lastSeenMs: 1.5 },
    { ...userIp, accessToken: SECRET, userId: 'a b' },
    { ...userIp, accessToken: SECRET, userId: `${SECRET} b` },
    { ...userIp, accessToken: SECRET, userId: 'a\n' },
    { ...userIp, accessToken: SECRET, deviceId: 5n as unknown as string },
    { ...pusher, pushKey: `a ${SECRET}` },
    { ...pusher, pushKey: `a\n${SECRET}` },
    { ...pusher, userId: ` ${SECRET}` },
  ];
  for (const command of commands) {
    let thrown: unknown;
    try {
      encodeCommand(command);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ code: 'INVALID_COMMAND' });
    expect(everythingOf(thrown)).not.toContain(SECRET);
  }
  const worker = createWorker({ name: 'w', connect: { path: '/none' }, transport: createMemoryTransport() });
  expect(() => worker.send({ ...userIp, accessToken: SECRET, userId: `${SECRET} b` })).toThrow(
    expect.objectContaining({ message: expect.not.stringContaining(SECRET) }),
  );
});

test('the table of secrets names arguments of commands, and other commands repeat what came', () => {
  expect(isSecretive('USER_IP') && isSecretive('REMOVE_PUSHER')).toBe(true);
  expect(secretArguments.USER_IP).toEqual(['accessToken']);
  expect(() => decodeCommand('FEDERATION_ACK abc', 'worker', 'seed')).toThrow('not abc');
});
