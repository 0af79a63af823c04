/**
 * `rowcast follow`: prints a primary's rows to stdout, a row or a batch on each line. Its progress
 * and errors go to stderr.
 */

import type { Millis } from '../base/clock.ts';
import type { Batch } from '../core/model/batch.ts';
import { escapeControl, messageOf, PeerError, quote, type RowcastError, UsageError } from '../core/model/errors.ts';
import { formatPosition, type Position } from '../core/model/position.ts';
import { isPattern } from '../core/model/pattern.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import { describeRow } from '../synapse/describe.ts';
import type { UnknownKind } from '../synapse/fields.ts';
import { synapseLimits } from '../synapse/profile.ts';
import { synapseStream } from '../synapse/streams.ts';
import { type Address, formatAddress } from '../transport/transport.ts';
import type { Checkpoint, SavingCheckpoint } from '../worker/checkpoint.ts';
import { fileCheckpoint } from '../worker/file-checkpoint.ts';
import type { SubscribeOptions } from '../worker/options.ts';
import type { BatchHandler } from '../worker/subscription.ts';
import { createWorker, type Worker } from '../worker/worker.ts';
import { isReaderGone, RowOutput } from './row-output.ts';
import { type ExitCode, exitCodes, say, sayAtRate, type Terminal } from './terminal.ts';

export interface FollowOptions {
  readonly connect: Address;
  readonly server?: string;
  /** A position or token needs exactly one stream. */
  readonly from: Position | Token | 'start' | 'now';
  readonly checkpoint?: string;
  readonly json?: true;
  readonly synapse?: true;
  readonly observer?: true;
  readonly name: string;
}

/** How long applied rows may take to leave stdout after a signal to stop. */
const FLUSH_TIMEOUT_MS: Millis = 1_000;

/**
 * Follows streams by name and by pattern. Without any it follows all of them.
 * @throws UsageError INVALID_OPTION; RowcastError when a subscription or the checkpoint fails;
 * errors of stdout
 */
export async function follow(
  streams: readonly StreamName[],
  options: FollowOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  checkFrom(options.from, streams);
  let end = (): void => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  const output = new RowOutput(terminal.stdout, end);
  const worker = createWorker({
    name: options.name,
    connect: options.connect,
    clock: terminal.clock,
    ...(options.server !== undefined && { server: options.server }),
    ...(options.synapse && { limits: synapseLimits }),
    ...(options.observer && { observer: true }),
    ...(options.json && { attributes: true }),
    ...(options.checkpoint !== undefined && {
      checkpoint: flushedCheckpoint(fileCheckpoint(options.checkpoint), output),
    }),
  });
  let failure: RowcastError | Error | undefined;
  const fail = (error: Error): void => {
    // When stdout failed, its own error is the one to report.
    if (output.failure === undefined) failure ??= error;
    end();
  };
  worker.on('error', fail);
  const hasStreams = tellEvents(worker, options.connect, terminal);
  const named = options.synapse && namedRows(terminal);
  const describe = options.synapse ? describeRow : (_stream: StreamName, row: unknown): string => JSON.stringify(row);
  subscribe(worker, streams, options, (batch) =>
    output.write(options.json ? formatJson(named ? named(batch) : batch) : formatRows(batch, describe)),
  );
  const { signal } = terminal;
  signal.addEventListener('abort', end, { once: true });
  if (signal.aborted) end();
  let isStopping = false;
  worker.start().then(
    () => {
      if (!hasStreams()) say(terminal, 'live: no stream has rows yet');
    },
    (error: Error) => {
      if (!isStopping) fail(error);
    },
  );
  await ended;
  isStopping = true;
  await stop(worker, output, terminal);
  signal.removeEventListener('abort', end);
  failure ??= output.failure;
  if (failure !== undefined && !isReaderGone(failure) && !(failure instanceof StuckError)) throw failure;
  return exitCodes.fine;
}

/**
 * A token or position belongs to one stream; `start` and `now` work for any.
 * @throws UsageError INVALID_OPTION
 */
function checkFrom(from: FollowOptions['from'], streams: readonly StreamName[]): void {
  if (typeof from === 'string') return;
  if (streams.length === 0)
    throw new UsageError('INVALID_OPTION', 'without streams, --from is now or start: a token is of one stream');
  const pattern = streams.find(isPattern);
  if (pattern !== undefined)
    throw new UsageError(
      'INVALID_OPTION',
      `with the pattern ${pattern}, --from is now or start: a token is of one stream`,
    );
  if (typeof from === 'number') return;
  const others = streams.filter((stream) => stream !== from.stream);
  if (others.length > 0) {
    const text = `--from ${formatPosition(from)} is a position of ${from.stream}, not of ${others.join(', ')}`;
    throw new UsageError('INVALID_OPTION', `${text}: follow that stream alone`);
  }
}

/**
 * Saves a position only when its rows have left this process: rows still queued here would be lost
 * with it.
 */
function flushedCheckpoint(checkpoint: SavingCheckpoint, output: RowOutput): Checkpoint {
  return {
    ...checkpoint,
    save: async (changed, all) => {
      await output.flushed();
      await checkpoint.save(changed, all);
    },
  };
}

function subscribe(
  worker: Worker,
  streams: readonly StreamName[],
  { from, checkpoint }: FollowOptions,
  handler: BatchHandler,
): void {
  const where: SubscribeOptions = checkpoint === undefined ? { from } : { from: 'checkpoint', fallback: from };
  const how: SubscribeOptions = { ...where, onReset: 'earliest' };
  if (streams.length === 0) worker.subscribeAll(how, handler);
  for (const stream of streams) {
    if (isPattern(stream)) worker.subscribeMatching(stream, how, handler);
    else worker.subscribe(stream, how, handler);
  }
}

/** Of the streams that become live at once. With a pattern there may be thousands. */
const MOST_LIVE_NAMES = 20;

class StuckError extends Error {
  override readonly name = 'StuckError';
}

async function stop(worker: Worker, output: RowOutput, terminal: Terminal): Promise<void> {
  const timer = terminal.clock.wakeIn(FLUSH_TIMEOUT_MS, () => {
    // A peer that does not hang up takes as long.
    if (output.isFlushed) return;
    say(
      terminal,
      `stdout took nothing for ${FLUSH_TIMEOUT_MS / 1_000} s: its last rows are not in the checkpoint, and may come again`,
    );
    output.fail(new StuckError('stdout takes nothing'));
  });
  try {
    await worker.stop();
    await output.flushed();
  } catch (error) {
    if (error !== output.failure) throw error;
  } finally {
    timer.cancel();
  }
}

function formatJson({ stream, token, position, rows, attributes }: Batch): string {
  const json = JSON.stringify({ stream, token, position: formatPosition(position), rows, attributes });
  return `${escapeControl(json)}\n`;
}

function formatRows({ stream, token, rows }: Batch, describe: (stream: StreamName, row: unknown) => string): string {
  let text = '';
  for (const row of rows) text += `${escapeControl(`${stream} ${token} ${describe(stream, row)}`)}\n`;
  return text;
}

/**
 * Names the fields of rows of Synapse's streams. Unknown rows are printed as they came, with one
 * warning.
 */
function namedRows(terminal: Terminal): (batch: Batch) => Batch {
  const told = new Set<string>();
  const tellOnce = (about: string, text: string): void => {
    if (!told.has(about)) say(terminal, `${text}; such rows are printed as they came`);
    told.add(about);
  };
  return (batch) => {
    const { stream } = batch;
    const known = synapseStream(stream);
    if (known === undefined) return batch;
    const rows = batch.rows.map((row) => {
      try {
        const named = known.parse(row);
        if (isUnknown(named))
          tellOnce(
            `${stream} ${named.type}`,
            `stream ${stream} has rows of type ${quote(named.type)}, which is not known here`,
          );
        return named;
      } catch (error) {
        if (!(error instanceof PeerError)) throw error;
        tellOnce(stream, error.message);
        return row;
      }
    });
    return { ...batch, rows };
  };
}

function isUnknown(named: unknown): named is UnknownKind {
  return typeof named === 'object' && named !== null && 'kind' in named && named.kind === 'unknown';
}

/** Returns whether a stream was live so far. */
function tellEvents(worker: Worker, connect: Address, terminal: Terminal): () => boolean {
  const tell = (text: string): void => say(terminal, text);
  worker.on('connected', ({ isRowcast }) =>
    tell(
      `connected to ${formatAddress(connect)}${isRowcast ? '' : ', which has not said that it is Rowcast: it is another kind of primary, or held up'}`,
    ),
  );
  worker.on('disconnected', ({ error, retryInMs }) =>
    tell(`${messageOf(error)}; next try in ${(retryInMs / 1_000).toFixed(1)} s`),
  );
  worker.on('reset', ({ stream, error }) =>
    tell(
      error.facts['deleted'] === true
        ? `warning: ${messageOf(error)}`
        : `warning: stream ${stream} goes on with the earliest row that is kept: ${messageOf(error)}`,
    ),
  );
  worker.on('trimmed', ({ stream, earliest }) =>
    tell(`stream ${stream} is read from token ${earliest}: rows before it are no longer kept`),
  );
  const tellAtRate = sayAtRate(terminal);
  worker.on('peer-error', ({ text }) => tellAtRate(worker, `the primary says: ${quote(text)}`));
  // Collects the streams of one turn of the event loop for one line.
  let live: StreamName[] = [];
  let hasStreams = false;
  worker.on('live', ({ stream }) => {
    hasStreams = true;
    live.push(stream);
    if (live.length > 1) return;
    setImmediate(() => {
      const more = live.length - MOST_LIVE_NAMES;
      tell(`live: ${live.slice(0, MOST_LIVE_NAMES).join(', ')}${more > 0 ? ` and ${more} more` : ''}`);
      live = [];
    });
  });
  return () => hasStreams;
}
