/**
 * Replays the recorded real primary: sends the same bytes, and hangs up where the test says. A
 * worker that comes back gets what the real one would send: the rows above the requested token,
 * each with its own token, then POSITION, then everything not sent before.
 */

import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import type { StreamName } from '../../src/core/model/stream.ts';
import type { Token } from '../../src/core/model/token.ts';
import { LineCutter } from '../../src/core/wire/lines.ts';
import type { Capture } from './captures.ts';

interface Line {
  /** The offset among the bytes after the greeting. */
  readonly at: number;
  readonly text: string;
  /** For a row: its stream, and the token of its batch. */
  readonly row?: { readonly stream: StreamName; readonly token: Token; readonly json: string };
  readonly position?: { readonly stream: StreamName; readonly token: Token };
}

export class ReplayedSynapse {
  readonly #greeting: string;
  readonly #rest: Buffer;
  readonly #lines: readonly Line[];
  readonly #requests: number;
  /** Where to hang up, the next place first. */
  readonly #cuts: number[];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** How much of the recording was sent, in whole lines and whole batches. */
  #sentTo = 0;
  connections = 0;

  constructor({ lines, requests, bytes }: Capture, cuts: readonly number[] = []) {
    this.#greeting = `${lines.primary.slice(0, 2).join('\n')}\n`;
    this.#rest = bytes.primary.subarray(Buffer.byteLength(this.#greeting));
    this.#lines = parseLines(this.#rest.toString());
    this.#requests = requests.length;
    this.#cuts = cuts.toSorted((a, b) => a - b);
    this.#server = createServer((socket) => this.#handleConnection(socket));
  }

  get length(): number {
    return this.#rest.length;
  }

  async listen(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return `127.0.0.1:${(this.#server.address() as { port: number }).port}`;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #handleConnection(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
    this.connections++;
    const isFirst = this.connections === 1;
    const input = new LineCutter(1024 * 1024);
    const asked = new Set<string>();
    socket.write(this.#greeting);
    socket.on('data', (chunk) => {
      input.push(chunk);
      for (let line = input.next(); line !== undefined; line = input.next()) {
        const [name, stream, from] = line.split(' ');
        if (name !== 'REPLICATE') continue;
        if (!isFirst) this.#answer(socket, stream!, from!);
        if (isFirst || stream !== 'ALL') asked.add(stream!);
        // After ALL, a worker that comes back asks for each stream by name.
        if (asked.size === (isFirst ? this.#requests : this.#streams.size)) this.#play(socket);
      }
    });
  }

  get #streams(): ReadonlySet<StreamName> {
    return new Set(this.#lines.flatMap(({ position }) => (position === undefined ? [] : [position.stream])));
  }

  get #sent(): readonly Line[] {
    return this.#lines.filter(({ at }) => at < this.#sentTo);
  }

  #answer(socket: Socket, stream: StreamName, from: string): void {
    const sent = this.#sent;
    const standings = new Map<StreamName, Token>();
    for (const { position, row } of sent) {
      if (position !== undefined) standings.set(position.stream, position.token);
      // Before its POSITION a stream is catching up: the recording continues with the rest of that.
      else if (row !== undefined && standings.has(row.stream))
        standings.set(row.stream, Math.max(row.token, standings.get(row.stream)!));
    }
    if (stream === 'ALL') {
      for (const [name, token] of standings) socket.write(`POSITION ${name} ${token}\n`);
      return;
    }
    if (from !== 'NOW') {
      for (const { row } of sent)
        if (row?.stream === stream && row.token > Number(from))
          socket.write(`RDATA ${stream} ${row.token} ${row.json}\n`);
    }
    if (standings.has(stream)) socket.write(`POSITION ${stream} ${standings.get(stream)}\n`);
  }

  /** Plays the recording from the last place to the next cut. */
  #play(socket: Socket): void {
    const cut = this.#cuts.shift();
    const from = this.#sentTo;
    socket.write(this.#rest.subarray(from, cut));
    if (cut === undefined) {
      this.#sentTo = this.#rest.length;
      return;
    }
    // Torn lines come again, and so do batches.
    let whole = this.#lines.filter(({ at, text }) => at + Buffer.byteLength(text) + 1 <= cut);
    while (whole.at(-1)?.text.split(' ')[2] === 'batch') whole = whole.slice(0, -1);
    const last = whole.at(-1);
    this.#sentTo = Math.max(from, last === undefined ? 0 : last.at + Buffer.byteLength(last.text) + 1);
    socket.end();
  }
}

function parseLines(text: string): Line[] {
  const lines: Line[] = [];
  let at = 0;
  for (const line of text.split('\n').slice(0, -1)) {
    lines.push({ at, text: line, ...parseLine(line) });
    at += Buffer.byteLength(line) + 1;
  }
  // A row of a batch has the token of the batch's last row.
  let token: Token = 0;
  return lines
    .reverse()
    .map((line) => {
      if (line.row === undefined) return line;
      if (!Number.isNaN(line.row.token)) ({ token } = line.row);
      return { ...line, row: { ...line.row, token } };
    })
    .reverse();
}

function parseLine(line: string): Pick<Line, 'row' | 'position'> {
  const [, name, stream, token, json] = /^(RDATA|POSITION) (\S+) (\S+)(?: (.*))?$/.exec(line) ?? [];
  if (name === 'POSITION') return { position: { stream: stream!, token: Number(token) } };
  return name === 'RDATA' ? { row: { stream: stream!, token: Number(token), json: json! } } : {};
}
