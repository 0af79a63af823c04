/**
 * The admin port's HTTP interface over a primary: append, status, health. Knows no socket;
 * server.ts has it.
 */

import { Readable } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';
import { type Context, Hono } from 'hono';
import { type Clock, type Millis, systemClock } from '../base/clock.ts';
import { type ErrorCode, LogError, messageOf, quote, quoteValue, RowcastError } from '../core/model/errors.ts';
import { type Logger, silentLogger } from '../core/model/logger.ts';
import { abortSignal, clockKind, loggerKind, nested, required } from '../core/model/option-kinds.ts';
import { checkOptions, type OptionTable } from '../core/model/options.ts';
import { isPattern, patternFault } from '../core/model/pattern.ts';
import { streamNameFault } from '../core/model/stream.ts';
import { Counters } from '../observe/counters.ts';
import { reportStatus, reportTrouble } from '../observe/status-report.ts';
import { primaryKind } from '../primary/options.ts';
import type { Primary } from '../primary/primary.ts';
import { DEFAULT_STATUS_LIMIT } from '../primary/status-page.ts';
import {
  type Answer,
  type Appended,
  type ErrorAnswer,
  type Forgotten,
  type Health,
  json,
  noSuchPage,
  refusal,
} from './answers.ts';
import { appendRows, type AppendRowsResult } from './append-rows.ts';
import { Backups } from './backups.ts';
import { adminLimitTable, type AdminLimits, mergeAdminLimits } from './limits.ts';
import { answerWithProgress, PROGRESS_TYPE } from './progress-answer.ts';
import { rowsOnly, sameMachineOnly } from './same-machine.ts';
import { UploadBudget } from './upload-budget.ts';
import { IDEMPOTENCY_KEY_RULE, isIdempotencyKey, MAX_ROWS_PER_BATCH } from './upload-limits.ts';

/** Options of `createAdmin`. */
export interface AdminOptions {
  readonly primary: Primary;
  readonly clock?: Clock;
  readonly logger?: Logger;
  /** Limits other than the defaults. */
  readonly limits?: Partial<AdminLimits>;
  /** Aborted when the server stops. Uploads then end with 503 and report what is durable. */
  readonly signal?: AbortSignal;
}

export const adminTable: OptionTable<AdminOptions> = {
  primary: required(primaryKind),
  clock: clockKind,
  logger: loggerKind,
  limits: nested(adminLimitTable),
  signal: abortSignal(),
};

/** Batches become whole and are appended all the time, so there is room again soon. */
const RETRY_AFTER_MS: Millis = 1_000;

/** The most streams of one status: its answer is held in memory as a whole. */
const MAX_STATUS_LIMIT = 10_000;

/**
 * Answers requests to loopback names only, on any server. Counts the primary's events from here on.
 * @throws UsageError INVALID_OPTION
 */
export function createAdmin(options: AdminOptions): Hono {
  const {
    primary,
    clock = systemClock,
    logger = silentLogger,
    limits,
    signal,
  } = checkOptions('createAdmin', options, adminTable);
  const budget = new UploadBudget(mergeAdminLimits(limits), () => clock.now());
  // One listener for all uploads: Node warns of a signal with more than ten.
  signal?.addEventListener('abort', () => budget.endAll(), { once: true });
  const counters = new Counters();
  primary.on('connected', () => counters.handleConnected());
  primary.on('warning', ({ error }) => counters.handleWarning(error));

  /** The answer to an error that is a fault of ours. */
  const internal = (error: unknown, { method, path }: { readonly method: string; readonly path: string }): Answer => {
    const text = messageOf(error);
    logger.error({ method, path, ...(error instanceof Error && { err: error }) }, `the admin port failed: ${text}`);
    const message = `this is a fault of Rowcast itself: ${text}`;
    return { status: 500, body: { error: { code: 'INTERNAL', message } } satisfies ErrorAnswer };
  };
  const app = new Hono();
  app.use(sameMachineOnly);

  app.get('/healthz', () => {
    const { health: log, logTrouble, name } = primary;
    return json(200, { ok: true, log, logTrouble: reportTrouble(logTrouble), name } satisfies Health);
  });

  app.get('/status', (c) => {
    const { after, match } = c.req.query();
    const limit = parseCount(c.req.query('limit'), MAX_STATUS_LIMIT, DEFAULT_STATUS_LIMIT);
    if (limit === undefined) {
      const came = c.req.query('limit');
      return refusal(400, 'INVALID_OPTION', `limit is from 1 to ${MAX_STATUS_LIMIT} streams, not ${came}`);
    }
    if (match !== undefined) {
      const fault = isPattern(match) ? patternFault(match) : streamNameFault(match);
      if (fault !== undefined) return refusal(400, 'INVALID_STREAM_NAME', `match ${quote(match)}: ${fault}`);
    }
    const status = primary.status({
      limit,
      ...(after !== undefined && { after }),
      ...(match !== undefined && { match }),
    });
    return json(200, reportStatus(status, { counts: counters.counts, now: clock.now() }));
  });

  app.post('/streams/:name/rows', rowsOnly, async (c) => {
    const name = c.req.param('name');
    const fault = streamNameFault(name);
    if (fault !== undefined) return refusal(400, 'INVALID_STREAM_NAME', `${quote(name)}: ${fault}`);
    const stream = primary.stream(name);
    if (stream === undefined)
      return refusal(
        404,
        'NO_SUCH_STREAM',
        `there is no stream ${name}, and no pattern matches it: rowcast status and GET /status list what is declared`,
      );
    const rowsPerBatch = parseRowsPerBatch(c.req.query('batch'));
    if (rowsPerBatch === undefined) {
      return refusal(
        400,
        'INVALID_OPTION',
        `batch is the number of rows a batch, from 1 to ${MAX_ROWS_PER_BATCH}, not ${c.req.query('batch')}`,
      );
    }
    const idempotencyKey = c.req.header('idempotency-key');
    if (idempotencyKey !== undefined && !isIdempotencyKey(idempotencyKey)) {
      return refusal(
        400,
        'INVALID_OPTION',
        `Idempotency-Key has ${IDEMPOTENCY_KEY_RULE}, unlike ${quoteValue(idempotencyKey)}`,
      );
    }
    const firstLine = parseCount(c.req.query('firstLine'), Number.MAX_SAFE_INTEGER, 1);
    const firstBatch = parseCount(c.req.query('firstBatch'), Number.MAX_SAFE_INTEGER, 1);
    if (firstLine === undefined || firstBatch === undefined) {
      const text =
        'firstLine and firstBatch are the numbers of the first line and the first batch of this body, from 1';
      return refusal(400, 'INVALID_OPTION', text);
    }
    const body = bodyOf(c);
    const upload = { primary, stream, rowsPerBatch, firstLine, firstBatch, body, budget, idempotencyKey, signal };
    let durable = (): Appended => ({ position: null, rows: 0 });
    const onBegin = (tell: () => Appended): void => void (durable = tell);
    const answer = appendRows({ ...upload, onBegin }).then(
      (result) => answerOf(result, idempotencyKey !== undefined),
      (error: unknown) => internal(error, c.req),
    );
    const accepts = c.req.header('accept')?.toLowerCase().includes(PROGRESS_TYPE) === true;
    if (accepts) return answerWithProgress({ answer, durable: () => durable(), clock });
    const { status, body: text, headers } = await answer;
    return json(status, text, headers);
  });

  app.delete('/workers/:name', async (c) => {
    const worker = c.req.param('name');
    try {
      return json(200, { worker, streams: [...(await primary.forgetWorker(worker))] } satisfies Forgotten);
    } catch (error) {
      if (!(error instanceof RowcastError)) throw error;
      return refusal(statusOf(error), error.code, error.message);
    }
  });

  const backups = new Backups(primary, signal);
  app.get('/backup', () => backups.progress());
  app.post('/backup', async (c) => {
    try {
      return await backups.make(c.req.raw.signal);
    } catch (error) {
      if (signal?.aborted === true) return refusal(503, 'CLOSED', 'the primary stops: no backup was made');
      // Nobody is there to read it.
      if (c.req.raw.signal.aborted) return refusal(503, 'CLOSED', 'the client went away: no backup was made');
      if (!(error instanceof RowcastError)) throw error;
      return refusal(statusOf(error), error.code, error.message);
    }
  });

  app.notFound((c) => noSuchPage(c.req.method, c.req.path));
  app.onError((error, c) => {
    const { status, body } = internal(error, c.req);
    return json(status, body);
  });
  return app;
}

/** From Node's request where there is one (see body-reader.ts). */
function bodyOf(c: Context): Readable {
  const { incoming } = (c.env ?? {}) as { readonly incoming?: Readable };
  if (incoming !== undefined) return incoming;
  const { body } = c.req.raw;
  return body === null ? Readable.from([]) : Readable.fromWeb(body as ReadableStream<Uint8Array>);
}

function parseRowsPerBatch(text?: string): number | undefined {
  return parseCount(text, MAX_ROWS_PER_BATCH, 1);
}

function parseCount(text: string | undefined, most: number, byDefault: number): number | undefined {
  if (text === undefined) return byDefault;
  const count = /^\d{1,16}$/.test(text) ? Number(text) : 0;
  return count >= 1 && count <= most ? count : undefined;
}

function answerOf({ appended, error, line, batch }: AppendRowsResult, hasKey: boolean): Answer {
  if (error === undefined) return { status: 200, body: appended };
  const headers = error.code === 'UPLOADS_FULL' ? { 'retry-after': `${RETRY_AFTER_MS / 1_000}` } : undefined;
  return { status: statusOf(error), body: failed(appended, error, line, hasKey ? batch : undefined), headers };
}

/** The error answer says what was appended, so that the client can continue after it. */
function failed(
  appended: Appended,
  { code, message }: RowcastError,
  line: number | undefined,
  batch: number | undefined,
): ErrorAnswer & Appended {
  const retry = code === 'UPLOADS_FULL' ? { retryAfterMs: RETRY_AFTER_MS } : {};
  const place = { ...(line !== undefined && { line }), ...(batch !== undefined && { batch }) };
  return { error: { code, message, ...place, ...retry }, ...appended };
}

const statuses: Partial<Record<ErrorCode, number>> = {
  ID_REUSED: 409,
  TOKEN_FELL: 409,
  ROW_TOO_LARGE: 413,
  BATCH_TOO_LARGE: 413,
  LOG_FULL: 507,
  CLOSED: 503,
  UPLOADS_FULL: 503,
  NOT_SUPPORTED: 501,
};

function statusOf(error: RowcastError): number {
  return statuses[error.code] ?? (error instanceof LogError ? 503 : 400);
}
