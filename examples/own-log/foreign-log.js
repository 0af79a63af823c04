/**
 * What a log in a database looks like to Rowcast: hints carry no rows, since others append too and only their news
 * arrives, and reads and verdicts take time. Here the database is the memory of this process; its delay is made up.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { KeptLog } from 'rowcast/log';

export function foreignLog(options) {
  return new ForeignLog({ name: 'foreign', ...options });
}

class ForeignLog extends KeptLog {
  /** How many pages were asked for. */
  reads = 0;

  watch(listener) {
    return super.watch((event) => listener(event.kind === 'rows' ? { ...event, chunks: undefined } : event));
  }

  async read(stream, options) {
    this.reads += 1;
    await nextTurn();
    return super.read(stream, options);
  }

  async judge(position) {
    await nextTurn();
    return super.judge(position);
  }
}
