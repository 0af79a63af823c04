/**
 * Answers an upload while it comes: a line of JSON for what is durable so far, and a last line with
 * the answer. So a client whose connection is lost knows which of its rows are surely taken.
 */

import type { Clock, Millis } from '../base/clock.ts';
import { type Answer, answerHeaders, type Appended, json, textOf } from './answers.ts';

export const PROGRESS_TYPE = 'application/x-ndjson';
/** How often a line is sent at most. An upload that is over by then gets an ordinary answer. */
const PROGRESS_INTERVAL_MS: Millis = 250;

export interface ProgressOptions {
  /** The answer; never rejects. */
  readonly answer: Promise<Answer>;
  /** What is durable by now. */
  readonly durable: () => Appended;
  readonly clock: Clock;
}

export async function answerWithProgress({ answer, durable, clock }: ProgressOptions): Promise<Response> {
  const quick = await answerWithin(answer, clock);
  if (quick !== undefined) return json(quick.status, quick.body, quick.headers);
  let told = 0;
  let isCancelled = false;
  const lines = new ReadableStream<Uint8Array>({
    // Called when the client has taken the line before: one that reads nothing is told nothing.
    async pull(controller) {
      while (!isCancelled) {
        const over = await answerWithin(answer, clock);
        if (over !== undefined) {
          controller.enqueue(lineOf({ status: over.status, ...over.body }));
          controller.close();
          return;
        }
        const { rows } = durable();
        if (rows === told) continue;
        told = rows;
        controller.enqueue(lineOf(durable()));
        return;
      }
    },
    cancel() {
      isCancelled = true;
    },
  });
  return new Response(lines, { status: 200, headers: answerHeaders(PROGRESS_TYPE) });
}

/** The answer, when it comes within the interval. */
async function answerWithin(answer: Promise<Answer>, clock: Clock): Promise<Answer | undefined> {
  let wake = (): void => {};
  const passed = new Promise<undefined>((resolve) => {
    wake = () => resolve(undefined);
  });
  const timer = clock.wakeIn(PROGRESS_INTERVAL_MS, wake);
  try {
    return await Promise.race([answer, passed]);
  } finally {
    timer.cancel();
  }
}

function lineOf(value: object): Uint8Array {
  return Buffer.from(textOf(value));
}
