/**
 * A log in memory that outlives its primary: the next one continues its history, as with a log on
 * disk.
 */

import type { Log, LogOptions } from '../../src/log/log.ts';
import { memoryLog } from '../../src/log/memory.ts';

export function survivingLog(): Log {
  const log = memoryLog();
  let opened: Promise<void> | undefined;
  const watches = new Set<() => void>();
  return {
    name: log.name,
    get id() {
      return log.id;
    },
    open: (options: LogOptions) => (opened ??= log.open(options)),
    get era() {
      return log.era;
    },
    get catalog() {
      return log.catalog;
    },
    serves: (stream) => log.serves(stream),
    streams: () => log.streams(),
    health: log.health,
    holders: log.holders!,
    append: (stream, rows, options) => log.append(stream, rows, options),
    judge: (position) => log.judge(position),
    rowsAfter: (stream, after) => log.rowsAfter(stream, after),
    read: (stream, options) => log.read(stream, options),
    bounds: (stream) => log.bounds(stream),
    trim: (stream, upTo) => log.trim(stream, upTo),
    delete: (stream) => log.delete(stream),
    watch: (listener) => {
      const end = log.watch(listener);
      watches.add(end);
      return end;
    },
    close: async () => {
      for (const end of watches) end();
      watches.clear();
    },
  };
}
