/** Asks the admin port of a running primary. Knows HTTP, but no command. */

import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http';
import type { Readable } from 'node:stream';
import type { Millis } from '../base/clock.ts';
import type { Appended, ErrorAnswer } from '../admin/answers.ts';
import { ConnectionError, errorCodes, messageOf, RowcastError } from '../core/model/errors.ts';
import type { HostAndPort } from './addresses.ts';

const BACKUP_TYPE = 'application/vnd.sqlite3';
/** The content type of an answer that is told as it comes (docs/guides/http.md). */
const PROGRESS_TYPE = 'application/x-ndjson';

export interface AdminRequest {
  readonly admin: HostAndPort;
  readonly path: string;
  readonly signal: AbortSignal;
  /** Rows to send: makes the request a POST. */
  readonly rows?: Readable;
  /** What it is without rows. Default GET. */
  readonly method?: 'GET' | 'DELETE';
  /** Makes it safe to send the same rows again. */
  readonly idempotencyKey?: string | undefined;
  /** Told a few times a second what the primary has appended so far. */
  readonly onProgress?: (durable: Appended) => void;
  /** How long the answer may take once the request is sent. Default ANSWER_TIMEOUT_MS. */
  readonly timeoutMs?: Millis;
}

/** A JSON answer with any status. */
export interface AdminAnswer {
  readonly status: number;
  readonly body: unknown;
}

/**
 * Sends a request and resolves to the answer. It may come before all rows were sent; the rest is
 * left unread.
 * @throws ConnectionError; errors of `rows`
 */
export async function askAdmin(options: AdminRequest): Promise<AdminAnswer> {
  const { admin, path, signal, rows, idempotencyKey, onProgress, method = 'GET' } = options;
  // Not `Connection: close`: a server that may close at once makes the system discard its answer
  // while we still send.
  const agent = new Agent({ keepAlive: true });
  const headers = {
    ...(rows !== undefined && { 'content-type': 'application/x-ndjson' }),
    ...(idempotencyKey !== undefined && { 'idempotency-key': idempotencyKey }),
    ...(onProgress !== undefined && { accept: PROGRESS_TYPE }),
  };
  const asked = request({ ...admin, path, method: rows === undefined ? method : 'POST', headers, agent, signal });
  const deadline = new Deadline(asked, options.timeoutMs ?? ANSWER_TIMEOUT_MS);
  try {
    return await exchange(asked, options, deadline);
  } finally {
    deadline.cancel();
    rows?.unpipe(asked).pause();
    asked.destroy();
    agent.destroy();
  }
}

/**
 * Sends a POST, and gives the body of an answer with status 200 to `take`. Resolves to any other
 * answer.
 * @throws ConnectionError; errors of `take`
 */
export async function download(
  { admin, path, signal }: AdminRequest,
  take: (body: Readable, bytes: number) => Promise<void>,
): Promise<AdminAnswer | undefined> {
  const asked = request({ ...admin, path, method: 'POST', signal });
  try {
    asked.end();
    const response = await responseOf(asked, admin);
    // The copy takes its time before this. After it, bytes come.
    response.setTimeout(ANSWER_TIMEOUT_MS, () => asked.destroy(new Error('no more bytes come')));
    if (response.statusCode !== 200) return await readAnswer(response, admin);
    const bytes = Number(response.headers['content-length']);
    if (response.headers['content-type'] !== BACKUP_TYPE || !Number.isSafeInteger(bytes)) throw notOurs(admin);
    response.on('error', () => {});
    await take(response, bytes);
    return undefined;
  } finally {
    asked.destroy();
  }
}

function responseOf(asked: ClientRequest, admin: HostAndPort): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    handleErrors(asked, admin, reject);
    asked.once('response', resolve);
  });
}

/** Says of each error of a request whether there was a connection. */
function handleErrors(asked: ClientRequest, admin: HostAndPort, handle: (error: ConnectionError) => void): void {
  let isConnected = false;
  asked.once('socket', (socket) =>
    socket.once('connect', () => {
      isConnected = true;
    }),
  );
  asked.on('error', (error) => handle(isConnected ? lost(error, admin) : unreachable(error, admin)));
}

function exchange(
  asked: ClientRequest,
  { rows, admin, onProgress }: AdminRequest,
  deadline: Deadline,
): Promise<AdminAnswer> {
  return new Promise((resolve, reject) => {
    handleErrors(asked, admin, reject);
    asked.on('response', (response) => {
      if (onProgress !== undefined && response.headers['content-type']?.startsWith(PROGRESS_TYPE) === true) {
        // Rows go on while it is read.
        readProgress(response, admin, onProgress).then(resolve, reject);
        return;
      }
      deadline.begin();
      rows?.unpipe(asked).pause();
      readAnswer(response, admin).then(resolve, reject);
    });
    if (rows === undefined) {
      deadline.begin();
      asked.end();
      return;
    }
    asked.on('finish', () => deadline.begin());
    // Sent at once: a refusal can arrive before the first row is typed.
    asked.flushHeaders();
    rows.on('error', reject);
    rows.pipe(asked);
  });
}

/** The most characters of an answer, or of a line of progress: it is held in memory. */
const MAX_ANSWER_LENGTH = 16 * 1024 * 1024;
/**
 * How long an answer may take once the request is sent. A primary whose disk takes long to sync
 * answers late.
 */
const ANSWER_TIMEOUT_MS: Millis = 120_000;

/** Ends a request whose answer does not come, or does not end. */
class Deadline {
  readonly #asked: ClientRequest;
  readonly #timeoutMs: Millis;
  #timer: NodeJS.Timeout | undefined;

  constructor(asked: ClientRequest, timeoutMs: Millis) {
    this.#asked = asked;
    this.#timeoutMs = timeoutMs;
  }

  /** All is sent: the answer is due. */
  begin(): void {
    const late = (): void => void this.#asked.destroy(new Error(`no whole answer within ${this.#timeoutMs / 1_000} s`));
    this.#timer ??= setTimeout(late, this.#timeoutMs);
  }

  cancel(): void {
    clearTimeout(this.#timer);
  }
}

async function readAnswer(response: IncomingMessage, admin: HostAndPort): Promise<AdminAnswer> {
  let text = '';
  for await (const part of partsOf(response, admin)) {
    text += part;
    if (text.length > MAX_ANSWER_LENGTH) throw notOurs(admin);
  }
  return { status: response.statusCode ?? 0, body: parse(text, admin) };
}

/** Lines of what is durable, and a last line with a status: the answer. */
async function readProgress(
  response: IncomingMessage,
  admin: HostAndPort,
  onProgress: (durable: Appended) => void,
): Promise<AdminAnswer> {
  let rest = '';
  for await (const part of partsOf(response, admin)) {
    const lines = `${rest}${part}`.split('\n');
    rest = lines.pop()!;
    if (rest.length > MAX_ANSWER_LENGTH) throw notOurs(admin);
    for (const line of lines) {
      const told = parse(line, admin) as (Appended & { readonly status?: number }) | null;
      if (typeof told?.rows !== 'number') throw notOurs(admin);
      if (told.status !== undefined) return { status: told.status, body: told };
      onProgress(told);
    }
  }
  throw lost(new Error('the answer has no end'), admin);
}

/** @throws ConnectionError */
async function* partsOf(response: IncomingMessage, admin: HostAndPort): AsyncGenerator<string, void, void> {
  try {
    yield* response.setEncoding('utf8') as AsyncIterable<string>;
  } catch (error) {
    throw lost(error, admin);
  }
}

function parse(text: string, admin: HostAndPort): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw notOurs(admin, cause);
  }
}

/** The error in an answer; undefined when the request succeeded. */
export function errorOf({ status, body }: AdminAnswer, admin: HostAndPort): ErrorAnswer['error'] | undefined {
  if (status === 200) return undefined;
  const { error } = (body ?? {}) as Partial<ErrorAnswer>;
  if (typeof error?.message !== 'string' || !Object.hasOwn(errorCodes, error.code)) throw notOurs(admin);
  return error;
}

/**
 * The body of an answer that succeeded.
 * @throws RowcastError of the answer
 */
export function bodyOf(answer: AdminAnswer, admin: HostAndPort): unknown {
  const error = errorOf(answer, admin);
  if (error !== undefined) throw new RowcastError(error.code, error.message);
  return answer.body;
}

function unreachable(cause: Error, admin: HostAndPort): ConnectionError {
  const text = `cannot reach the admin port at ${formatAdmin(admin)} (${codeOf(cause)}): start a primary with \`rowcast serve\`, or say with --admin where one is`;
  return new ConnectionError('CONNECTION_LOST', text, { cause });
}

/** The connection was there. Whether what was sent had its effect is not known. */
function lost(cause: unknown, admin: HostAndPort): ConnectionError {
  const code = codeOf(cause);
  if (code.startsWith('HPE_')) return notOurs(admin, cause);
  const text =
    code === 'ABORT_ERR'
      ? 'interrupted'
      : `the connection to the admin port at ${formatAdmin(admin)} was lost (${code}), perhaps because the primary ended`;
  return new ConnectionError('CONNECTION_LOST', text, { cause, facts: { isAnswerLost: true } });
}

function codeOf(cause: unknown): string {
  return cause instanceof Error && 'code' in cause ? String(cause.code) : messageOf(cause);
}

/** The other side answers as no admin port does. */
export function notOurs(admin: HostAndPort, cause?: unknown): ConnectionError {
  const text = `what answers at ${formatAdmin(admin)} is not the admin port of a Rowcast primary: see --admin of \`rowcast serve\``;
  return new ConnectionError('CONNECTION_LOST', text, { cause });
}

function formatAdmin({ host, port }: HostAndPort): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}
