/** What the trial reads of the command line's and the admin port's answers. A change of their form changes this file. */

import { parsePosition } from '../../../src/core/model/position.ts';
import { fileCheckpoint } from '../../../src/worker/checkpoint.ts';

/** A row says of which batch it is, so a batch shows by itself whether it is whole. */
export interface TrialRow {
  readonly batch: string;
  readonly i: number;
  readonly of: number;
}

/** A line of `rowcast follow --json`. */
export interface PrintedBatch {
  readonly stream: string;
  readonly token: number;
  /** In its text form. */
  readonly position: string;
  readonly rows: readonly TrialRow[];
}

/** @throws SyntaxError for a line that is torn */
export function parsePrinted(line: string): PrintedBatch {
  return JSON.parse(line) as PrintedBatch;
}

/** The position of the last batch in an answer of the admin port, in its text form. */
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
