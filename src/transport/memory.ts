/**
 * The transport within one process, for tests and for a primary and its workers in one program.
 * Knows no network: an address is a key in its own table, so none is refused for being off
 * loopback.
 */

import { ConnectionError, UsageError } from '../core/model/errors.ts';
import { integerFrom } from '../core/model/option-kinds.ts';
import { checkOptions, type OptionTable } from '../core/model/options.ts';
import { checkConnectAddress, readListenAddress } from './check-address.ts';
import { MemoryConnection } from './memory-connection.ts';
import {
  type Address,
  type Connection,
  type ConnectionHandler,
  formatAddress,
  type ListenAddress,
  type Transport,
} from './transport.ts';

/** Options of `createMemoryTransport`. */
export interface MemoryTransportOptions {
  /**
   * `write` returns false once this many bytes are on their way to the other end. Default 64 KiB.
   */
  readonly highWaterBytes?: number;
}

/** A transport within this process, for tests. */
export interface MemoryTransport extends Transport {
  /**
   * Cuts a connection like a broken cable: bytes on their way are lost, and both ends get an error.
   */
  cut(connection: Connection): void;
  /** Cuts every connection. */
  cutAll(): void;
}

const optionTable: OptionTable<MemoryTransportOptions> = { highWaterBytes: integerFrom(1) };

const defaultHighWaterBytes = 65_536;

// Systems begin to give out free ports here too.
const lowestFreePort = 49_152;

/**
 * Makes a transport with its own addresses: a primary and its workers must share one.
 * @throws UsageError INVALID_OPTION
 */
export function createMemoryTransport(options?: MemoryTransportOptions): MemoryTransport {
  const { highWaterBytes = defaultHighWaterBytes } = checkOptions('createMemoryTransport', options, optionTable);
  const listeners = new Map<string, { readonly accept: (connection: Connection) => ConnectionHandler }>();
  const connections = new Set<MemoryConnection>();

  function createConnection(peer: string): MemoryConnection {
    const connection = new MemoryConnection(peer, highWaterBytes, () => connections.delete(connection));
    connections.add(connection);
    return connection;
  }

  /** Joins a connection to the listener that is there when the connection arrives. */
  function arrive(near: MemoryConnection, name: string): void {
    if (near.isOver) return;
    const listener = listeners.get(name);
    if (listener === undefined) {
      near.fail(
        new ConnectionError(
          'CONNECTION_LOST',
          `cannot connect to ${name}: nothing listens there; is the primary running?`,
        ),
      );
      return;
    }
    const far = createConnection(`a client of ${name}`);
    near.joinTo(far);
    far.attach(listener.accept(far));
    far.open();
    near.open();
  }

  function realAddress(address: ListenAddress): Address {
    if ('path' in address) return { path: address.path };
    const { host } = address;
    let { port } = address;
    if (port === 0) for (port = lowestFreePort; listeners.has(formatAddress({ host, port })); port++);
    return { host, port };
  }

  return {
    connect(address, handler) {
      const name = formatAddress(checkConnectAddress('connect', address));
      const connection = createConnection(name);
      connection.attach(handler);
      setImmediate(() => arrive(connection, name));
      return connection;
    },

    async listen(wanted, accept) {
      const address = realAddress(readListenAddress('listen', wanted));
      const name = formatAddress(address);
      if (listeners.has(name)) {
        throw new UsageError(
          'ADDRESS_IN_USE',
          `cannot listen at ${name}: another listener is there; close it or choose another address`,
        );
      }
      const listener = { accept };
      listeners.set(name, listener);
      return {
        address,
        close: async () => {
          if (listeners.get(name) === listener) listeners.delete(name);
        },
      };
    },

    cut(connection) {
      if (connection instanceof MemoryConnection) connection.cut();
    },

    cutAll() {
      for (const connection of connections) connection.cut();
    },
  };
}
