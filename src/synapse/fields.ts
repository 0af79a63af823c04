/**
 * Describes rows as tables of fields. One table checks a row, names its fields, and puts named
 * fields back in place. Knows no stream.
 */

import { quoteValue, UsageError } from '../core/model/errors.ts';

/** SQLite databases give 0 and 1 where PostgreSQL gives false and true. Each is kept as it came. */
export type SynapseBoolean = boolean | 0 | 1;

/** Whether a boolean of Synapse is true. */
export function isTrue(value: SynapseBoolean): boolean {
  return value === true || value === 1;
}

/** Any JSON object. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** Converts between a value on the wire and its named form in TypeScript. */
export interface Codec<Wire, Named = Wire> {
  /** The fault of a value at the path `at`; undefined when it fits. */
  readonly faultOf: (value: unknown, at: string) => string | undefined;
  /** Names a value that has no fault. */
  readonly parse: (wire: Wire) => Named;
  /** @throws UsageError INVALID_ROW when the names belong to no row */
  readonly format: (named: Named) => Wire;
}

type Field = readonly [name: string, codec: ErasedCodec];

/** A codec of any type: the compiler checks a table where it is written. */
interface ErasedCodec {
  readonly faultOf: (value: unknown, at: string) => string | undefined;
  readonly parse: (wire: never) => unknown;
  readonly format: (named: never) => unknown;
}

type FieldOf<Wire, Named> = Named extends unknown
  ? { [Name in keyof Named & string]-?: readonly [Name, Codec<Wire, Exclude<Named[Name], undefined>>] }[keyof Named &
      string]
  : never;

/** A name and a codec for each place of the row, with the types of `Row` and `Named`. */
export type Fields<Row extends readonly unknown[], Named> = {
  readonly [Place in keyof Row]: FieldOf<Row[Place], Named>;
};

type ObjectField<Wire, Named> = {
  [Name in keyof Named & string]: {
    [Key in keyof Wire & string]: readonly [Name, Key, Codec<Wire[Key], Named[Name]>];
  }[keyof Wire & string];
}[keyof Named & string];

export const text: Codec<string> = leaf('a string', (value) => typeof value === 'string');
export const integer: Codec<number> = leaf('an integer', (value) => Number.isSafeInteger(value));
export const flag: Codec<SynapseBoolean> = leaf(
  'true, false, 1 or 0',
  (value) => typeof value === 'boolean' || value === 0 || value === 1,
);
export const texts: Codec<readonly string[]> = leaf('a list of strings', isTexts);
export const textOrNull: Codec<string | null> = leaf(
  'a string or null',
  (value) => value === null || typeof value === 'string',
);
export const textsOrNull: Codec<readonly string[] | null> = leaf(
  'a list of strings or null',
  (value) => value === null || isTexts(value),
);
export const jsonObject: Codec<JsonObject> = leaf('an object', isObject);

/** A row whose form depends on the number of its fields, since versions of Synapse differ in it. */
export function rowOf<Row extends readonly unknown[], Named>(
  ...layouts: readonly Fields<Row, Named>[]
): Codec<Row, Named> {
  const byLength = new Map(
    (layouts as unknown as readonly (readonly Field[])[]).map((fields) => [fields.length, fields]),
  );
  const known = new Set([...byLength.values()].flatMap((fields) => fields.map(([name]) => name)));
  const expected = `a list of ${[...byLength.values()].map((fields) => `${fields.length} (${fields.map(([name]) => name).join(', ')})`).join(' or ')}`;
  return {
    faultOf: (row, at) => {
      const fields = Array.isArray(row) ? byLength.get(row.length) : undefined;
      return fields === undefined
        ? fault(row, at, expected)
        : firstFault(
            fields.map(([name, codec], place) => [codec, (row as unknown[])[place], name]),
            at,
          );
    },
    parse: (row) =>
      Object.fromEntries(
        byLength.get(row.length)!.map(([name, codec], place) => [name, codec.parse(row[place] as never)]),
      ) as Named,
    format: (named) => {
      const values = valuesOf(named);
      // Names that no row of the stream has, such as `kind`, are not fields.
      const present = Object.keys(values).filter((name) => known.has(name) && values[name] !== undefined);
      const fields = byLength.get(present.length);
      if (!fields?.every(([name]) => present.includes(name))) {
        throw new UsageError(
          'INVALID_ROW',
          `the fields are ${present.length === 0 ? 'none' : present.join(', ')}, expected ${expected}`,
        );
      }
      return fields.map(([name, codec]) => codec.format(values[name] as never)) as unknown as Row;
    },
  };
}

/** An object with exactly these keys. */
export function objectOf<Wire extends object, Named extends object>(
  ...table: readonly ObjectField<Wire, Named>[]
): Codec<Wire, Named> {
  const fields = table as unknown as readonly (readonly [name: string, key: string, codec: ErasedCodec])[];
  const expected = `an object of ${fields.map(([, key]) => key).join(', ')}`;
  return {
    faultOf: (value, at) => {
      // An unknown key is a fault: it has no name to be kept under, and nothing may be dropped.
      if (!isObject(value) || Object.keys(value).some((key) => fields.every(([, known]) => known !== key)))
        return fault(value, at, expected);
      return firstFault(
        fields.map(([, key, codec]) => [codec, Object.hasOwn(value, key) ? value[key] : undefined, key]),
        at,
      );
    },
    parse: (wire) =>
      Object.fromEntries(
        fields.map(([name, key, codec]) => [name, codec.parse(valuesOf(wire)[key] as never)]),
      ) as Named,
    format: (named) =>
      Object.fromEntries(
        fields.map(([name, key, codec]) => [key, codec.format(valuesOf(named)[name] as never)]),
      ) as Wire,
  };
}

/** A value that is the only field of its named form. */
export function only<Name extends string, Wire, Value>(
  name: Name,
  codec: Codec<Wire, Value>,
): Codec<Wire, { readonly [N in Name]: Value }> {
  return {
    faultOf: codec.faultOf,
    parse: (wire) => ({ [name]: codec.parse(wire) }) as { readonly [N in Name]: Value },
    format: (named) => codec.format(named[name]),
  };
}

declare const isUnknown: unique symbol;

/**
 * A row of an unknown type. No literal has the type of its first place, so the compiler still
 * checks `['ev', …]` against the fields of an `ev`. `format` makes one.
 */
export type UnknownRow = readonly [type: string & { readonly [isUnknown]: true }, data: unknown];

/** An unknown row in its named form, with its data as they came. */
export interface UnknownKind {
  readonly kind: 'unknown';
  readonly type: string;
  readonly data: unknown;
}

type Kind<Named extends { readonly kind: string }> = Exclude<Named['kind'], 'unknown'>;
type CodecsByKind<Row, Named extends { readonly kind: string }> = {
  readonly [K in Kind<Named>]: Codec<
    Extract<Row, readonly [K, unknown]>[1],
    Omit<Extract<Named, { readonly kind: K }>, 'kind'>
  >;
};

/** Rows `[type, data]`, where the type determines the data. */
export function typedRow<Row extends readonly [type: string, data: unknown], Named extends { readonly kind: string }>(
  codecs: CodecsByKind<Row, Named>,
): Codec<Row, Named | UnknownKind> {
  const codecOf = (type: string): ErasedCodec | undefined =>
    Object.hasOwn(codecs, type) ? (codecs as Record<string, ErasedCodec>)[type] : undefined;
  return {
    faultOf: (row, at) => {
      if (!Array.isArray(row) || row.length !== 2 || typeof row[0] !== 'string' || row[1] === undefined)
        return fault(row, at, '[type, data]');
      return codecOf(row[0])?.faultOf(row[1], row[0]);
    },
    parse: ([type, data]) => {
      const codec = codecOf(type);
      return codec === undefined
        ? { kind: 'unknown', type, data }
        : ({ kind: type, ...(codec.parse(data as never) as object) } as unknown as Named);
    },
    format: (named) => {
      const { kind, type, data } = valuesOf(named);
      if (kind !== 'unknown') {
        const codec = codecOf(String(kind));
        if (codec === undefined)
          throw new UsageError(
            'INVALID_ROW',
            `kind is ${quoteValue(kind)}, expected ${Object.keys(codecs).join(', ')} or unknown`,
          );
        return [kind, codec.format(named as never)] as unknown as Row;
      }
      if (codecOf(String(type)) !== undefined)
        throw new UsageError('INVALID_ROW', `kind is "unknown", expected ${quoteValue(type)}: that type is known`);
      return [type, data] as unknown as Row;
    },
  };
}

function leaf<T>(expected: string, accepts: (value: unknown) => boolean): Codec<T> {
  return {
    faultOf: (value, at) => (accepts(value) ? undefined : fault(value, at, expected)),
    parse: (value) => value,
    format: (value) => value,
  };
}

function fault(value: unknown, at: string, expected: string): string {
  return `${at === '' ? 'the row' : at} is ${quoteValue(value)}, expected ${expected}`;
}

function firstFault(
  fields: readonly (readonly [codec: ErasedCodec, value: unknown, name: string])[],
  at: string,
): string | undefined {
  for (const [codec, value, name] of fields) {
    const found = codec.faultOf(value, at === '' ? name : `${at}.${name}`);
    if (found !== undefined) return found;
  }
  return undefined;
}

function isTexts(value: unknown): boolean {
  return Array.isArray(value) && value.every((one) => typeof one === 'string');
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Accepts values that are no objects, for callers without a compiler. */
function valuesOf(named: unknown): JsonObject {
  return isObject(named) ? named : {};
}
