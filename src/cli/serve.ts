/**
 * `rowcast serve`: runs a primary with its log, its listeners and its admin port until a signal
 * ends it.
 */

import type { AdminServer } from '../admin/server.ts';
import type { Log } from '../log/log.ts';
import { memoryLog } from '../log/memory.ts';
import type { Logger } from '../core/model/logger.ts';
import { type Declaration, defineStreams } from '../core/model/declarations.ts';
import { isPattern } from '../core/model/pattern.ts';
import { defineStream, type StreamName } from '../core/model/stream.ts';
import { createPrimary, type Primary } from '../primary/primary.ts';
import { type Address, formatAddress } from '../transport/transport.ts';
import type { HostAndPort, LogAddress } from './addresses.ts';
import { synapseLimits } from '../synapse/profile.ts';
import { defaults } from './defaults.ts';
import { beSynapse, synapseStreamsOf } from './serve-synapse.ts';
import { terminalLogger } from './terminal-logger.ts';
import { aborted, type ExitCode, exitCodes, fail, say, type Terminal } from './terminal.ts';

const HEALTH_INTERVAL_MS = 1_000;

export interface ServeOptions {
  readonly name: string;
  readonly listen?: readonly Address[];
  readonly log: LogAddress;
  /** Names and patterns. */
  readonly stream?: readonly string[];
  readonly synapse?: true;
  readonly admin: HostAndPort | 'none';
  readonly uploadBytes?: number;
  readonly allowPlaintext?: true;
}

/** @throws UsageError, LogError when it cannot start; then nothing stays open */
export async function serve(options: ServeOptions, terminal: Terminal): Promise<ExitCode> {
  let isServing = false;
  const logger = terminalLogger({ terminal, isTalkative: () => isServing });
  const primary = await openPrimary(options, logger);
  let admin: AdminServer | undefined;
  try {
    const addresses: Address[] = [];
    for (const address of options.listen ?? [defaults.listen]) {
      addresses.push(await primary.listen({ ...address, ...(options.allowPlaintext && { allowPlaintext: true }) }));
    }
    if (options.admin !== 'none') {
      // The HTTP server is loaded only by a primary with an admin port.
      const { listenAdmin } = await import('../admin/server.ts');
      const { uploadBytes } = options;
      const limits = { ...(uploadBytes !== undefined && { uploadBytes }) };
      admin = await listenAdmin({ primary, logger, limits, ...options.admin });
    }
    isServing = true;
    // Errors without a caller, such as a row that the caches cannot read, or rows that cannot be
    // trimmed. The primary goes on.
    primary.on('error', (error) => void fail(terminal, error));
    if (options.synapse) beSynapse(primary, terminal);
    tellWhereAndWhatNext(terminal, { primary, options, addresses, admin: admin?.address });
    watchHealth(primary, options.log, terminal);
    await aborted(terminal.signal);
    say(terminal, 'stopping');
  } finally {
    isServing = false;
    // Close this first: an upload in progress can report what is durable while the log is still
    // open.
    await admin?.close();
    await primary.close();
  }
  return exitCodes.fine;
}

/** A log that fails for good while nobody appends would say so nowhere but on the admin port. */
function watchHealth(primary: Primary, log: LogAddress, { clock, signal, stderr }: Terminal): void {
  const look = (): void => {
    if (primary.health !== 'failed') {
      timer = clock.wakeIn(HEALTH_INTERVAL_MS, look);
      return;
    }
    const what = log.kind === 'memory' ? 'its log' : `its log ${log.path}`;
    fail(
      { stderr },
      {
        code: primary.logTrouble?.code ?? 'LOG_UNAVAILABLE',
        message: `${what} has failed: it takes no rows until this primary is started again; an append says why`,
      },
    );
  };
  let timer = clock.wakeIn(HEALTH_INTERVAL_MS, look);
  signal.addEventListener('abort', () => timer.cancel(), { once: true });
}

async function openPrimary(options: ServeOptions, logger: Logger): Promise<Primary> {
  const { name, log, synapse } = options;
  const streams = declarationsOf(options);
  return createPrimary({ name, log: await openLog(log), streams, logger, ...(synapse && { limits: synapseLimits }) });
}

function declarationsOf({ stream, synapse }: ServeOptions): readonly Declaration[] {
  if (synapse) return synapseStreamsOf(stream);
  return (stream ?? defaults.streams).map((text) => (isPattern(text) ? defineStreams(text) : defineStream(text)));
}

async function openLog(address: LogAddress): Promise<Log> {
  if (address.kind === 'memory') return memoryLog();
  // Loads the native module.
  const { sqliteLog } = await import('../log/sqlite.ts');
  return sqliteLog({ path: address.path });
}

interface Serving {
  readonly primary: Primary;
  readonly options: ServeOptions;
  readonly addresses: readonly Address[];
  readonly admin: HostAndPort | undefined;
}

function tellWhereAndWhatNext(terminal: Terminal, { primary, options, addresses, admin }: Serving): void {
  const { log } = options;
  const names = declarationsOf(options).map((one) => ('pattern' in one ? one.pattern : one.name));
  const streams = names.some(isPattern) ? 'streams' : names.length === 1 ? '1 stream:' : `${names.length} streams:`;
  say(
    terminal,
    `primary ${primary.name} listens at ${addresses.map(formatAddress).join(', ')} with ${streams} ${names.join(', ')}`,
  );
  say(terminal, log.kind === 'memory' ? 'its log is in memory: rows are gone when it ends' : `its log is ${log.path}`);
  say(
    terminal,
    admin === undefined
      ? 'it has no admin port: append and status cannot reach it'
      : `its admin port is http://${formatAddress(admin)}`,
  );
  // Printed without our name before it: people copy these lines.
  terminal.stderr.write(
    `\nTry next, in other terminals:\n${whatNext(names[0]?.replaceAll('*', '1') ?? 'events', addresses[0]!, admin).join('')}\n`,
  );
}

function whatNext(stream: StreamName, address: Address, admin: HostAndPort | undefined): string[] {
  const name = quoteForShell(stream);
  const connect =
    formatAddress(address) === formatAddress(defaults.listen)
      ? ''
      : ` --connect ${quoteForShell(formatAddress(address))}`;
  const lines = [`  npx rowcast follow ${name} --from start${connect}\n`];
  if (admin !== undefined) {
    const at = formatAddress(admin) === formatAddress(defaults.admin) ? '' : ` --admin ${formatAddress(admin)}`;
    lines.push(`  echo '{"hello":"world"}' | npx rowcast append ${name}${at}\n`, `  npx rowcast status${at}\n`);
  }
  const netcat = 'path' in address ? `nc -U ${quoteForShell(address.path)}` : `nc ${address.host} ${address.port}`;
  lines.push(`  (echo ${quoteForShell(`REPLICATE ${stream} 0`)}; cat) | ${netcat}\n`);
  return lines;
}

function quoteForShell(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
