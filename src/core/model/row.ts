/**
 * A row: one fact of a stream. The protocol treats it as opaque JSON; a validator may know more.
 */

import { messageOf, RowcastError, UsageError } from './errors.ts';
import type { StreamName } from './stream.ts';

/**
 * The part of the Standard Schema interface (standardschema.dev, version 1) that Rowcast calls.
 * zod, valibot, arktype and others implement it.
 */
export interface RowValidator<In = unknown, Out = In> {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => RowVerdict<Out> | Promise<RowVerdict<Out>>;
    /** Only for the compiler: the row that it takes, and the row that it makes of it. */
    readonly types?: { readonly input: In; readonly output: Out } | undefined;
  };
}

export type RowVerdict<Out> =
  | { readonly value: Out; readonly issues?: undefined }
  | {
      readonly issues: ReadonlyArray<{
        readonly message: string;
        readonly path?: ReadonlyArray<PropertyKey | { readonly key: PropertyKey }> | undefined;
      }>;
    };

/** A row as it stands on a line: JSON without a line end. */
export type RowText = string;

/**
 * Encodes one row as JSON.
 * @throws UsageError INVALID_ROW when the value is not JSON (a function, a BigInt, a cycle) or is
 *   undefined
 */
export function encodeRow(stream: StreamName, row: unknown): RowText {
  let text: string | undefined;
  try {
    text = JSON.stringify(row);
  } catch (cause) {
    throw new UsageError('INVALID_ROW', `a row of stream ${stream} is not JSON: ${messageOf(cause)}`, { cause });
  }
  if (text === undefined)
    throw new UsageError('INVALID_ROW', `a row of stream ${stream} is ${typeof row}, which JSON cannot say`);
  return text;
}

/**
 * Encodes the rows of one batch.
 * @throws UsageError INVALID_ROW
 */
export function encodeRows(stream: StreamName, rows: readonly unknown[]): RowText[] {
  return rows.map((row) => encodeRow(stream, row));
}

/**
 * Runs the rows of one batch through a validator. Returns a promise only for an asynchronous one.
 * @returns the validator's values, which may differ from the rows (defaults, coercions)
 * @throws UsageError INVALID_ROW naming stream, row and path
 */
export function validateRows<Out>(
  stream: StreamName,
  validator: RowValidator<unknown, Out>,
  rows: readonly unknown[],
): Out[] | Promise<Out[]> {
  const verdicts = rows.map((row) => runValidator(stream, validator, row));
  if (verdicts.some((v) => v instanceof Promise)) {
    return Promise.all(verdicts.map(async (verdict) => verdict)).then((settled) =>
      settled.map((v, index) => accepted(stream, v, index)),
    );
  }
  return (verdicts as RowVerdict<Out>[]).map((v, index) => accepted(stream, v, index));
}

function runValidator<Out>(
  stream: StreamName,
  validator: RowValidator<unknown, Out>,
  row: unknown,
): RowVerdict<Out> | Promise<RowVerdict<Out>> {
  const refuse = (cause: unknown): never => {
    if (cause instanceof RowcastError) throw cause;
    throw new UsageError('INVALID_ROW', `the validator of stream ${stream} threw: ${messageOf(cause)}`, { cause });
  };
  try {
    const verdict = validator['~standard'].validate(row);
    return verdict instanceof Promise ? verdict.catch(refuse) : verdict;
  } catch (cause) {
    return refuse(cause);
  }
}

function accepted<Out>(stream: StreamName, verdict: RowVerdict<Out>, index: number): Out {
  if (verdict.issues === undefined) return verdict.value;
  const texts = verdict.issues.map(({ path = [], message }) => {
    const at = path.map((step) => String(typeof step === 'object' ? step.key : step)).join('.');
    return at === '' ? message : `${at}: ${message}`;
  });
  throw new UsageError(
    'INVALID_ROW',
    `row ${index} of the batch is not a row of stream ${stream}: ${texts.join('; ')}`,
  );
}
