/** Asks the admin port of a running primary. Knows HTTP, but no command. */

import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http';
import type { Readable } from 'node:stream';
import type { ErrorAnswer } from '../admin/answers.ts';
import { ConnectionError, messageOf } from '../core/model/errors.ts';
import type { HostAndPort } from './addresses.ts';

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
export async function askAdmin({
  admin,
  path,
  signal,
  rows,
  idempotencyKey,
  method = 'GET',
}: AdminRequest): Promise<AdminAnswer> {
  // Not `Connection: close`: a server that may close at once makes the system discard its answer
  // while we still send.
  const agent = new Agent({ keepAlive: true });
  const headers = {
    ...(rows !== undefined && { 'content-type': 'application/x-ndjson' }),
    ...(idempotencyKey !== undefined && { 'idempotency-key': idempotencyKey }),
  };
  const asked = request({ ...admin, path, method: rows === undefined ? method : 'POST', headers, agent, signal });
  try {
    return await exchange(asked, rows, admin);
  } finally {
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
    if (response.statusCode !== 200) return await readAnswer(response, admin);
    const bytes = Number(response.headers['content-length']);
    if (!Number.isSafeInteger(bytes)) throw notOurs(admin);
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

function exchange(asked: ClientRequest, rows: Readable | undefined, admin: HostAndPort): Promise<AdminAnswer> {
  return new Promise((resolve, reject) => {
    handleErrors(asked, admin, reject);
    asked.on('response', (response) => {
      rows?.unpipe(asked).pause();
      readAnswer(response, admin).then(resolve, reject);
    });
    if (rows === undefined) {
      asked.end();
      return;
    }
    // Sent at once: a refusal can arrive before the first row is typed.
    asked.flushHeaders();
    rows.on('error', reject);
    rows.pipe(asked);
  });
}

const MAX_ANSWER_LENGTH = 16 * 1024 * 1024;

async function readAnswer(response: IncomingMessage, admin: HostAndPort): Promise<AdminAnswer> {
  let text = '';
  try {
    for await (const part of response.setEncoding('utf8') as AsyncIterable<string>) {
      text += part;
      if (text.length > MAX_ANSWER_LENGTH) throw notOurs(admin);
    }
  } catch (error) {
    throw error instanceof ConnectionError ? error : lost(error, admin);
  }
  try {
    return { status: response.statusCode ?? 0, body: JSON.parse(text) as unknown };
  } catch (cause) {
    throw notOurs(admin, cause);
  }
}

/** The error in an answer; undefined when the request succeeded. */
export function errorOf({ status, body }: AdminAnswer, admin: HostAndPort): ErrorAnswer['error'] | undefined {
  if (status === 200) return undefined;
  const { error } = (body ?? {}) as Partial<ErrorAnswer>;
  if (typeof error?.message !== 'string') throw notOurs(admin);
  return error;
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

function notOurs(admin: HostAndPort, cause?: unknown): ConnectionError {
  const text = `what answers at ${formatAdmin(admin)} is not the admin port of a Rowcast primary: see --admin of \`rowcast serve\``;
  return new ConnectionError('CONNECTION_LOST', text, { cause });
}

function formatAdmin({ host, port }: HostAndPort): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}
