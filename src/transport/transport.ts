/**
 * The interface of a transport: bytes between two ends. Knows nothing of lines. One exported suite
 * tests every implementation.
 */

import { withMethods } from '../core/model/option-kinds.ts';
import type { Kind } from '../core/model/options.ts';

/** Where to listen or connect: TCP, or a Unix-domain socket. */
export type Address = { readonly host: string; readonly port: number } | { readonly path: string };

/** Where to listen, and who may connect there. */
export type ListenAddress = Address & {
  /** Lets anyone on the network read and write without TLS. Required off loopback. */
  readonly allowPlaintext?: boolean;
  /** The file mode of a Unix socket. Default 0o600. */
  readonly mode?: number;
};

/**
 * Receives what happens to a connection. Every method is called from the event loop, never from
 * within a call of ours.
 */
export interface ConnectionHandler {
  /** Bytes may be sent. The first call, also on an accepted connection. */
  handleOpen(): void;
  /** Bytes came. */
  handleBytes(chunk: Uint8Array): void;
  /** The system has taken everything, after a `write` that returned false. */
  handleDrained(): void;
  /**
   * The last call, exactly once. `error` is a ConnectionError, or undefined after an orderly end.
   */
  handleClosed(error?: Error): void;
}

/** One connection: bytes in both directions. */
export interface Connection {
  /** The other side, for people to read: `127.0.0.1:53412`, `unix:/run/rowcast.sock`. */
  readonly peer: string;
  /** Bytes written that the system has not taken yet. */
  readonly unsentBytes: number;
  /**
   * Never blocks and never throws, also on a closed connection. Returns false when the caller must
   * wait for handleDrained before it writes much more.
   */
  write(bytes: Uint8Array): boolean;
  /** Collects writes until `uncork`, so that they take few system calls. */
  cork(): void;
  /** Sends what was written since `cork`. */
  uncork(): void;
  /** Stops and resumes handleBytes. The other side feels it as back-pressure. */
  pause(): void;
  /** Reads again after `pause`. */
  resume(): void;
  /** Sends what was written, then ends the connection. handleClosed follows. */
  close(): void;
  /** Ends the connection at once; what was not sent is lost. handleClosed follows. */
  abort(): void;
}

/** An address that is listened at. */
export interface Listener {
  /** Where it listens, with the real port in place of port 0. */
  readonly address: Address;
  /** Stops accepting. Open connections stay open. */
  close(): Promise<void>;
}

/** Makes connections and listens for them. */
export interface Transport {
  /**
   * Opens a connection. A failure of the network is not thrown: handleClosed reports it.
   * @throws UsageError INVALID_OPTION
   */
  connect(address: Address, handler: ConnectionHandler): Connection;
  /**
   * Calls `accept` for each connection. The handler that it returns receives the connection's
   * events.
   * @throws UsageError ADDRESS_IN_USE, ADDRESS_UNAVAILABLE, PLAINTEXT_REFUSED, INVALID_OPTION
   */
  listen(address: ListenAddress, accept: (connection: Connection) => ConnectionHandler): Promise<Listener>;
}

export const transportKind: Kind<Transport> = withMethods<Transport>('connect', 'listen');

/** An address as people write it: `127.0.0.1:9092`, `[::1]:9092`, `unix:/path`. */
export function formatAddress(address: Address): string {
  if ('path' in address) return `unix:${address.path}`;
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}
