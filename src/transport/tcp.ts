/**
 * The transport over the system's sockets: TCP and Unix-domain. Knows nothing of lines and sets no
 * time-out: a caller that waits too long aborts.
 */

import { once } from 'node:events';
import { connect, createServer, type ListenOptions, type Server, type Socket } from 'node:net';
import { messageOf, systemCode } from '../core/model/errors.ts';
import { checkConnectAddress, checkListenAddress } from './check-address.ts';
import { connectionError, listenError } from './socket-errors.ts';
import {
  type Address,
  type Connection,
  type ConnectionHandler,
  formatAddress,
  type Listener,
  type ListenAddress,
  type Transport,
} from './transport.ts';
import { defaultSocketMode, listenAtPath, type SocketFile } from './unix-socket.ts';

/** TCP and Unix-domain sockets, the transport where options name no other. */
export const tcpTransport: Transport = {
  connect(given, handler) {
    const address = checkConnectAddress('connect', given);
    const socket = connect({ ...where(address), ...socketOptions, autoSelectFamilyAttemptTimeout });
    const connection = new SocketConnection(socket, formatAddress(address));
    socket.once('connect', () => connection.open());
    connection.attach(handler);
    return connection;
  },

  async listen(given, accept) {
    const address = checkListenAddress('listen', given);
    const server = createServer(socketOptions, (socket) => {
      const connection = new SocketConnection(socket, nameOfPeer(socket, address));
      connection.attach(accept(connection));
      connection.open();
    });
    return 'path' in address
      ? await listenByFile(server, address.path, address.mode)
      : await listenByPort(server, address);
  },
};

// Replication sends small lines that a peer waits for. Keep-alive finds peers that vanished while
// nothing was to be sent.
const socketOptions = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 } as const;

// For a name with several addresses, Node gives each but the last 250 ms. A far host may need more.
const autoSelectFamilyAttemptTimeout = 2_000;

// Connections that wait to be accepted: a primary that restarts meets all its workers at once. The
// system has its own, lower bound.
const backlog = 4_096;

function where(address: Address): { path: string } | { host: string; port: number } {
  return 'path' in address ? { path: address.path } : { host: address.host, port: address.port };
}

function nameOfPeer(socket: Socket, listening: ListenAddress): string {
  if ('path' in listening) return formatAddress(listening);
  const { remoteAddress, remotePort } = socket;
  // A peer that has already gone has no address.
  if (remoteAddress === undefined || remotePort === undefined) return 'unknown';
  return formatAddress({ host: remoteAddress.replace(/^::ffff:(?=\d+\.)/, ''), port: remotePort });
}

async function listenByPort(
  server: Server,
  address: { readonly host: string; readonly port: number },
): Promise<Listener> {
  await startListening(server, where(address), address);
  const bound = server.address();
  const real = typeof bound === 'object' && bound !== null ? { host: bound.address, port: bound.port } : address;
  return { address: real, close: () => stopListening(server) };
}

async function listenByFile(server: Server, path: string, mode: number = defaultSocketMode): Promise<Listener> {
  const file = await listenAtPath(server, path, mode, (at) => startListening(server, { path: at }, { path }));
  return { address: { path }, close: () => stopListening(server, file) };
}

async function startListening(server: Server, at: ListenOptions, address: Address): Promise<void> {
  try {
    // Exclusive: under node:cluster two processes would otherwise share the address, and each would
    // have half of the workers.
    server.listen({ ...at, backlog, exclusive: true });
    await once(server, 'listening');
  } catch (error) {
    throw listenError(address, error);
  }
  warnOfRefusals(server, address);
}

/**
 * Does not wait for the server's `close` event, which comes only when the last open connection has
 * ended.
 */
async function stopListening(server: Server, file?: SocketFile): Promise<void> {
  if (!server.listening) return;
  try {
    await file?.remove();
  } finally {
    server.close();
  }
}

/**
 * A connection that cannot be accepted (no file descriptor left, say) must not end the process.
 * Warns once of each error code.
 */
function warnOfRefusals(server: Server, address: Address): void {
  const told = new Set<string>();
  server.on('error', (error) => {
    const code = systemCode(error);
    if (told.has(code)) return;
    told.add(code);
    process.emitWarning(`cannot accept connections at ${formatAddress(address)}: ${messageOf(error)}`, {
      code: 'ROWCAST_ACCEPT',
    });
  });
}

/**
 * The part of a socket's handle that says how many written bytes the system has not taken. Node
 * does not document it.
 */
interface SocketHandle {
  readonly bytesWritten?: number;
  readonly writeQueueSize?: number;
}

class SocketConnection implements Connection {
  readonly peer: string;
  readonly #socket: Socket;
  #handler: ConnectionHandler | undefined;
  #wasOpen = false;
  /** The caller has closed or aborted, and is told of nothing but the end. */
  #isLeaving = false;
  #isAborted = false;
  #writtenBytes = 0;
  #error: Error | undefined;

  constructor(socket: Socket, peer: string) {
    this.#socket = socket;
    this.peer = peer;
  }

  attach(handler: ConnectionHandler): void {
    this.#handler = handler;
    this.#socket
      .on('data', (chunk: Uint8Array) => {
        if (!this.#isLeaving) handler.handleBytes(chunk);
      })
      .on('drain', () => {
        if (!this.#isLeaving) handler.handleDrained();
      })
      .on('error', (error) => {
        this.#error ??= connectionError(this.peer, this.#wasOpen, error);
      })
      // Node emits `close` once, last, and never from within a call. The end of the input, or an
      // error, leads to it.
      .once('close', () => handler.handleClosed(this.#isAborted ? undefined : this.#error));
  }

  open(): void {
    this.#wasOpen = true;
    if (!this.#isLeaving) this.#handler?.handleOpen();
  }

  get unsentBytes(): number {
    if (this.#socket.destroyed) return 0;
    const { _handle: handle } = this.#socket as { readonly _handle?: SocketHandle | null };
    // Node counts a write as a whole until the system has taken all of it. The handle tells how far
    // the write is, so a slow peer can be told from one that takes nothing. The system itself takes
    // bytes in steps: on Linux when a third of its send buffer is free again, which on loopback is
    // about 1.4 MB.
    if (handle?.bytesWritten === undefined || handle.writeQueueSize === undefined) return this.#socket.writableLength;
    return this.#writtenBytes - handle.bytesWritten + handle.writeQueueSize;
  }

  write(bytes: Uint8Array): boolean {
    // The other side's FIN ends the socket too.
    if (this.#socket.destroyed || this.#socket.writableEnded) return false;
    this.#writtenBytes += bytes.byteLength;
    return this.#socket.write(bytes);
  }

  cork(): void {
    this.#socket.cork();
  }

  uncork(): void {
    this.#socket.uncork();
  }

  pause(): void {
    if (!this.#isLeaving) this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  close(): void {
    if (this.#isLeaving) return;
    // The socket is not open yet, and nothing is to be sent.
    if (!this.#wasOpen && this.#writtenBytes === 0) return this.abort();
    this.#isLeaving = true;
    this.#socket.end();
    // Input is read and dropped until the other side has closed too. Closing a socket with unread
    // input makes the system send a reset, which can overtake our last line.
    this.#socket.resume();
  }

  abort(): void {
    this.#isLeaving = true;
    this.#isAborted = true;
    this.#socket.destroy();
  }
}
