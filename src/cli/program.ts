/**
 * The command line: commands, options and help. Each command has a file of its own, which only that
 * command loads: `--version` and `--help` wait for none of them.
 */

import { readFileSync } from 'node:fs';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { IDEMPOTENCY_KEY_RULE, isIdempotencyKey, MAX_ROWS_PER_BATCH } from '../admin/upload-limits.ts';
import { messageOf, RowcastError } from '../core/model/errors.ts';
import { checkPattern, isPattern } from '../core/model/pattern.ts';
import { type StreamName, streamName, type WorkerName } from '../core/model/stream.ts';
import { parsePosition, type Position } from '../core/model/position.ts';
import { parseToken, type Token } from '../core/model/token.ts';
import { formatAddress } from '../transport/transport.ts';
import { type HostAndPort, parseAddress, parseHostAndPort, parseLogAddress } from './addresses.ts';
import type { AppendOptions } from './append.ts';
import type { BackupOptions } from './backup.ts';
import { defaults } from './defaults.ts';
import type { DoctorOptions } from './doctor.ts';
import type { FollowOptions } from './follow.ts';
import type { ForgetOptions } from './forget.ts';
import type { SendOptions } from './send.ts';
import type { ServeOptions } from './serve.ts';
import type { StatusOptions } from './status.ts';
import { type ExitCode, exitCodes, fail, type Terminal } from './terminal.ts';

/** Runs one command to its end. Reports every error in one line, `rowcast: CODE: text`. */
export async function run(argv: readonly string[], terminal: Terminal): Promise<ExitCode> {
  let exitCode: ExitCode = exitCodes.fine;
  const program = createProgram(terminal, (code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return exitCode;
  } catch (error) {
    // Already printed.
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.fine : exitCodes.usage;
    if (error instanceof RowcastError) return fail(terminal, error);
    if (isSystemError(error)) return fail(terminal, error);
    const code = fail(terminal, {
      code: 'INTERNAL',
      message: `this is a fault of Rowcast itself: ${messageOf(error)}`,
    });
    if (error instanceof Error) terminal.stderr.write(`${error.stack}\n`);
    return code;
  }
}

function isSystemError(error: unknown): error is Error & { readonly code: string } {
  return error instanceof Error && 'syscall' in error && 'code' in error && typeof error.code === 'string';
}

const EXAMINATION_TIMEOUT_S = 15;
const STATUS_INTERVAL_S = 2;
const LEAST_SECONDS = 0.1;

function createProgram(terminal: Terminal, onEnd: (code: ExitCode) => void): Command {
  const program = new Command('rowcast')
    .description(
      'Ordered, resumable streams of rows from one primary process to many workers, over the TCP replication protocol of Synapse.',
    )
    .version(version(), '-V, --version', 'print the version')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.stdout.write(text),
      writeErr: (text) => terminal.stderr.write(text),
      // Its texts begin with `error: `, a suggestion stands on a line of its own, and what a parser
      // says comes after a full stop.
      outputError: (text) =>
        void fail(terminal, {
          code: 'INVALID_OPTION',
          message: `${text
            .replace(/^error: /, '')
            .replace(' is invalid. ', ' is invalid: ')
            .trimEnd()
            .replace(/\.$/, '')
            .replaceAll('\n', ' ')}; add --help for what there is`,
        }),
    });

  program
    .command('serve')
    .description('Run a primary: keep streams in a log, and serve them to workers until SIGINT or SIGTERM.')
    .option('--name <name>', 'the name of the server, which workers may check', defaults.name)
    .option(
      '--listen <address>',
      `where workers connect: HOST:PORT or unix:/path; may be given more than once (default: ${formatAddress(defaults.listen)})`,
      many(checked(parseAddress)),
    )
    .addOption(
      new Option('--log <log>', 'where rows are kept: sqlite:PATH, or memory: for rows that may be lost')
        .argParser(checked(parseLogAddress))
        .default(defaults.log, 'sqlite:data/rowcast.db'),
    )
    .option(
      '--stream <name>',
      'a stream to offer, or a pattern of streams that are made by their first row; may be given more than once (default: the streams of Synapse, but federation)',
      many(checked(parseDeclared)),
    )
    .option(
      '--synapse',
      'be a primary for Synapse workers: its streams and their types, INVALIDATE_CACHE, lines of at most 16,384 bytes, idle time-out 25 s',
    )
    .addOption(
      adminOption('where append, status, backup and forget find it, on loopback; or none', (text) =>
        text === 'none' ? text : parseHostAndPort(text),
      ),
    )
    .option(
      '--upload-bytes <bytes>',
      'how much memory all uploads to the admin port may take together (default: 16777216)',
      parseUploadBytes,
    )
    .option('--allow-plaintext', 'listen off loopback without encryption, in a network that is trusted')
    .addHelpText(
      'after',
      examples(
        'serve',
        'serve --stream orders --stream stock --log sqlite:/var/lib/shop/rows.db',
        "serve --stream 'room:*' --stream users",
        'serve --listen unix:/run/rowcast.sock --admin none',
      ),
    )
    .action(async (options: ServeOptions) => {
      const { serve } = await import('./serve.ts');
      onEnd(await serve(options, terminal));
    });

  program
    .command('append')
    .description(
      'Append rows from stdin, one JSON value a line, to a stream of a running primary. Prints the position of the last batch once all is durable.',
    )
    .argument('<stream>', 'the stream', checked(streamName))
    .addOption(adminOption('the admin port of the primary'))
    .option('--batch <rows>', 'rows a batch: those are applied together or not at all', checked(parseBatch), 1)
    .option(
      '--id-prefix <prefix>',
      'names this upload, so that it can be repeated: batch n has the id PREFIX/n and is appended once',
      parseIdPrefix,
    )
    .option('--json', 'one line of JSON: {"position":"events=14@...","rows":3}')
    .addHelpText(
      'after',
      examples(
        'append events < rows.ndjson',
        'append events --id-prefix import-2026-12-01 < rows.ndjson',
        `append events --batch 100 < rows.ndjson`,
        'append stock --admin 127.0.0.1:9193 < rows.ndjson',
      ),
    )
    .action(async (stream: StreamName, options: AppendOptions) => {
      const { append } = await import('./append.ts');
      onEnd(await append(stream, options, terminal));
    });

  program
    .command('follow')
    .description(
      'Print the rows of streams as they come, until SIGINT or SIGTERM; goes on by itself when the connection is lost.',
    )
    .argument('[streams...]', "streams, or patterns such as 'room:*' (default: all)", many(checked(parseDeclared)))
    .addOption(connectOption())
    .option('--server <name>', 'the name that the primary must have (default: any)')
    .addOption(
      new Option(
        '--from <place>',
        'where to begin: now, start, or after a position as append prints it, or a token; with a checkpoint, for streams that it does not know',
      )
        .argParser(checked(parseFrom))
        .default('now'),
    )
    .option('--checkpoint <file>', 'keep in this file how far rows were printed, and go on from there')
    .option('--json', 'one batch a line: {"stream":"events","token":14,"position":"events=14@...","rows":[...]}')
    .option(
      '--synapse',
      "follow a real Synapse: rows in words, or with named fields as JSON; lines and time-outs are Synapse's",
    )
    .option('--observer', 'send nothing but NAME, PING and REPLICATE, whatever happens')
    .option('--name <name>', 'what the primary calls this worker', 'rowcast-follow')
    .addHelpText(
      'after',
      examples(
        'follow events --from start',
        'follow --json | jq .',
        'follow events --from start --checkpoint reader.checkpoint',
        "follow events 'room:*'",
        'follow events --from events=14@8f3c1d2e4b5a6978.1764281400.a1b2c3d4',
        'follow --connect unix:/run/rowcast.sock',
        'follow --synapse --observer events receipts',
      ),
    )
    .action(async (streams: readonly StreamName[], options: FollowOptions) => {
      const { follow } = await import('./follow.ts');
      onEnd(await follow(streams, options, terminal));
    });

  program
    .command('status')
    .description(
      'Show the streams of a running primary with earliest and latest token, and its connections with what was sent and applied, queue and age.',
    )
    .addOption(adminOption('the admin port of the primary'))
    .option('--match <pattern>', 'only these streams: a name, or a pattern such as room:*', checked(parseDeclared))
    .option('--after <name>', 'only streams whose names sort after this one')
    .option('--all', 'all streams, and not the first 1,000 only')
    .option('--watch', 'show it again and again until SIGINT or SIGTERM, also while the primary is away')
    .option('--interval <seconds>', 'how long to wait between two, with --watch', parseSeconds, STATUS_INTERVAL_S)
    .option('--json', 'as one line of JSON')
    .addHelpText(
      'after',
      examples(
        'status',
        'status --watch',
        "status --match 'room:*' --all",
        "status --json | jq '.connections[].subscriptions'",
      ),
    )
    .action(async (options: StatusOptions) => {
      const { status } = await import('./status.ts');
      onEnd(await status(options, terminal));
    });

  program
    .command('backup')
    .description("Copy a running primary's log into a new file, while rows are appended.")
    .argument('<file>', 'the file, which must not exist yet')
    .addOption(adminOption('the admin port of the primary'))
    .addHelpText('after', examples('backup rowcast-2026-12-01.db'))
    .action(async (file: string, options: BackupOptions) => {
      const { backup } = await import('./backup.ts');
      onEnd(await backup(file, options, terminal));
    });

  program
    .command('forget')
    .description(
      'Let a running primary drop the rows that it keeps for a worker (retain.untilSavedBy), for one that is gone for good. Says what it held.',
    )
    .argument('<worker>', 'the name of the worker, as status shows it', checked(parseWorkerName))
    .addOption(adminOption('the admin port of the primary'))
    .option('--json', 'one line of JSON: {"worker":"reader-7","streams":["events"]}')
    .addHelpText('after', examples('forget reader-7', 'status && rowcast forget reader-7'))
    .action(async (worker: WorkerName, options: ForgetOptions) => {
      const { forget } = await import('./forget.ts');
      onEnd(await forget(worker, options, terminal));
    });

  program
    .command('send')
    .description(
      'Send one command to a primary, as a worker does: USER_SYNC, FEDERATION_ACK, REMOVE_PUSHER, INVALIDATE_CACHE, USER_IP or SYNC.',
    )
    .argument('<words...>', 'the command and its arguments, as on the wire')
    .addOption(connectOption())
    .option('--server <name>', 'the name that the primary must have (default: any)')
    .option('--name <name>', 'what the primary calls this worker', 'rowcast-send')
    .addHelpText(
      'after',
      examples(
        'send USER_SYNC @a:example.com start 1490197665618',
        `send INVALIDATE_CACHE get_user_by_id '["@bob:example.com"]'`,
      ),
    )
    .action(async (words: readonly string[], options: SendOptions) => {
      const { send } = await import('./send.ts');
      onEnd(await send(words, options, terminal));
    });

  program
    .command('doctor')
    .description(
      'Say what listens at an address: server name, dialect, streams with positions; and what to do when it is no primary.',
    )
    .addOption(connectOption())
    .option('--server <name>', 'the name that the primary must have (default: any)')
    .option('--timeout <seconds>', 'how long the whole examination may take', parseSeconds, EXAMINATION_TIMEOUT_S)
    .option('--json', 'as one line of JSON')
    .option('--name <name>', 'what the primary calls this worker', 'rowcast-doctor')
    .addHelpText('after', examples('doctor', 'doctor --connect 127.0.0.1:9092 --server example.com'))
    .action(async (options: DoctorOptions) => {
      const { doctor } = await import('./doctor.ts');
      onEnd(await doctor(options, terminal));
    });

  program
    .command('log')
    .description('Tend the file of a log.')
    .command('new-history')
    .description(
      'Make a copy of a log another log: positions that workers have of the old one are reset here. Prints its new id.',
    )
    .argument('<file>', 'the file, which no process has open')
    .addHelpText('after', examples('log new-history copy.db'))
    .action(async (file: string) => {
      const { newHistory } = await import('./new-history.ts');
      onEnd(await newHistory(file, terminal));
    });

  return program.addHelpText(
    'after',
    examples('serve', 'follow events --from start', 'append events < rows.ndjson', 'status'),
  );
}

function connectOption(): Option {
  return new Option('--connect <address>', 'where the primary listens: HOST:PORT or unix:/path')
    .argParser(checked(parseAddress))
    .default(defaults.listen, formatAddress(defaults.listen));
}

function adminOption(
  description: string,
  parse: (text: string) => HostAndPort | 'none' = (text) => parseHostAndPort(text),
): Option {
  return new Option('--admin <address>', description)
    .argParser(checked(parse))
    .default(defaults.admin, formatAddress(defaults.admin));
}

function examples(...commands: string[]): string {
  return `\nExamples:\n${commands.map((command) => `  $ rowcast ${command}\n`).join('')}`;
}

/** Wraps a parser so that Commander puts the option's name before its error. */
function checked<Value>(parse: (text: string) => Value): (text: string) => Value {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      if (error instanceof RowcastError) throw new InvalidArgumentError(error.message);
      throw error;
    }
  };
}

/** For options that may be repeated. */
function many<Value>(
  parse: (text: string) => Value,
): (text: string, before: readonly Value[] | undefined) => readonly Value[] {
  return (text, before = []) => [...before, parse(text)];
}

function parseUploadBytes(text: string): number {
  const bytes = /^\d{1,15}$/.test(text) ? Number(text) : 0;
  if (bytes < LEAST_UPLOAD_BYTES)
    throw new InvalidArgumentError(`it is a number of bytes, at least ${LEAST_UPLOAD_BYTES}`);
  return bytes;
}

/** Room for one upload with a long line. */
const LEAST_UPLOAD_BYTES = 4 * 1024 * 1024;

function parseBatch(text: string): number {
  const rows = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (rows < 1 || rows > MAX_ROWS_PER_BATCH)
    throw new InvalidArgumentError(`a batch has 1 to ${MAX_ROWS_PER_BATCH} rows`);
  return rows;
}

function parseSeconds(text: string): number {
  const seconds = /^\d{1,5}(\.\d{1,3})?$/.test(text) ? Number(text) : 0;
  if (seconds < LEAST_SECONDS) throw new InvalidArgumentError(`it is a number of seconds from ${LEAST_SECONDS}`);
  return seconds;
}

/** A name of a stream, or a pattern. */
function parseDeclared(text: string): string {
  return isPattern(text) ? checkPattern(text) : streamName(text);
}

function parseWorkerName(text: string): WorkerName {
  if (text === '' || /[\r\n]/.test(text)) throw new InvalidArgumentError('a name is one line that is not empty');
  return text;
}

function parseIdPrefix(text: string): string {
  if (!isIdempotencyKey(text)) throw new InvalidArgumentError(`it has ${IDEMPOTENCY_KEY_RULE}`);
  return text;
}

function parseFrom(text: string): Position | Token | 'start' | 'now' {
  if (text === 'start' || text === 'now') return text;
  const token = parseToken(text);
  if (token !== undefined) return token;
  if (!text.includes('=')) throw new InvalidArgumentError('it is now, start, a token or a position');
  return parsePosition(text);
}

function version(): string {
  const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return manifest.version;
}
