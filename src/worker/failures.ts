/** What onError gets, and the errors of batches that failed. */

import { type Facts, HandlerError, messageOf, PeerError, quoteValue, type RowcastError } from '../core/model/errors.ts';
import type { Item } from '../core/follow/delivery.ts';
import type { FailureDecision, FailureRule, RetryOptions, RetryRule } from '../core/follow/failure-policy.ts';
import { kind, msFromZero, nested, oneOf, required } from '../core/model/option-kinds.ts';
import { checkOptions, type Kind, type OptionTable } from '../core/model/options.ts';
import type { Position } from '../core/model/position.ts';
import type { RowText } from '../core/model/row.ts';
import { UnreadableRow } from '../core/model/unreadable-row.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';

/** A batch that failed: its handler threw, its validator refused a row, or a row cannot be read. */
export interface Failure {
  readonly stream: StreamName;
  readonly token: Token;
  /** The position that skips the batch. */
  readonly position: Position;
  /**
   * The text of each row, for a dead-letter stream. It is as it came, also where it is no JSON.
   * Empty for a row over `maxLineBytes`; a batch over `maxBatchBytes` has one such row.
   */
  readonly rows: readonly RowText[];
  /** What the subscription ends with if it stops: HANDLER_FAILED, INVALID_ROW, LINE_TOO_LONG, … */
  readonly error: RowcastError;
  /** What the handler or the validator threw. Undefined for a row that cannot be read. */
  readonly cause: unknown;
  /** How often the batch has failed, 1 at first. */
  readonly attempt: number;
}

/**
 * What to do with a batch that fails: stop the subscription, go on without the batch, or try it
 * again and then do either. A function decides for itself, each time. Before each further attempt
 * that it asks for, the worker waits: 100 ms at first, then twice as long each time, up to a minute.
 */
export type OnError =
  | 'stop'
  | 'skip'
  | RetryRule
  | ((failure: Failure) => FailureDecision | PromiseLike<FailureDecision>);

export type BatchItem = Extract<Item, { kind: 'batch' }>;

/** Rows that take more are not kept with an error, which may be kept for long. */
const MAX_ERROR_COST = 64 * 1024;

export function ruleOf(onError: OnError): FailureRule {
  return typeof onError === 'function' ? 'ask' : onError;
}

const retryTable: OptionTable<RetryRule> = {
  retry: required(
    nested<RetryOptions>({
      times: required(
        kind(
          'a number of times, or Infinity',
          (value) => value === Infinity || (Number.isSafeInteger(value) && (value as number) >= 0),
        ),
      ),
      backoffMs: msFromZero,
    }),
  ),
  // oxlint-disable-next-line unicorn/no-thenable -- an option's name, and no function
  then: oneOf('stop', 'skip'),
};

export const onErrorKind: Kind<OnError> = kind(
  "'stop', 'skip', { retry, then } or a function",
  (value) =>
    value === 'stop' ||
    value === 'skip' ||
    typeof value === 'function' ||
    (typeof value === 'object' && value !== null),
);

/** @throws UsageError INVALID_OPTION */
export function checkOnError(of: string, onError: OnError | undefined): void {
  if (typeof onError === 'object') checkOptions(`onError of ${of}`, onError, retryTable);
}

/** The text of each row of a batch. */
function textsOf({ batch, texts }: BatchItem): readonly RowText[] {
  return texts ?? batch.rows.map((row) => (row instanceof UnreadableRow ? row.text : JSON.stringify(row)));
}

export function failureOf(item: BatchItem, error: RowcastError, attempt: number): Failure {
  const { stream, token, position } = item.batch;
  return { stream, token, position, rows: textsOf(item), error, cause: error.cause, attempt };
}

/** The handler threw. */
export function handlerError(item: BatchItem, thrown: unknown, attempt: number): HandlerError {
  const { stream, token } = item.batch;
  const text = `the handler of stream ${stream} failed at token ${token}: ${messageOf(thrown)}`;
  return new HandlerError('HANDLER_FAILED', text, { cause: thrown, facts: factsOf(item, attempt) });
}

/** The validator refused a row. The row came from the primary, so the fault is the peer's. */
export function refusedError(item: BatchItem, thrown: unknown, attempt: number): PeerError {
  const text = `token ${item.batch.token}: ${messageOf(thrown)}`;
  return new PeerError('INVALID_ROW', text, { cause: thrown, facts: factsOf(item, attempt) });
}

/** A row, or the whole batch, cannot be read. */
export function unreadableError(item: BatchItem, attempt: number): PeerError {
  const { stream, token, rows } = item.batch;
  const index = rows.findIndex((row) => row instanceof UnreadableRow);
  const { code, text, facts } = (rows[index] as UnreadableRow).fault;
  const advice = code === 'LINE_TOO_LONG' || code === 'BATCH_TOO_LARGE' ? ': raise it to that of the primary' : '';
  const what = code === 'BATCH_TOO_LARGE' ? 'the batch' : `row ${index} of the batch`;
  return new PeerError(code, `stream ${stream}, token ${token}, ${what}: ${text}${advice}`, {
    facts: factsOf(item, attempt, facts),
  });
}

/** onError threw, or gave no decision. The subscription stops with this. */
export function onErrorError(item: BatchItem, about: RowcastError, fault: OnErrorFault, attempt: number): HandlerError {
  const { stream, token } = item.batch;
  const what =
    'thrown' in fault
      ? `threw: ${messageOf(fault.thrown)}`
      : `gave ${quoteValue(fault.answer)}, not 'stop', 'skip' or 'retry'`;
  const text = `onError of stream ${stream} ${what} (it was asked about token ${token}: ${about.message})`;
  const cause = 'thrown' in fault ? fault.thrown : about;
  return new HandlerError('HANDLER_FAILED', text, { cause, facts: factsOf(item, attempt) });
}

export type OnErrorFault = { readonly thrown: unknown } | { readonly answer: unknown };

/** `rows` is there for who asks for it. It is not printed with the error, because rows may be private. */
function factsOf(item: BatchItem, attempt: number, more: Facts = {}): Facts {
  const { stream, token, position } = item.batch;
  const facts = { stream, token, position, attempt, ...more };
  if (item.cost > MAX_ERROR_COST) return facts;
  return Object.defineProperty(facts, 'rows', { value: textsOf(item) });
}
