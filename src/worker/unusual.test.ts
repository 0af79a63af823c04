/** Rare cases, and cases where the primary misbehaves. Each of them went wrong once. */

import { expect, onTestFinished, test } from 'vitest';
import { Gate } from '../../test/support/collector.ts';
import { settle } from '../../test/support/deployment.ts';
import { ScriptedPrimary } from '../../test/support/scripted-primary.ts';
import { at, ERA, memoryEra, ORIGIN, ROWCAST } from '../../test/support/worker-ends.ts';
import { formatPosition, type Position } from '../core/model/position.ts';
import { applyChanges } from './checkpoint.ts';
import type { WorkerOptions } from './options.ts';
import { createWorker, type Worker } from './worker.ts';

const greeting = ['SERVER example.com', `PING ${ROWCAST}`];

function scripted(options: Partial<WorkerOptions> = {}): { primary: ScriptedPrimary; worker: Worker } {
  const primary = new ScriptedPrimary();
  const worker = createWorker({
    name: 'reader',
    connect: { host: '127.0.0.1', port: 1 },
    transport: primary.transport,
    limits: { minBackoffMs: 1, maxBackoffMs: 1 },
    ...options,
  });
  onTestFinished(() => void worker.stop());
  worker.start().catch(() => {});
  return { primary, worker };
}

async function greet(primary: ScriptedPrimary): Promise<string[]> {
  while (!primary.isAwaited) await settle(1);
  primary.open();
  primary.send(greeting);
  return primary.takeLines().filter((line) => line.startsWith('RE'));
}

/** Holds positions, and tells of the next save. */
class Kept {
  readonly held: Map<string, Position>;
  #saved: (() => void) | undefined;

  constructor(...positions: readonly Position[]) {
    this.held = new Map(positions.map((position) => [position.stream, position]));
  }

  async load(): Promise<ReadonlyMap<string, Position>> {
    return this.held;
  }

  async save(changed: ReadonlyMap<string, Position | undefined>): Promise<void> {
    applyChanges(this.held, changed);
    this.#saved?.();
  }

  nextSave(): Promise<void> {
    return new Promise((resolve) => {
      this.#saved = resolve;
    });
  }
}

// SPEC H10
test('a checkpoint never goes back over a reset to where the process began: what is there again would be continued', async () => {
  const kept = new Kept(at('events', 50), at('receipts', 1));
  const { primary, worker } = scripted({ checkpoint: kept });
  const options = { from: 'checkpoint', onReset: 'earliest' } as const;
  worker.subscribe('events', options, () => {});
  worker.subscribe('receipts', options, () => {});
  await greet(primary);
  let saved = kept.nextSave();
  primary.send([`POSITION events 50 ${ERA}`, `POSITION receipts 1 ${ERA}`, 'RDATA events 51 1', 'RDATA events 52 1']);
  await saved;
  expect(formatPosition(kept.held.get('events')!)).toBe(`events=52@${ERA}`);
  saved = kept.nextSave();
  // The tail from 51 on was lost: 50 is on the history, 52 is not. The first row of the new start
  // has yet to come.
  primary.send(['REFUSED events RESET {}', 'RDATA receipts 2 1']);
  expect(primary.takeLines()).toContain('REPLICATE events START');
  await saved;
  expect(kept.held.get('events'), 'a new process must hear of the reset too').not.toEqual(at('events', 50));
});

test('nor does a subscription that is taken again from the checkpoint', async () => {
  const kept = new Kept(at('events', 50));
  const { primary, worker } = scripted({ checkpoint: kept });
  const options = { from: 'checkpoint', onReset: 'earliest' } as const;
  worker.subscribe('events', options, () => {});
  await greet(primary);
  primary.send([`POSITION events 50 ${ERA}`, 'RDATA events 51 1', 'REFUSED events RESET {}']);
  await worker.unsubscribe('events');
  primary.takeLines();
  worker.subscribe('events', options, () => {});
  expect(primary.takeLines()).not.toContain(`REPLICATE events 50 ${ERA}`);
});

test('a stream that is not there for a while goes on after the batch that the handler was at', async () => {
  const { primary, worker } = scripted();
  const gate = new Gate();
  const seen: number[] = [];
  worker.subscribeAll({ from: 'start' }, async ({ token }) => {
    seen.push(token);
    await gate.opened;
  });
  await greet(primary);
  const memory = memoryEra(0);
  primary.send([`POSITION $streams 0 ${ORIGIN}`, `POSITION $streams.volatile 0 ${memory}`]);
  primary.send(['RELEASED $streams', `HISTORY $streams 0 ${ERA}`, 'RDATA $streams 1 {"stream":"events","made":1}']);
  primary.send([`POSITION $streams 1 ${ERA}`, `HISTORY events 0 ${ERA}`, 'RDATA events 1 1']);
  expect(seen).toEqual([1]);
  primary.send(['REFUSED events UNKNOWN_STREAM {}']);
  gate.open();
  await settle(5);
  primary.cut();
  await greet(primary);
  primary.send([`POSITION $streams 1 ${ERA}`]);
  expect(primary.takeLines()).toContain(`REPLICATE events 1 ${ERA}`);
});

test('the streams of the logs themselves are not for the application: following all would take them over', () => {
  const { worker } = scripted();
  expect(() => worker.subscribe('$streams', { from: 'start' }, () => {})).toThrow(
    expect.objectContaining({ code: 'INVALID_STREAM_NAME' }),
  );
});
