/** The admin port's answers: always JSON, and every error has a code. */

import type { Millis } from '../base/clock.ts';
import { type ErrorCode, escapeLines, quote } from '../core/model/errors.ts';
import type { StreamName, WorkerName } from '../core/model/stream.ts';
import type { LogState, LogTroubleReport } from '../observe/status-report.ts';

/** The part of a request that became durable. */
export interface Appended {
  /** The position of the last batch as text (core/model/position.ts); null when there is none. */
  readonly position: string | null;
  readonly rows: number;
  /** With an Idempotency-Key: how many of the rows an earlier upload had appended. */
  readonly repeatedRows?: number;
}

/** A status, and what goes with it. */
export interface Answer {
  readonly status: number;
  readonly body: object;
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** The streams whose rows a worker held back until it was forgotten. */
export interface Forgotten {
  readonly worker: WorkerName;
  readonly streams: readonly StreamName[];
}

/**
 * `ok` says that the process answers. The state of the durable log is a separate field, so that a
 * full disk does not make a supervisor restart the process.
 */
export interface Health {
  readonly ok: true;
  readonly log: LogState;
  /** Null when the log's last commit was quick and succeeded. */
  readonly logTrouble: LogTroubleReport | null;
  readonly name: string;
}

export interface ErrorAnswer {
  readonly error: {
    readonly code: ErrorCode;
    readonly message: string;
    /** Counts from 1: the faulty line, or the first line that was not appended. */
    readonly line?: number;
    /** The request may be sent again after this long, as the header Retry-After says too. */
    readonly retryAfterMs?: Millis;
    /** In an upload with an Idempotency-Key: the batch that was refused, counted from 1. */
    readonly batch?: number;
  };
}

export function refusal(status: number, code: ErrorCode, message: string): Response {
  return json(status, { error: { code, message } } satisfies ErrorAnswer);
}

/** Names of streams and workers are text from elsewhere, and curl shows them at a terminal. */
export function textOf(body: object): string {
  return `${escapeLines(JSON.stringify(body))}\n`;
}

export function json(status: number, body: object, more?: Readonly<Record<string, string>>): Response {
  const headers = { ...answerHeaders('application/json'), ...more };
  return new Response(textOf(body), { status, headers });
}

/** nosniff and a content type that is no page: no browser runs the text of a row or a name. */
export function answerHeaders(type: string): Record<string, string> {
  return {
    'content-type': `${type}; charset=utf-8`,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  };
}

export function noSuchPage(method: string, path: string): Response {
  return refusal(
    404,
    'NO_SUCH_PAGE',
    `there is no ${quote(method)} ${quote(path)}; there are POST /streams/NAME/rows, DELETE /workers/NAME, POST /backup, GET /status and GET /healthz`,
  );
}
