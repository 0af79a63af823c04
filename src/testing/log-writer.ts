/**
 * The process that the log suite kills. It appends batches of random size without end, and prints
 * each acknowledgement to stdout.
 *
 *     await writeUntilKilled(myLog(process.argv[2]));
 */

import { writeSync } from 'node:fs';

import { randomInteger, systemRandom } from '../base/random.ts';
import type { Log } from '../log/log.ts';
import { withMethods } from '../core/model/option-kinds.ts';
import { checkArgument } from '../core/model/options.ts';
import { defineStream, type Stream } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import { openOptions } from './log-suite-place.ts';

/** The streams that the writer writes. */
export const writtenStreams: readonly Stream[] = [defineStream('written'), defineStream('Written')];

/** The content of each row of a batch. It shows whether the batch is whole. */
export interface WrittenRow {
  readonly batch: string;
  readonly i: number;
  readonly of: number;
  readonly padding: string;
}

/** One line of the writer's stdout. */
export interface Acknowledged {
  readonly stream: string;
  readonly token: Token;
  readonly batch: string;
}

const APPENDS_AT_ONCE = 8;
const STDOUT = 1;

/** Opens the log and appends to it until the process is killed. */
export async function writeUntilKilled(log: Log): Promise<never> {
  checkArgument('writeUntilKilled', 'log', log, withMethods<Log>('open', 'append'));
  await log.open(openOptions(writtenStreams));
  const writers = Array.from({ length: APPENDS_AT_ONCE }, (_, i) => writeForever(log, `${process.pid}/${i}`));
  return Promise.race(writers);
}

async function writeForever(log: Log, writer: string): Promise<never> {
  for (let n = 0; ; n++) {
    const stream = writtenStreams[randomInteger(systemRandom, 0, writtenStreams.length - 1)]!.name;
    const batch = `${writer}/${n}`;
    const { token } = await log.append(stream, randomBatch(batch));
    const acknowledged: Acknowledged = { stream, token, batch };
    // Written at once, without a buffer: bytes in the pipe outlive this process.
    writeSync(STDOUT, `${JSON.stringify(acknowledged)}\n`);
  }
}

function randomBatch(batch: string): string[] {
  const isLarge = randomInteger(systemRandom, 0, 19) === 0;
  const of = randomInteger(systemRandom, 1, isLarge ? 2_000 : 5);
  const padding = 'x'.repeat(randomInteger(systemRandom, 0, 200));
  return Array.from({ length: of }, (_, i) => {
    const row: WrittenRow = { batch, i, of, padding };
    return JSON.stringify(row);
  });
}
