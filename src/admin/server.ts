/** Serves the admin interface on a port of this machine. */

import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { type Millis, systemClock } from '../base/clock.ts';
import { messageOf, quote, systemCode, UsageError } from '../core/model/errors.ts';
import { anyText, integerFrom, required } from '../core/model/option-kinds.ts';
import { checkOptions, optionError, type OptionTable } from '../core/model/options.ts';
import { adminTable, type AdminOptions, createAdmin } from './admin.ts';
import { mergeAdminLimits } from './limits.ts';
import { isLoopbackHost } from './loopback.ts';

export interface ListenAdminOptions extends Omit<AdminOptions, 'signal'> {
  /** 127.0.0.0/8, ::1 or localhost. */
  readonly host: string;
  /** 0 for any free port. */
  readonly port: number;
}

const optionTable: OptionTable<ListenAdminOptions> = {
  primary: adminTable.primary,
  clock: adminTable.clock,
  logger: adminTable.logger,
  limits: adminTable.limits,
  host: required(anyText),
  port: required(integerFrom(0, 65_535)),
};

export interface AdminServer {
  /** The bound address: port 0 is replaced by the real port. */
  readonly address: { readonly host: string; readonly port: number };
  /**
   * Stops accepting connections. Uploads end with what is durable, and every request gets an
   * answer.
   */
  close(): Promise<void>;
}

// Longer than any answer takes to send: a connection open after this has a client that does not
// read.
const CLOSE_TIMEOUT_MS: Millis = 2_000;
const HEADERS_TIMEOUT_MS: Millis = 10_000;

/**
 * Starts the admin port.
 * @throws UsageError INVALID_OPTION, ADDRESS_IN_USE, ADDRESS_UNAVAILABLE
 */
export async function listenAdmin(given: ListenAdminOptions): Promise<AdminServer> {
  const { host, port, clock = systemClock, ...options } = checkOptions('listenAdmin', given, optionTable);
  if (!isLoopbackHost(host)) {
    const why = 'is 127.0.0.1, ::1 or localhost: the admin port has no passwords and listens on loopback only';
    throw optionError('listenAdmin', 'host', `${why}, not at ${quote(host)}`);
  }
  const stopping = new AbortController();
  const { maxConnections } = mergeAdminLimits(options.limits);
  const admin = createAdmin({ ...options, clock, signal: stopping.signal });
  // Rows may be piped in for days, so a request has no time limit.
  const listener = getRequestListener(admin.fetch, { overrideGlobalObjects: false });
  const server = createServer({ requestTimeout: 0, headersTimeout: HEADERS_TIMEOUT_MS }, (request, response) => {
    // A connection that was busy when the server stopped would stay open until its keep-alive
    // timeout.
    response.once('close', () => {
      if (stopping.signal.aborted) setImmediate(() => server.closeIdleConnections());
    });
    void listener(request, response);
  });
  server.maxConnections = maxConnections;
  try {
    server.listen({ host, port, exclusive: true });
    await once(server, 'listening');
  } catch (error) {
    throw listenError(host, port, error);
  }
  return {
    address: { host, port: (server.address() as AddressInfo).port },
    close: async () => {
      if (!server.listening) return;
      stopping.abort();
      const closed = once(server, 'close');
      server.close();
      const timer = clock.wakeIn(CLOSE_TIMEOUT_MS, () => server.closeAllConnections());
      await closed;
      timer.cancel();
    },
  };
}

function listenError(host: string, port: number, cause: unknown): UsageError {
  const at = `cannot listen for admin at ${host.includes(':') ? `[${host}]` : host}:${port}`;
  if (systemCode(cause) === 'EADDRINUSE') {
    return new UsageError(
      'ADDRESS_IN_USE',
      `${at}: something listens there already (EADDRINUSE); stop it or choose another port`,
      { cause },
    );
  }
  return new UsageError('ADDRESS_UNAVAILABLE', `${at}: ${messageOf(cause)}; choose another address`, { cause });
}
