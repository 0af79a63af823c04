/**
 * A row: one fact of a stream. The protocol treats it as opaque JSON; a validator may know more.
 */

import { messageOf, quote, RowcastError, UsageError } from './errors.ts';
import { nameOfType } from './options.ts';
import type { StreamName } from './stream.ts';

/**
 * The part of the Standard Schema interface (standardschema.dev, version 1) that Rowcast calls.
 * zod, valibot, arktype and others implement it.
 */
export interface RowValidator<In = unknown, Out = In> {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    /** Judges one row, at once or later. */
    readonly validate: (value: unknown) => RowVerdict<Out> | Promise<RowVerdict<Out>>;
    /** Only for the compiler: the row that it takes, and the row that it makes of it. */
    readonly types?: { readonly input: In; readonly output: Out } | undefined;
  };
}

/** What a validator says of a row: its value, or what is wrong with it. */
export type RowVerdict<Out> =
  | { readonly value: Out; readonly issues?: undefined }
  | {
      readonly issues: ReadonlyArray<{
        readonly message: string;
        readonly path?: ReadonlyArray<PropertyKey | { readonly key: PropertyKey }> | undefined;
      }>;
    };

/** A row as it stands on a line: JSON without a tab or a line end. */
export type RowText = string;

/**
 * The most arrays and objects within each other in a row that comes as text. Readers that recurse
 * take about a thousand (Python's json), less what their own frames take.
 */
export const MAX_ROW_DEPTH = 500;

/**
 * Longer rows than this, in characters, are refused by readers where they are deeper than
 * MAX_ROW_DEPTH: they would stop the process for too long.
 */
export const LONG_ROW = 65_536;

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
  if (text.length > LONG_ROW && isDeep(text)) {
    const fault = `has more than ${MAX_ROW_DEPTH} arrays and objects within each other`;
    throw new UsageError('INVALID_ROW', `a row of stream ${stream} of ${text.length} characters ${fault}`);
  }
  return text;
}

/**
 * Encodes the rows of one batch.
 * @throws UsageError INVALID_ROW
 */
export function encodeRows(stream: StreamName, rows: readonly unknown[]): RowText[] {
  checkList(stream, rows);
  return rows.map((row) => encodeRow(stream, row));
}

function checkList(stream: StreamName, rows: unknown): void {
  if (Array.isArray(rows)) return;
  const text = `a batch for stream ${stream} is a list of rows, not ${nameOfType(rows)}`;
  throw new UsageError('INVALID_ROW', text, { facts: { stream } });
}

/**
 * Says why text from outside is no row; undefined when it is one. The text of a row stays as it
 * came, so that numbers, the order of keys and escapes survive. This is its only check.
 */
export function rowTextFault(text: string): string | undefined {
  if (typeof text !== 'string') return `is ${typeof text}, not JSON text`;
  // A line is UTF-8, which has no half characters. An escape (`\ud800`) may name one.
  if (!text.isWellFormed()) return 'has half a character (a lone surrogate)';
  // Looked for first: very deep JSON takes far longer to read than other JSON of its length.
  if (isDeep(text)) return `has more than ${MAX_ROW_DEPTH} arrays and objects within each other`;
  try {
    JSON.parse(text);
  } catch (cause) {
    return `is not JSON: ${quote(messageOf(cause))}`;
  }
  return undefined;
}

/**
 * The row text of a text without a fault. White space around the value is cut off. Tabs and line
 * ends become spaces: they stand only between JSON tokens, since a string has them as escapes.
 */
export function keepText(text: string): RowText {
  const trimmed = text.trim();
  return BREAKS.test(trimmed) ? trimmed.replaceAll(/[\t\n\r]/g, ' ') : trimmed;
}

const BREAKS = /[\t\n\r]/;

/**
 * Makes rows of the JSON texts of one batch that come from outside. Each is checked once and keeps
 * its text (docs/guides/http.md, "The text of a row is kept").
 * @throws UsageError INVALID_ROW
 */
export function keepTexts(stream: StreamName, texts: readonly string[]): RowText[] {
  checkList(stream, texts);
  return texts.map((text, index) => {
    const fault = rowTextFault(text);
    if (fault === undefined) return keepText(text);
    throw new UsageError('INVALID_ROW', `row ${index} of the batch for stream ${stream} ${fault}`, {
      facts: { stream, row: index },
    });
  });
}

/** The values of row texts. */
export function parseTexts(texts: readonly RowText[]): unknown[] {
  return texts.map((text): unknown => JSON.parse(text));
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/**
 * Whether a text has more than MAX_ROW_DEPTH arrays and objects within each other. Of a text that is
 * no JSON it may say either.
 */
export function isDeep(text: string): boolean {
  // Each level takes two characters, so a short text is never deep.
  if (text.length <= 2 * MAX_ROW_DEPTH) return false;
  let depth = 0;
  let isInString = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === QUOTE) isInString = !isInString;
    else if (isInString) i += code === BACKSLASH ? 1 : 0;
    else if (code === OPEN_BRACKET || code === OPEN_BRACE) {
      depth++;
      if (depth > MAX_ROW_DEPTH) return true;
    } else if (code === CLOSE_BRACKET || code === CLOSE_BRACE) depth--;
  }
  return false;
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
  const verdicts: (RowVerdict<Out> | Promise<RowVerdict<Out>>)[] = [];
  try {
    for (const row of rows) verdicts.push(runValidator(stream, validator, row));
  } catch (error) {
    // One refusal is told. Those that come later are nobody's.
    for (const verdict of verdicts) if (verdict instanceof Promise) verdict.catch(() => {});
    throw error;
  }
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

/** The most that are told of what a validator has against a row. */
const MOST_ISSUES = 5;

function accepted<Out>(stream: StreamName, verdict: RowVerdict<Out>, index: number): Out {
  if (verdict.issues === undefined) return verdict.value;
  const texts = verdict.issues.slice(0, MOST_ISSUES).map(({ path = [], message }) => {
    const at = path.map((step) => String(typeof step === 'object' ? step.key : step)).join('.');
    return quote(at === '' ? message : `${at}: ${message}`);
  });
  const more = verdict.issues.length - texts.length;
  if (more > 0) texts.push(`and ${more} more`);
  throw new UsageError(
    'INVALID_ROW',
    `row ${index} of the batch is not a row of stream ${stream}: ${texts.join('; ')}`,
  );
}
