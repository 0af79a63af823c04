/** What a start says that it waits for, for each thing that the primary or a handler may cause. */

import { expect, test } from 'vitest';
import { deploy, settle } from '../../test/support/deployment.ts';
import { pass } from '../../test/support/pass-time.ts';
import { ScriptedPrimary } from '../../test/support/scripted-primary.ts';
import { at, ERA, ROWCAST } from '../../test/support/worker-ends.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import type { WorkerEvents } from './options.ts';
import type { Worker } from './worker.ts';

const HOLDS = async (): Promise<void> => new Promise(() => {});
const events = (reader: Worker): unknown => reader.subscribe('events', { from: at('events', 5) }, () => {});
const held = (reader: Worker): unknown => reader.subscribe('events', { from: 'start' }, HOLDS);

test.each<[string, string | undefined, string, (reader: Worker) => unknown, string[]]>([
  ['answer', 'events', 'the primary has not answered for stream events', events, []],
  [
    'ahead',
    'events',
    'the primary has not reached the position of stream events, and is asked again',
    events,
    [`REFUSED events AHEAD {"earliest":1,"latest":3,"history":"${ERA}"}`],
  ],
  [
    'unavailable',
    'events',
    'stream events cannot be read by the primary now, and is asked for again',
    events,
    ['REFUSED events UNAVAILABLE {}'],
  ],
  [
    'catching-up',
    'events',
    `stream events is catching up, at events=6@${ERA}`,
    events,
    [`HISTORY events 5 ${ERA}`, 'RDATA events 6 "row"'],
  ],
  [
    'list',
    undefined,
    "the primary's list of its streams has not come whole",
    (reader) => reader.subscribeAll({ from: 'start' }, () => {}),
    [],
  ],
  [
    'handler',
    'events',
    'the handler of stream events has been busy with a batch for 5000 ms',
    held,
    [`HISTORY events 0 ${ERA}`, 'RDATA events 1 "row"'],
  ],
  [
    'handler',
    'events',
    'a batch of stream events fails and is tried again, for 5000 ms now: the handler of stream events failed at ' +
      'token 1: the database is down',
    (reader) =>
      reader.subscribe('events', { from: 'start', onError: { retry: { times: 5, backoffMs: 60_000 } } }, () => {
        throw new Error('the database is down');
      }),
    [`HISTORY events 0 ${ERA}`, 'RDATA events 1 "row"'],
  ],
  [
    'handler',
    'events',
    'the handler that stream events had before is still busy with its last batch',
    (reader) => {
      reader.subscribe('events', { from: 'checkpoint', fallback: 'start' }, () => {
        void reader.unsubscribe('events');
        reader.subscribe('events', { from: 'checkpoint' }, () => {});
        return HOLDS();
      });
    },
    [`HISTORY events 0 ${ERA}`, 'RDATA events 1 "row"'],
  ],
  [
    'other-handlers',
    'others',
    'stream others is not read on: too many rows wait for the handlers of other streams',
    (reader) => {
      held(reader);
      reader.subscribe('others', { from: 'start' }, () => {});
    },
    [`HISTORY events 0 ${ERA}`, ...Array.from({ length: 40 }, (_, i) => `RDATA events ${i + 1} "${'x'.repeat(100)}"`)],
  ],
])('a start that waits says why: %s, of stream %s', async (what, stream, text, subscribe, lines) => {
  const clock = new VirtualClock();
  const script = new ScriptedPrimary();
  const reader = deploy().worker({
    clock,
    transport: script.transport,
    checkpoint: { load: async () => new Map(), save: async () => {} },
    limits: { maxQueuedBytes: 2_000, minBackoffMs: 60_000, maxBackoffMs: 60_000 },
  });
  const told: WorkerEvents['waiting'][0][] = [];
  reader.on('waiting', (event) => told.push(event));
  subscribe(reader);
  reader.start().catch(() => {});
  await settle();
  script.open();
  script.send(['SERVER example.com', `PING ${ROWCAST}`]);
  script.send(lines);
  // A stream that was left and subscribed again in one turn is another one for it.
  reader.start().catch(() => {});
  await pass(clock, 5_000);
  expect(told).toHaveLength(1);
  expect(told[0]!.holdups).toContainEqual({ what, stream, text });
  reader.stop({ timeoutMs: 1 }).catch(() => {});
  await pass(clock, 1);
});
