/** A stream: a named, append-only, ordered sequence of rows. */

import { LONGEST_UTF8_BYTES_PER_UNIT, utf8Length } from '../../base/bytes.ts';
import { quote, quoteValue, UsageError } from './errors.ts';
import { boolean, hidden, integerFrom, kind, listOf, nested } from './option-kinds.ts';
import { checkOptions, type Kind, nameOfType, optionError, type OptionTable } from './options.ts';
import type { RowValidator } from './row.ts';

/**
 * 1 to 255 bytes of UTF-8 without spaces or control characters; not `ALL`, which means every
 * stream.
 */
export type StreamName = string;

/**
 * The stream of streams of a primary's durable log, and of its volatile one. It has a row for each
 * stream that was made.
 */
export const DURABLE_CATALOG: StreamName = '$streams';
export const VOLATILE_CATALOG: StreamName = '$streams.volatile';

/** The stream of streams of a further source of a primary. */
export function catalogOf(logId: string): StreamName {
  return `${DURABLE_CATALOG}.${logId}`;
}

/**
 * What is kept of a stream; by default everything of a durable one. Only whole chunks are dropped, so somewhat more
 * may be kept.
 */
export interface Retention {
  /** Keep at least the newest `rows` rows. With `untilSavedBy`: no more than about these. */
  readonly rows?: number;
  /** Keep at least the rows younger than this. With `untilSavedBy`: no rows that are older. */
  readonly ageMs?: number;
  /**
   * Keep no more than about these bytes of rows, whatever the others say; the newest commit stays.
   * Only of a stream that is not durable.
   */
  readonly maxBytes?: number;
  /**
   * Keep rows until every worker of these names has saved them, and drop them then. A name holds
   * rows from the start, even when that worker never came. A name with `*`, a pattern as in
   * defineStreams, holds for each worker of such a name that has followed the stream, until it is
   * forgotten (Primary.forgetWorker). Until the first of them comes, it holds everything. Needs
   * workers with checkpoints: what a worker has not saved is never dropped for it.
   * @example
   * defineStream('orders', { retain: { untilSavedBy: ['billing', 'reader-*'], rows: 10_000_000 } });
   */
  readonly untilSavedBy?: readonly WorkerName[];
}

/**
 * What is kept of a stream that is not durable, unless its definition says something else. Such
 * rows are worth nothing after a restart, so a worker that was away for longer begins anew. It is
 * memory: very many streams with few rows each cost what they have.
 */
const VOLATILE_RETENTION: Retention = Object.freeze({ rows: 10_000, maxBytes: 16 * 1024 * 1024 });

/** The name of a worker, as it says it by NAME. One line. */
export type WorkerName = string;

/**
 * In characters. A longer name that a peer gives itself is cut on receipt: names are shown, and
 * stored with the log.
 */
export const LONGEST_WORKER_NAME = 255;

/** Options of `defineStream` and `defineStreams`. */
export interface StreamOptions<In = unknown, Out = In> {
  /**
   * Any Standard Schema validator. The primary checks rows on append, and appends them as they were
   * given. A worker gives its subscribers what the validator makes of them.
   */
  readonly row?: RowValidator<In, Out>;
  /**
   * False keeps the stream in memory only, for rows that are worth nothing after a restart. Default
   * true.
   */
  readonly durable?: boolean;
  /** Default: everything; of a stream that is not durable its newest 10,000 rows, and 16 MiB of them. */
  readonly retain?: Retention;
}

/**
 * `append` takes rows of type `In`, and subscribers get rows of type `Out`. The two differ where a
 * validator transforms rows.
 */
export interface Stream<In = unknown, Out = In, Name extends StreamName = StreamName> {
  /** A literal type where the compiler knows the name, so that it finds a second definition. */
  readonly name: Name;
  readonly durable: boolean;
  readonly retain: Retention;
  readonly row?: RowValidator<In, Out>;
}

/**
 * Declares a stream for a primary or a worker. The types of its rows are those of its validator, or
 * are given as type arguments.
 * @throws UsageError INVALID_STREAM_NAME, INVALID_OPTION
 * @example
 * const orders = defineStream('orders', { row: z.object({ id: z.number(), at: z.coerce.date() }) });
 * const stock = defineStream<{ item: string; left: number }>('stock', { retain: { rows: 100_000 } });
 */
export function defineStream<In = unknown, Out = In, const Name extends StreamName = StreamName>(
  name: Name,
  options?: StreamOptions<In, Out>,
): Stream<In, Out, Name> {
  checkDeclaredName(name);
  return { name, ...streamOptions('defineStream', options) };
}

const retentionTable: OptionTable<Retention> = {
  rows: integerFrom(1),
  ageMs: integerFrom(1),
  maxBytes: integerFrom(1),
  untilSavedBy: listOf('a list of at least one name of a worker'),
};

const rowValidator: Kind<RowValidator> = hidden('a validator by Standard Schema, such as one of zod', (value) => {
  const { '~standard': standard } = (value ?? {}) as Partial<RowValidator>;
  return typeof standard?.validate === 'function';
});

export const streamTable: OptionTable<StreamOptions> = {
  row: rowValidator,
  durable: boolean,
  retain: nested(retentionTable),
};

/**
 * Checks the options of a stream, or of a pattern of streams, and fills in the defaults.
 * @param of whose options they are: `defineStream`
 */
export function streamOptions<In, Out>(
  of: string,
  given: StreamOptions<In, Out> | undefined,
): Omit<Stream<In, Out>, 'name'> {
  const { row, durable = true, ...options } = checkOptions(of, given as StreamOptions | undefined, streamTable);
  const { retain = durable ? {} : VOLATILE_RETENTION } = options;
  if (durable && retain.maxBytes !== undefined)
    throw optionError(of, 'retain.maxBytes', 'is for streams with durable: false: give rows or ageMs');
  if (retain.untilSavedBy !== undefined) checkHolders(of, retain.untilSavedBy);
  return { durable, retain, ...(row && { row: row as unknown as RowValidator<In, Out> }) };
}

function checkHolders(of: string, names: readonly unknown[]): void {
  const refuse = (why: string): never => {
    throw optionError(of, 'retain.untilSavedBy', why);
  };
  if (names.length === 0) refuse('is a list of at least one name of a worker');
  for (const name of names) {
    const why = holderNameFault(name);
    if (why !== undefined) refuse(`has ${quoteValue(name)}: ${why}`);
  }
  if (new Set(names).size < names.length) refuse('has a name twice');
}

function holderNameFault(name: unknown): string | undefined {
  if (typeof name !== 'string' || name === '') return 'it is no name';
  if (name.length > LONGEST_WORKER_NAME) return `it is over ${LONGEST_WORKER_NAME} characters`;
  if (/[\r\n]/.test(name) || !name.isWellFormed()) return 'it does not fit on a line';
  if (name.includes('**')) return 'a * stands beside another *';
  if (name.includes('*') && name.startsWith('$')) return 'no pattern matches names with $ in front';
  return undefined;
}

/**
 * Names that begin with `$` belong to a log's own streams. `*` is reserved for patterns of names.
 */
function checkDeclaredName(name: string): void {
  if (typeof name !== 'string')
    throw new UsageError('INVALID_STREAM_NAME', `the name of a stream is text, not ${quoteValue(name)}`);
  if (name.startsWith('$'))
    throw new UsageError(
      'INVALID_STREAM_NAME',
      `stream ${quote(name)} cannot be declared: names with $ in front are a log's own`,
    );
  if (name.includes('*'))
    throw new UsageError('INVALID_STREAM_NAME', `stream ${quote(name)} cannot be declared: a name has no *`);
  streamName(name);
}

/** A stream as an option. `nameOf` says which. */
export const streamKind: Kind<Stream | StreamName> = kind('a stream or its name', isStreamOrName);

/** Streams as an option, such as those of a middleware. */
export const streamsKind: Kind<readonly (Stream | StreamName)[]> = hidden(
  'a list of at least one stream or name of one',
  (value) => Array.isArray(value) && value.length > 0 && value.every(isStreamOrName),
);

function isStreamOrName(value: unknown): boolean {
  return typeof value === 'string' || typeof (value as Partial<Stream> | null)?.name === 'string';
}

/**
 * The name of a stream that is given by its definition or by its name.
 * @throws UsageError INVALID_STREAM_NAME for what is neither, as only a caller without TypeScript
 *   can give
 */
export function nameOf(stream: { readonly name: StreamName } | StreamName): StreamName {
  const name = typeof stream === 'string' ? stream : stream?.name;
  if (typeof name === 'string') return name;
  const isPattern = typeof stream === 'object' && stream !== null && 'pattern' in stream;
  const came = isPattern ? "a pattern: use the pattern's stream(name), or subscribeMatching" : nameOfType(stream);
  throw new UsageError('INVALID_STREAM_NAME', `a stream is given by its name or its definition, not by ${came}`);
}

/**
 * Checks a stream name from outside.
 * @throws UsageError INVALID_STREAM_NAME
 */
export function streamName(name: string): StreamName {
  const why = streamNameFault(name);
  if (why !== undefined) throw new UsageError('INVALID_STREAM_NAME', why);
  return name;
}

// oxlint-disable-next-line no-control-regex -- control characters are what this is about
const FORBIDDEN = /[\s\u0000-\u0020\u007f-\u009f]/u;
const LONGEST_NAME_BYTES = 255;

/** Says why this is no stream name; undefined when it is one (docs/protocol.md, "Commands"). */
export function streamNameFault(name: string): string | undefined {
  if (name === 'ALL') return 'ALL is reserved: it means every stream';
  if (name.length === 0) return 'a stream name is empty';
  if (FORBIDDEN.test(name)) return 'a stream name has a space or control character';
  if (!name.isWellFormed()) return 'a stream name has half a character (a lone surrogate)';
  if (isLong(name)) return `a stream name is over ${LONGEST_NAME_BYTES} bytes`;
  return undefined;
}

/** Bytes are counted only for a name that is long enough to be over the limit. */
function isLong(name: string): boolean {
  return name.length * LONGEST_UTF8_BYTES_PER_UNIT > LONGEST_NAME_BYTES && utf8Length(name) > LONGEST_NAME_BYTES;
}
