import { once } from 'node:events';
import { expect, test } from 'vitest';
import { Gate } from '../../test/support/collector.ts';
import { deploy } from '../../test/support/deployment.ts';
import type { UpstreamCommand } from '../core/wire/command.ts';
import type { Primary } from '../primary/primary.ts';
import { synapseCommands } from './worker-commands.ts';

function commandsOf(primary: Primary): UpstreamCommand[] {
  const commands: UpstreamCommand[] = [];
  primary.on('command', ({ command }) => commands.push(command));
  return commands;
}

// SPEC O2
test('an ack of another history is not sent: it waits until the stream is live, and a reset forgets it', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams: ['federation'] });
  await server.append('federation', [1]);
  const commands = commandsOf(server);
  const reader = worker();
  reader.subscribe('federation', { from: 'start', onReset: 'earliest' }, () => {});
  const tell = synapseCommands(reader);
  await reader.start();
  tell.federationAck(1);
  const [{ command }] = (await once(server, 'command')) as [{ command: UpstreamCommand }];
  expect(command).toEqual({ name: 'FEDERATION_ACK', token: 1 });
  // The primary goes, and another one with another log comes.
  const gone = once(reader, 'not-live');
  await server.close();
  await gone;
  tell.federationAck(1);
  const next = await primary({ streams: ['federation'] });
  const later = commandsOf(next);
  await once(reader, 'live');
  reader.send({ name: 'SYNC', text: 'end' });
  await once(next, 'command');
  expect(commands).toHaveLength(1);
  expect(later.map(({ name }) => name)).toEqual(['SYNC']);
});

test('an ack waits for no other stream, also where that one is behind when the commands are made', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams: ['federation', 'slow'] });
  await server.append('federation', [1]);
  await server.append('slow', [1]);
  const reader = worker();
  const gate = new Gate();
  reader.subscribe('slow', { from: 'start' }, async () => gate.opened);
  reader.subscribe('federation', { from: 'start' }, () => {});
  const started = reader.start();
  await once(reader, 'live');
  expect(reader.isLive).toBe(false);
  const commands = commandsOf(server);
  const tell = synapseCommands(reader);
  tell.federationAck(1);
  reader.send({ name: 'SYNC', text: 'end' });
  await once(server, 'command');
  gate.open();
  await started;
  expect(commands.map(({ name }) => name)).toEqual(['FEDERATION_ACK', 'SYNC']);
});
