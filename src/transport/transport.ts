/** The interface of a transport: bytes between two ends. Knows nothing of lines. One exported suite holds each to it. */

/** Where to listen or connect: TCP, or a Unix-domain socket. */
export type Address = { readonly host: string; readonly port: number } | { readonly path: string };

export type ListenAddress = Address & {
  /** Lets anyone on the network read and write without TLS. Needed off loopback. */
  readonly allowPlaintext?: boolean;
  /** The mode of a Unix socket's file; default 0o600. */
  readonly mode?: number;
};

/** What happens to a connection. Every method is called from the event loop, never from within a call of ours. */
export interface ConnectionHandler {
  /** Bytes may be sent. On an accepted connection this is called too, first of all. */
  handleOpen(): void;
  handleBytes(chunk: Uint8Array): void;
  /** After a `write` that returned false: everything was handed to the system. */
  handleDrained(): void;
  /** The last call, exactly once. `error` when it was not an orderly end: a ConnectionError. */
  handleClosed(error?: Error): void;
}

export interface Connection {
  /** Who is on the other side, for people: `127.0.0.1:53412`, `unix:/run/rowcast.sock`. */
  readonly peer: string;
  /** Bytes written that the system has not taken yet. */
  readonly unsentBytes: number;
  /** Never blocks and never throws, also on a closed connection. False: wait for handleDrained before writing much more. */
  write(bytes: Uint8Array): boolean;
  /** Collects what is written until `uncork` into few system calls. */
  cork(): void;
  uncork(): void;
  /** Stops and resumes handleBytes; the other side feels it as back-pressure. */
  pause(): void;
  resume(): void;
  /** Sends what was written, then ends the connection. handleClosed follows. */
  close(): void;
  /** Ends the connection at once; what was not sent is lost. handleClosed follows. */
  abort(): void;
}

export interface Listener {
  /** Where it listens: port 0 has become a real port. */
  readonly address: Address;
  /** Stops accepting; open connections live on. */
  close(): Promise<void>;
}

export interface Transport {
  /**
   * Never throws for what the network does: then handleClosed follows.
   * @throws UsageError INVALID_OPTION
   */
  connect(address: Address, handler: ConnectionHandler): Connection;
  /**
   * Calls `accept` for each connection; what it returns hears of the connection.
   * @throws UsageError ADDRESS_IN_USE, ADDRESS_UNAVAILABLE, PLAINTEXT_REFUSED, INVALID_OPTION
   */
  listen(address: ListenAddress, accept: (connection: Connection) => ConnectionHandler): Promise<Listener>;
}

/** An address as people write it: `127.0.0.1:9092`, `[::1]:9092`, `unix:/path`. */
export function formatAddress(address: Address): string {
  if ('path' in address) return `unix:${address.path}`;
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}
