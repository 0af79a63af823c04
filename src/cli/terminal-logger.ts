/**
 * A logger for people: one short line for each event, without details that only debugging needs.
 */

import type { LogFields, Logger } from '../core/model/logger.ts';
import { say, type Terminal } from './terminal.ts';

export interface TerminalLoggerOptions {
  readonly terminal: Pick<Terminal, 'stderr'>;
  /** While this is false, only warnings and errors are printed. */
  readonly isTalkative: () => boolean;
}

export function terminalLogger({ terminal, isTalkative }: TerminalLoggerOptions): Logger {
  const tell = (prefix: string) => (fields: LogFields, text: string) =>
    say(terminal, `${prefix}${text}${formatFields(fields)}`);
  const info = tell('');
  return {
    debug: () => {},
    info: (fields, text) => {
      if (isTalkative()) info(fields, text);
    },
    warn: tell('warning: '),
    error: tell('error: '),
  };
}

function formatFields({ err, ...fields }: LogFields): string {
  const known = Object.entries({ ...fields, stack: err?.stack }).filter(([, value]) => value !== undefined);
  return known.length === 0 ? '' : ` (${known.map(([name, value]) => `${name} ${String(value)}`).join(', ')})`;
}
