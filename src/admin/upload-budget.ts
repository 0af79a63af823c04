/**
 * What all uploads of a server hold in memory, as one sum with one bound. Nobody waits for room
 * here: an upload that finds none is refused and so gives back what it holds. So no two uploads
 * wait for each other, and one that fits alone gets through in the end.
 */

import type { Millis } from '../base/clock.ts';
import { UsageError } from '../core/model/errors.ts';
import type { AdminLimits } from './limits.ts';

/** What a connection takes, and what Node holds of a body before we read it. */
export const BYTES_AROUND_UPLOAD: number = 64 * 1024;

/** What one upload holds. */
export interface UploadShare {
  bytes: number;
  /** When its last batch became whole, or when it began. */
  since: Millis;
  isOpen: boolean;
  readonly uploader: Uploader;
}

export interface Uploader {
  /** It waits for its client, and no row of it is on its way to the log. */
  readonly isIdle: () => boolean;
  /** It reads no further: its share was taken away for other uploads, or the server stops. */
  readonly handleEnded: () => void;
}

export class UploadBudget {
  readonly #limits: Pick<AdminLimits, 'uploadBytes' | 'uploadTimeoutMs'>;
  readonly #now: () => Millis;
  readonly #shares = new Set<UploadShare>();
  #bytes = 0;

  constructor(limits: Pick<AdminLimits, 'uploadBytes' | 'uploadTimeoutMs'>, now: () => Millis) {
    this.#limits = limits;
    this.#now = now;
  }

  /** The sum over all uploads. */
  get bytes(): number {
    return this.#bytes;
  }

  /** @throws UsageError UPLOADS_FULL */
  open(uploader: Uploader): UploadShare {
    const share: UploadShare = { bytes: 0, since: this.#now(), isOpen: true, uploader };
    this.hold(share, BYTES_AROUND_UPLOAD);
    this.#shares.add(share);
    return share;
  }

  /**
   * Holds more bytes, or closes the share.
   * @throws UsageError UPLOADS_FULL; BATCH_TOO_LARGE where there would be no room alone either
   */
  hold(share: UploadShare, bytes: number): void {
    this.check(share);
    const { uploadBytes } = this.#limits;
    if (share.bytes + bytes > uploadBytes) {
      throw new UsageError(
        'BATCH_TOO_LARGE',
        `the batch does not fit: all uploads together may hold uploadBytes ${uploadBytes}; ask for fewer rows a batch`,
      );
    }
    if (this.tryHold(share, bytes)) return;
    this.#makeRoom(share, bytes);
    if (!this.tryHold(share, bytes)) {
      const held = this.#bytes;
      // At once, so that the next one that asks finds the room.
      this.close(share);
      throw new UsageError(
        'UPLOADS_FULL',
        `all uploads together hold ${held} bytes, and uploadBytes is ${uploadBytes}; wait as long as Retry-After says and go on`,
      );
    }
  }

  /** The same where no other upload is asked for room: false when there is none. */
  tryHold(share: UploadShare, bytes: number): boolean {
    if (!share.isOpen || this.#bytes + bytes > this.#limits.uploadBytes) return false;
    this.#bytes += bytes;
    share.bytes += bytes;
    return true;
  }

  /** Gives back a part. */
  free(share: UploadShare, bytes: number): void {
    if (!share.isOpen) return;
    this.#bytes -= bytes;
    share.bytes -= bytes;
  }

  /** A batch of the upload became whole. */
  handleWhole(share: UploadShare): void {
    share.since = this.#now();
  }

  /** @throws UsageError UPLOADS_FULL once the share was taken away */
  check(share: UploadShare): void {
    if (share.isOpen) return;
    throw new UsageError(
      'UPLOADS_FULL',
      `no batch became whole for uploadTimeoutMs ${this.#limits.uploadTimeoutMs}, and other uploads needed the room; wait as long as Retry-After says and go on`,
    );
  }

  /** Gives back everything. */
  close(share: UploadShare): void {
    this.free(share, share.bytes);
    share.isOpen = false;
    this.#shares.delete(share);
  }

  /** The server stops. Each upload answers for what has come of it. */
  endAll(): void {
    for (const { uploader } of this.#shares) uploader.handleEnded();
  }

  /** Ends uploads whose clients let their batch wait for too long, the oldest first. */
  #makeRoom(asking: UploadShare, bytes: number): void {
    const { uploadBytes, uploadTimeoutMs } = this.#limits;
    const before = this.#now() - uploadTimeoutMs;
    const slow = [...this.#shares].filter(
      (share) => share !== asking && share.since <= before && share.uploader.isIdle(),
    );
    for (const share of slow.sort((a, b) => a.since - b.since)) {
      if (this.#bytes + bytes <= uploadBytes) return;
      this.close(share);
      share.uploader.handleEnded();
    }
  }
}
