/** The admin port's answers: always JSON, and an error always has a code. */

import type { ErrorCode } from '../core/model/errors.ts';
import { quote } from '../core/model/errors.ts';
import type { LogState } from '../observe/status-report.ts';

/** What HTTP alone can get wrong; everything else has the code of the error that caused it. */
export type RefusalCode = 'FOREIGN_HOST' | 'FOREIGN_ORIGIN' | 'WRONG_CONTENT_TYPE' | 'NO_SUCH_PAGE' | 'INTERNAL';

/** What became durable. */
export interface Appended {
  /** Of the last batch, as text (core/model/position.ts); null when there is none. */
  readonly position: string | null;
  readonly rows: number;
}

/**
 * The process answers; whether its durable log takes appends stands beside that, so that a full
 * disk restarts nobody.
 */
export interface Health {
  readonly ok: true;
  readonly log: LogState;
  readonly name: string;
}

export interface ErrorAnswer {
  readonly error: {
    readonly code: ErrorCode | RefusalCode;
    readonly message: string;
    /** Counts from 1: the line that is at fault, or where the batch that is at fault begins. */
    readonly line?: number;
  };
}

export function refusal(status: number, code: ErrorCode | RefusalCode, message: string): Response {
  return json(status, { error: { code, message } } satisfies ErrorAnswer);
}

export function json(status: number, body: unknown): Response {
  // nosniff, and no content type that is a page: whatever a row or a name says, no browser runs it.
  const headers = {
    'content-type': 'application/json; charset=utf-8',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  };
  return new Response(`${JSON.stringify(body)}\n`, { status, headers });
}

export function noSuchPage(method: string, path: string): Response {
  return refusal(
    404,
    'NO_SUCH_PAGE',
    `there is no ${quote(method)} ${quote(path)}; there are POST /streams/NAME/rows, GET /status and GET /healthz`,
  );
}
