/** What values of options are. A table of options (options.ts) is made of these. */

import type { Clock, Millis } from '../../base/clock.ts';
import type { Random } from '../../base/random.ts';
import type { Logger } from './logger.ts';
import { type Kind, nameOfType, type OptionTable, type RequiredKind } from './options.ts';

/** Marks an option that must be given. */
export function required<Value>(one: Kind<Value>): RequiredKind<Value> {
  return { ...one, isRequired: true };
}

/** A kind of its own. The text of a wrong value is shown, so it may not hold a secret. */
export function kind<Value>(expected: string, accepts: (value: unknown) => boolean): Kind<Value> {
  return { expected, accepts: accepts as (value: unknown) => value is Value, showsText: true };
}

export const boolean: Kind<boolean> = kind('true or false', (value) => typeof value === 'boolean');

export const anyText: Kind<string> = kind('text', (value) => typeof value === 'string');

/** A name as it stands on a line of the protocol. */
export const oneLine: Kind<string> = kind(
  'one line of text that is not empty',
  (value) => typeof value === 'string' && value !== '' && !/[\r\n]/.test(value),
);

/** The path of a file. */
export const filePath: Kind<string> = kind(
  'the path of a file',
  (value) => typeof value === 'string' && value !== '' && !value.includes('\0'),
);

/** A time that something may take. */
export const positiveMs: Kind<Millis> = kind(
  'a positive number of ms',
  (value) => typeof value === 'number' && Number.isFinite(value) && value > 0,
);

/** A time that may be none. */
export const msFromZero: Kind<Millis> = kind(
  'a number of ms from 0',
  (value) => typeof value === 'number' && Number.isFinite(value) && value >= 0,
);

export function integerFrom(least: number, most: number = Number.MAX_SAFE_INTEGER): Kind<number> {
  const range = most === Number.MAX_SAFE_INTEGER ? `from ${least}` : `from ${least} to ${most}`;
  return kind(
    `an integer ${range}`,
    (value) => typeof value === 'number' && Number.isSafeInteger(value) && value >= least && value <= most,
  );
}

export function oneOf<const Value extends string>(...values: readonly Value[]): Kind<Value> {
  const [last, ...others] = values.map((value) => `'${value}'`).toReversed();
  const expected = others.length === 0 ? last! : `${others.toReversed().join(', ')} or ${last!}`;
  return kind(expected, (value) => values.includes(value as Value));
}

/** A function of the caller's own. */
export function aFunction<Value extends (...given: never) => unknown>(): Kind<Value> {
  return hidden('a function', (value) => typeof value === 'function');
}

/** An object with these methods at least: what implements an interface. */
export function withMethods<Value>(...methods: readonly (keyof Value & string)[]): Kind<Value> {
  const names = methods.length === 1 ? `method ${methods[0]}` : `methods ${methods.join(', ')}`;
  const missing = (value: unknown): string | undefined =>
    methods.find((method) => typeof (value as Record<string, unknown>)[method] !== 'function');
  const hasParts = (value: unknown): boolean =>
    (typeof value === 'object' || typeof value === 'function') && value !== null;
  return {
    ...hidden(`an object with the ${names}`, (value) => hasParts(value) && missing(value) === undefined),
    came: (value) => (hasParts(value) ? `${nameOfType(value)} without ${missing(value)!}` : undefined),
  };
}

/** An AbortSignal, whose type only Node's own types have. */
export function abortSignal<Signal>(): Kind<Signal> {
  return hidden('an AbortSignal', (value) => {
    const signal = value as { readonly aborted?: unknown; readonly addEventListener?: unknown } | null;
    return typeof signal?.aborted === 'boolean' && typeof signal.addEventListener === 'function';
  });
}

/** Options within options. */
export function nested<Options>(table: OptionTable<Options>, expected: string = 'an object of options'): Kind<Options> {
  const accepts = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value);
  return { ...hidden<Options>(expected, accepts), inside: table };
}

/** A list whose members are checked where they are used. */
export function listOf<Member>(expected: string): Kind<readonly Member[]> {
  return hidden(expected, Array.isArray);
}

export const clockKind: Kind<Clock> = withMethods<Clock>('now', 'wallNow', 'wakeIn');

export const randomKind: Kind<Random> = withMethods<Random>('next');

export const loggerKind: Kind<Logger> = withMethods<Logger>('debug', 'info', 'warn', 'error');

/** A kind whose wrong values are not shown: text among them may be a secret. */
export function hidden<Value>(expected: string, accepts: (value: unknown) => boolean): Kind<Value> {
  return { expected, accepts: accepts as (value: unknown) => value is Value };
}
