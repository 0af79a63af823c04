/** Backups over the admin port: the copy is made on the primary, sent to the client, and kept nowhere. */

import type { ReadStream } from 'node:fs';
import { Readable } from 'node:stream';

import type { BackupProgress } from '../core/model/backup.ts';
import type { Primary } from '../primary/primary.ts';
import { temporaryBackup } from '../primary/temporary-backup.ts';
import { json, refusal } from './answers.ts';

interface Running {
  progress: BackupProgress | undefined;
  /** The copy, which is made, and its client receives it. */
  content: ReadStream | undefined;
  bytes: number;
}

export class Backups {
  readonly #primary: Primary;
  readonly #stopping: AbortSignal | undefined;
  /**
   * The copy that is being made or sent. One at a time: each takes as much room as the log, until
   * its client has it all or is gone.
   */
  #running: Running | undefined;

  /** @param stopping aborted when the server stops */
  constructor(primary: Primary, stopping: AbortSignal | undefined) {
    this.#primary = primary;
    this.#stopping = stopping;
  }

  /** How far the copy is. */
  progress(): Response {
    if (this.#running === undefined || this.#running.content !== undefined)
      return refusal(404, 'NO_SUCH_PAGE', 'no backup is being made: POST /backup makes one');
    return json(200, this.#running.progress ?? { doneBytes: 0, totalBytes: 0 });
  }

  /**
   * Makes a copy and answers with its bytes.
   * @param left aborted when the client goes away
   * @throws UsageError NOT_SUPPORTED; LogError; the reason of an abort
   */
  async make(left: AbortSignal): Promise<Response> {
    if (this.#isBusy) {
      return refusal(409, 'BACKUP_RUNS', 'another backup is being made or sent: try again when it is finished');
    }
    const running: Running = { progress: undefined, content: undefined, bytes: 0 };
    this.#running = running;
    const signal = this.#stopping === undefined ? left : AbortSignal.any([left, this.#stopping]);
    try {
      const file = await temporaryBackup(this.#primary.log, {
        signal,
        onProgress: (progress) => {
          running.progress = progress;
        },
      });
      running.bytes = (await file.stat()).size;
      // The stream closes the file, which takes the last trace of the copy from the disk.
      running.content = file.createReadStream();
      running.content.once('close', () => this.#end(running));
      return send(running.content, running.bytes, left);
    } catch (error) {
      this.#end(running);
      throw error;
    }
  }

  get #isBusy(): boolean {
    if (this.#running === undefined) return false;
    const { content, bytes } = this.#running;
    // A client that has read all may ask for the next copy before the file is closed.
    return content === undefined || content.bytesRead < bytes;
  }

  #end(running: Running): void {
    if (this.#running === running) this.#running = undefined;
  }
}

function send(content: ReadStream, bytes: number, left: AbortSignal): Response {
  if (left.aborted) content.destroy();
  left.throwIfAborted();
  const headers = {
    'content-type': 'application/vnd.sqlite3',
    'content-length': String(bytes),
    'cache-control': 'no-store',
  };
  return new Response(Readable.toWeb(content) as ReadableStream<Uint8Array>, { headers });
}
