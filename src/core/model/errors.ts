/**
 * Every error that leaves Rowcast. The class says whose fault it is, the code which error it is,
 * the text what to do.
 */

/** Codes and their meanings. docs/errors.md lists the same, and a test compares. */
export const errorCodes = {
  // PeerError: the other side broke the protocol or refused us.
  INVALID_UTF8: 'A line was not UTF-8.',
  LINE_TOO_LONG: 'A line was over maxLineBytes.',
  BATCH_TOO_LARGE: 'The rows of one batch were over maxBatchBytes.',
  UNKNOWN_COMMAND: 'A line named a command that does not exist or that this side may not send.',
  INVALID_ARGUMENTS: 'The arguments of a command did not parse.',
  UNKNOWN_STREAM: 'A stream was asked for that the primary does not have.',
  TOKEN_FELL:
    'A token did not rise: a primary sent a lower one, or an append was given one that is not above the latest.',
  WRONG_SERVER: 'The primary has another name than the expected one.',
  IDLE_TIMEOUT: 'Nothing arrived for longer than idleTimeoutMs.',
  SLOW_CONSUMER: 'A worker did not keep up and was disconnected.',
  GAP: 'Rows that were asked for are no longer kept.',
  TOO_FAR_BEHIND: 'A real Synapse does not send so many rows as a stream is behind: start at now.',
  RESET: 'The stream started afresh: the history under a position is gone.',
  AHEAD: 'The primary has not reached the position that was asked for.',
  UNAVAILABLE: 'The primary cannot read the stream now.',
  TRIMMED: 'A peer that is not Rowcast asked for rows that are no longer kept, and was served what is kept.',
  HOLDER_REFUSED:
    'A worker whose name matches untilSavedBy holds no rows: there are too many of them, or its connection has had too many names.',
  TOO_MANY_STREAMS:
    'A worker would follow more streams than its maxStreams, or asked for more on one connection than the maxReplications of its primary.',
  UNEXPECTED_COMMAND: 'A command came where the protocol does not allow it.',
  PEER_ERROR: 'The other side sent ERROR.',
  NOT_A_PRIMARY: 'What listens at the address is no primary.',
  EXAMINATION_CUT: 'rowcast doctor did not read all that the other side sends: it took too long, or was too much.',
  // UsageError: the caller misused Rowcast.
  INVALID_TOKEN: 'A token was not an integer from 0 to 2^53-1, or an append came after that highest one.',
  INVALID_POSITION:
    'A position or a history was malformed, or one without a history was used where that proves nothing.',
  OTHER_LOG: 'A position is of another log than the one that is followed: nothing here says whether it was reached.',
  INVALID_STREAM_NAME: 'A stream name was empty, too long, reserved, or had a space or control character.',
  INVALID_OPTION: 'An option or an argument was missing, unknown or out of range.',
  INVALID_ROW: "A row did not pass its stream's validator, is not JSON, or is nested too deeply.",
  INVALID_KEY: 'A cache key is none, has a NUL or half a character, or there are too many or too few of them.',
  INVALID_ATTRIBUTES: 'The attributes of a batch are not a JSON object, or do not fit on a line.',
  INVALID_COMMAND: 'A command to send has a value that does not fit on a line, or there is no such command to send.',
  OBSERVER: 'An observer sends nothing but NAME, PING and REPLICATE.',
  ROW_TOO_LARGE: 'A row does not fit on a line of maxLineBytes.',
  NOT_SUPPORTED: 'The log that keeps the stream, or the other side, does not offer this.',
  UPLOADS_FULL: 'All uploads to the admin port together hold uploadBytes: this one goes on a little later.',
  ID_REUSED: 'The id of an append was taken for other rows of the stream.',
  NO_SUCH_STREAM: 'The stream was not declared.',
  READ_ONLY_STREAM: 'The stream is of another source, which the primary only serves: it is appended to there.',
  DUPLICATE_STREAM: 'A stream was declared or subscribed twice, or used with another definition than the declared one.',
  DUPLICATE_CACHE: 'A cache or a group of caches was defined twice.',
  CLOSED: 'The primary, worker or log is closed.',
  PLAINTEXT_REFUSED: 'Listening off loopback without TLS needs allowPlaintext: true.',
  ADDRESS_IN_USE: 'Another process listens at the address.',
  ADDRESS_UNAVAILABLE: 'The address cannot be listened at.',
  NOT_SUBSCRIBED: 'The worker does not subscribe to the stream.',
  WAIT_TIMEOUT: 'A position was not reached in time.',
  STOP_TIMEOUT: 'A worker or a primary was not ended in time: what the text names is abandoned.',
  START_TIMEOUT: 'A worker was not live in time. It goes on, and the text says what holds it up.',
  // HandlerError: the application's own code failed.
  HANDLER_FAILED:
    "A subscription's handler or its onError failed; unless onError says otherwise the subscription stopped with its position unmoved.",
  GROUP_FAILED: 'The function of a group of caches threw, or gave something else than invalidations.',
  CHECKPOINT_FAILED: 'A checkpoint could not be read or written.',
  CHECKPOINT_LOCKED: 'Another worker has the checkpoint open, has written it since, or is the one that it is of.',
  // LogError: storage.
  LOG_GAP: 'A read began before what the log keeps.',
  LOG_DAMAGED: "The log's file is damaged or not a Rowcast log.",
  LOG_FORMAT: "The log's file is of another format than this Rowcast reads.",
  LOG_FENCED: "The log's file was opened by another process, moved or replaced: this log has stopped for good.",
  LOG_OUTCOME_UNKNOWN: 'The disk failed while a commit was made durable: whether its rows are kept is not known.',
  LOG_READ_ONLY: "The log's file or directory cannot be written.",
  LOG_LOCKED: "Another process has the log's file open for writing.",
  LOG_FULL: 'The disk under the log is full. Make room there, or trim streams (operations.md, "The disk is full").',
  LOG_DRIVER_MISSING: 'better-sqlite3 is not installed, or its native part is not built for this Node and system.',
  LOG_UNAVAILABLE: "The log's file cannot be opened, read or written.",
  // ConnectionError: the network.
  CONNECTION_LOST: 'The connection could not be made or was lost.',
  // Answers over HTTP alone: of the admin port, and of the middleware for caches.
  FOREIGN_HOST: 'A request to the admin port named another host than this machine.',
  FOREIGN_ORIGIN: 'A web page of another site made a request to the admin port.',
  WRONG_CONTENT_TYPE: 'Rows came with another content type than application/x-ndjson.',
  NO_SUCH_PAGE: 'The admin port has no such method and path.',
  BACKUP_RUNS: 'Another backup is being made or sent.',
  INVALID_HEADER: 'The header Rowcast-Token of a request cannot be read.',
  INTERNAL: 'A fault of Rowcast itself.',
} as const;

/** The code of an error: a key of `errorCodes`. */
export type ErrorCode = keyof typeof errorCodes;

export interface ErrorOptions {
  readonly cause?: unknown;
  readonly facts?: Facts;
}

/** What an error is about, as values: the stream, the requested token. Never a secret. */
export type Facts = Readonly<Record<string, unknown>>;

const noFacts: Facts = Object.freeze({});

/**
 * The base of all errors that Rowcast throws or reports on purpose. `code` is stable; the text is
 * for people.
 */
export class RowcastError extends Error {
  override readonly name: string = 'RowcastError';
  readonly code: ErrorCode;
  readonly facts: Facts;

  constructor(code: ErrorCode, text: string, { cause, facts = noFacts }: ErrorOptions = {}) {
    super(text, cause === undefined ? undefined : { cause });
    this.code = code;
    this.facts = facts;
  }
}

/** The other side of a connection broke the protocol or refused a request. */
export class PeerError extends RowcastError {
  override readonly name = 'PeerError';
}

/** The caller misused Rowcast; nothing was done. */
export class UsageError extends RowcastError {
  override readonly name = 'UsageError';
}

/** The application's handler or checkpoint failed. */
export class HandlerError extends RowcastError {
  override readonly name = 'HandlerError';
}

/** Storage failed; the text names the file. */
export class LogError extends RowcastError {
  override readonly name = 'LogError';
}

/** A connection could not be made or was lost. */
export class ConnectionError extends RowcastError {
  override readonly name = 'ConnectionError';
}

// C0 and C1 controls, line ends, and the marks that turn the direction of text around.
// oxlint-disable-next-line no-control-regex -- control characters are what this is about
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
const LONGEST_QUOTE = 100;

/**
 * Quotes text from the peer: at most 100 characters, control characters escaped (docs/protocol.md,
 * "Lines"). Whatever a peer says goes into messages through this function alone.
 */
export function quote(text: string): string {
  const cut = text.length > LONGEST_QUOTE ? `${text.slice(0, LONGEST_QUOTE)}…` : text;
  // The cut may split a surrogate pair, and a lone surrogate does not fit on a line.
  return escapeControl(cut.toWellFormed());
}

/** Quotes any value from the peer, as JSON where JSON can express it. */
export function quoteValue(value: unknown): string {
  try {
    return quote(JSON.stringify(value) ?? typeof value);
  } catch (thrown) {
    return messageOf(thrown);
  }
}

/**
 * Escapes control characters, line ends and marks of direction as JSON does, so that text from
 * elsewhere starts no line, moves no cursor and shows in its own order. JSON keeps its value.
 */
export function escapeControl(text: string): string {
  return text.replace(CONTROL, escapeOne);
}

/** The same for whole lines: their ends stay. */
export function escapeLines(text: string): string {
  return text.replace(CONTROL, (c) => (c === '\n' ? c : escapeOne(c)));
}

function escapeOne(c: string): string {
  return `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/** At most this many characters (UTF-16 units), and no half of one. */
export function cutText(text: string, most: number): string {
  if (text.length <= most) return text;
  const isPair = (text.codePointAt(most - 1) ?? 0) > 0xffff;
  return text.slice(0, isPair ? most - 1 : most);
}

/**
 * The code of an error of the system or of SQLite, such as ENOENT; empty when it has none. It does
 * not ask for an `Error`: test runners such as Jest give modules an `Error` of their own.
 */
export function systemCode(thrown: unknown): string {
  const code = typeof thrown === 'object' && thrown !== null && 'code' in thrown ? thrown.code : '';
  return typeof code === 'string' ? code : '';
}

/** Whether it is an error, of this or of another realm. */
function isError(thrown: unknown): thrown is Error {
  return thrown instanceof Error || Object.prototype.toString.call(thrown) === '[object Error]';
}

/** The text of anything that was thrown. Never throws: some values have no text. */
export function messageOf(thrown: unknown): string {
  try {
    return String(isError(thrown) ? thrown.message : thrown);
  } catch {
    return `a value without a text (${typeof thrown})`;
  }
}
