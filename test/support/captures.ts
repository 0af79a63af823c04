/** Recorded conversations with real Synapse processes (test/fixtures/synapse-1.4.0/README.md). */

import { readFileSync } from 'node:fs';
import type { StreamName } from '../../src/core/model/stream.ts';
import type { Token } from '../../src/core/model/token.ts';
import { decodeCommand } from '../../src/core/wire/codec.ts';
import type { Command, Side } from '../../src/core/wire/command.ts';

export const captureNames = ['live_all_now', 'catchup_from_positions', 'worker_rec.conn1', 'worker_rec.conn3'] as const;
export type CaptureName = (typeof captureNames)[number];

export type Expected =
  | { readonly stream: StreamName; readonly token: Token; readonly rows: readonly unknown[] }
  /** A POSITION line of that stream. */
  | { readonly position: StreamName; readonly token: Token };

export interface Capture {
  readonly name: CaptureName;
  /** The bytes that each side sent, verbatim. */
  readonly bytes: Readonly<Record<Side, Buffer>>;
  readonly lines: Readonly<Record<Side, readonly string[]>>;
  readonly expected: readonly Expected[];
  /** The worker's requests in order. */
  readonly requests: readonly { readonly stream: StreamName; readonly from: Token | 'NOW' }[];
}

export function readCapture(name: CaptureName): Capture {
  const read = (ending: string): Buffer =>
    readFileSync(new URL(`../fixtures/synapse-1.4.0/${name}.${ending}`, import.meta.url));
  const bytes = { primary: read('s2c.bin'), worker: read('c2s.bin') };
  const lines = { primary: linesOf(bytes.primary), worker: linesOf(bytes.worker) };
  return {
    name,
    bytes,
    lines,
    expected: linesOf(read('expected.ndjson')).map((line) => JSON.parse(line) as Expected),
    requests: lines.worker
      .map((line) => decodeCommand(line, 'worker', 'seed'))
      // A real Synapse knows no START.
      .flatMap((command: Command) =>
        command.name === 'REPLICATE' && command.from !== 'START'
          ? [{ stream: command.stream, from: command.from }]
          : [],
      ),
  };
}

function linesOf(bytes: Buffer): string[] {
  return bytes.toString().split('\n').slice(0, -1);
}
