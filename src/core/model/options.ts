/**
 * Checks the options that a caller gives. Each interface of options has a table of its options and
 * what their values are, and an option that its table does not know does not compile.
 */

import { quote, UsageError } from './errors.ts';
import { nearestName } from './nearest-name.ts';

/** What the value of an option is. */
export interface Kind<out Value> {
  /** Completes "option x of y is …". */
  readonly expected: string;
  readonly accepts: (value: unknown) => value is Value;
  /** Completes "not …" for a wrong value, where its type alone does not say what is wrong. */
  readonly came?: (value: unknown) => string | undefined;
  /** The text of a wrong value is shown: it cannot be a secret. */
  readonly showsText?: boolean;
  /** A value that is itself an object of options. */
  readonly inside?: UntypedTable;
}

/** An option that must be given. */
export interface RequiredKind<out Value> extends Kind<Value> {
  readonly isRequired: true;
}

type OptionalKind<Value> = Kind<Value> & { readonly isRequired?: never };

/**
 * Every option of an interface. One that must be given is `required(…)` here, and no other is.
 * @example
 * const waitOptions: OptionTable<WaitOptions> = { timeoutMs: positiveMs, signal: abortSignal };
 */
export type OptionTable<Options> = {
  readonly [Name in keyof Options]-?: object extends Pick<Options, Name>
    ? OptionalKind<Exclude<Options[Name], undefined>>
    : RequiredKind<Options[Name]>;
};

type UntypedTable = Readonly<Record<string, Kind<unknown> & { readonly isRequired?: boolean }>>;

/**
 * The options that were given, as a plain object of those that are not undefined. Each is read
 * once, so getters and instances of classes will do. Symbols are ignored.
 * @param of what takes the options, as its caller wrote it: `createWorker`
 * @throws UsageError INVALID_OPTION for what is no object of options, an unknown option, a missing
 *   one, or a wrong value
 */
export function checkOptions<Options extends object>(
  of: string,
  options: Options | undefined,
  table: OptionTable<NoInfer<Options>>,
): Options {
  return readOptions(of, '', options, table) as Options;
}

/**
 * Refuses an argument that is no option, such as a handler.
 * @throws UsageError INVALID_OPTION
 */
export function checkArgument<Value>(
  of: string,
  argument: string,
  value: unknown,
  kind: Kind<Value>,
): asserts value is Value {
  if (kind.accepts(value)) return;
  const facts = { argument, of, type: typeOf(value) };
  const came = describe(value, kind);
  throw new UsageError('INVALID_OPTION', `${argument} of ${of} is ${kind.expected}, not ${came}`, { facts });
}

/**
 * An option whose value is right alone, and not beside the others.
 * @param why completes "option x of y …"
 */
export function optionError(of: string, option: string, why: string): UsageError {
  return new UsageError('INVALID_OPTION', `option ${option} of ${of} ${why}`, { facts: { option, of } });
}

/** @param path what stands before the names of these options: `retain.` */
function readOptions(of: string, path: string, options: unknown, table: UntypedTable): Record<string, unknown> {
  const names = Object.keys(table);
  if (options === undefined && !names.some((name) => table[name]!.isRequired)) return {};
  if (!isOptions(options)) throw notOptions(of, options, table);
  for (const name of Object.keys(options)) {
    if (!Object.hasOwn(table, name)) throw unknownOption(of, path, name, names);
  }
  const read: Record<string, unknown> = {};
  for (const name of names) {
    const kind = table[name]!;
    const value = options[name];
    if (value === undefined) {
      if (kind.isRequired) throw missing(of, `${path}${name}`, kind);
    } else if (!kind.accepts(value)) {
      throw wrongValue(of, `${path}${name}`, value, kind);
    } else {
      read[name] = kind.inside === undefined ? value : readOptions(of, `${path}${name}.`, value, kind.inside);
    }
  }
  return read;
}

/** No list, and nothing of the language's own, such as a promise or a signal in their place. */
function isOptions(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return false;
  const tag = Object.prototype.toString.call(value);
  return tag === '[object Object]' || tag === '[object Module]';
}

function notOptions(of: string, value: unknown, table: UntypedTable): UsageError {
  const required = Object.keys(table).filter((name) => table[name]!.isRequired);
  const expected = required.length === 0 ? 'an object' : `an object with ${listed(required)}`;
  const came = value === undefined ? 'there are none' : `came ${nameOfType(value)}`;
  const facts = { of, type: typeOf(value) };
  return new UsageError('INVALID_OPTION', `the options of ${of} are ${expected}: ${came}`, { facts });
}

function listed(names: readonly string[]): string {
  return names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)!}`;
}

function unknownOption(of: string, path: string, name: string, names: readonly string[]): UsageError {
  const nearest = nearestName(name, names);
  const hint = nearest === undefined ? `there are ${names.join(', ')}` : `did you mean ${path}${nearest}?`;
  const option = `${path}${quote(name)}`;
  const facts = { option, of, ...(nearest !== undefined && { nearest: `${path}${nearest}` }) };
  return new UsageError('INVALID_OPTION', `unknown option ${option} of ${of}: ${hint}`, { facts });
}

function missing(of: string, option: string, { expected }: Kind<unknown>): UsageError {
  const facts = { option, of, type: 'undefined' };
  return new UsageError('INVALID_OPTION', `option ${option} of ${of} is missing: it is ${expected}`, { facts });
}

function wrongValue(of: string, option: string, value: unknown, kind: Kind<unknown>): UsageError {
  const facts = { option, of, type: typeOf(value) };
  const came = describe(value, kind);
  return new UsageError('INVALID_OPTION', `option ${option} of ${of} is ${kind.expected}, not ${came}`, { facts });
}

function typeOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'list' : typeof value;
}

/** What came in place of something else: `a list`, `an AbortSignal`, `undefined`. */
export function nameOfType(value: unknown): string {
  const type = typeOf(value);
  if (type === 'null' || type === 'undefined') return type;
  const name = type === 'object' ? Object.prototype.toString.call(value).slice('[object '.length, -1) : type;
  return name === 'Object' ? 'an object' : `${/^[aeiou]/i.test(name) ? 'an' : 'a'} ${name}`;
}

/**
 * A value as an error shows it. Text in place of an object may be the address of a database with
 * its password, and what an object holds is unknown, so neither is shown.
 */
function describe(value: unknown, { showsText, came }: Kind<unknown>): string {
  const told = came?.(value);
  if (told !== undefined) return told;
  if (typeof value === 'string' && showsText) return `'${quote(value)}'`;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return nameOfType(value);
}
