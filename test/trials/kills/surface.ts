/** What the trial reads of the command line's and the admin port's answers. A change of their form changes this file. */

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
  readonly rows: readonly TrialRow[];
}

/** @throws SyntaxError for a line that is torn */
export function parsePrinted(line: string): PrintedBatch {
  return JSON.parse(line) as PrintedBatch;
}

/** The token of the last batch in an answer of the admin port. */
export function tokenOfAnswer(body: unknown): number {
  return (body as { readonly token: number }).token;
}

/** The token of the last batch in what `rowcast append` printed. */
export function tokenOfAppend(stdout: string): number {
  return Number(stdout.trim());
}

export async function readCheckpoint(path: string): Promise<ReadonlyMap<string, number>> {
  const positions = await fileCheckpoint(path).load();
  return new Map(Array.from(positions, ([stream, { token }]) => [stream, token]));
}
