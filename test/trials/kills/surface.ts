/**
 * The trial reads answers of the command line and the admin port only here. A change of their form
 * changes this file.
 */

import { parsePosition } from '../../../src/core/model/position.ts';
import { fileCheckpoint } from '../../../src/worker/file-checkpoint.ts';

/** Each row names its batch, so a batch shows whether it is whole. */
export interface TrialRow {
  readonly batch: string;
  readonly i: number;
  readonly of: number;
}

/** A line of `rowcast follow --json`. */
export interface PrintedBatch {
  readonly stream: string;
  readonly token: number;
  /** As text. */
  readonly position: string;
  readonly rows: readonly TrialRow[];
}

/** @throws SyntaxError for a line that is torn */
export function parsePrinted(line: string): PrintedBatch {
  return JSON.parse(line) as PrintedBatch;
}

/** The position of the last batch in an answer of the admin port, as text. */
export function positionOfAnswer(body: unknown): string {
  return (body as { readonly position: string }).position;
}

export function tokenOf(position: string): number {
  return parsePosition(position).token;
}

export async function readCheckpoint(path: string): Promise<ReadonlyMap<string, number>> {
  const positions = await fileCheckpoint(path).load();
  return new Map(Array.from(positions, ([stream, { token }]) => [stream, token]));
}
