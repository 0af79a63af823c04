import { once } from 'node:events';
import { expect, test } from 'vitest';
import { deploy } from '../../test/support/deployment.ts';
import type { UpstreamCommand } from '../core/wire/command.ts';
import type { ConnectedWorker } from '../primary/options.ts';
import type { Primary } from '../primary/primary.ts';
import { createWorker } from './worker.ts';

const ack = (token: number): UpstreamCommand => ({ name: 'FEDERATION_ACK', token });
const sync = (userId: string, lastSyncMs: number): UpstreamCommand => ({
  name: 'USER_SYNC',
  userId,
  state: 'start',
  lastSyncMs,
});

function commandsOf(primary: Primary): UpstreamCommand[] {
  const commands: UpstreamCommand[] = [];
  primary.on('command', ({ command }: { command: UpstreamCommand; worker: ConnectedWorker }) => commands.push(command));
  return commands;
}

test('a command says what becomes of it while there is no connection: dropped, the latest alone, or kept', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams: ['events'] });
  const commands = commandsOf(server);
  const reader = worker();
  for (const token of [1, 2]) reader.send(ack(token), { whenDisconnected: 'drop' });
  for (const at of [1, 2, 3]) reader.send(sync('@bob', at), { whenDisconnected: 'latest' });
  reader.send(sync('@amy', 4), { whenDisconnected: 'latest' });
  for (const token of [3, 4]) reader.send(ack(token));
  reader.send({ name: 'SYNC', text: 'end' });
  await reader.start();
  while (commands.at(-1)?.name !== 'SYNC') await once(server, 'command');
  expect(commands.slice(0, -1)).toEqual([sync('@bob', 3), sync('@amy', 4), ack(3), ack(4)]);
  // With a connection each is sent.
  for (const whenDisconnected of ['drop', 'latest', 'keep'] as const) reader.send(ack(9), { whenDisconnected });
  reader.send({ name: 'SYNC', text: 'again' });
  while (commands.filter(({ name }) => name === 'SYNC').length < 2) await once(server, 'command');
  expect(commands.slice(5, -1)).toEqual([ack(9), ack(9), ack(9)]);
});

test('a newest command takes no room of others: a thousand of one subject wait as one', () => {
  const reader = createWorker({ name: 'a', connect: { path: '/nowhere' }, limits: { maxQueuedCommands: 3 } });
  const dropped: string[] = [];
  reader.on('command-dropped', ({ line }) => dropped.push(line));
  for (let at = 0; at < 1_000; at++) reader.send(sync('@bob', at), { whenDisconnected: 'latest' });
  expect(dropped).toEqual([]);
  for (let token = 0; token < 3; token++) reader.send(ack(token));
  expect(dropped).toHaveLength(1);
});
