/**
 * Who listens to `appended`: each batch is told once it is durable, and once for each id. What is
 * told is what the workers get, so it comes from the batch's texts and never from the objects of
 * the caller. Knows no log.
 */

import type { AttributesText } from '../core/model/attributes.ts';
import type { Batch } from '../core/model/batch.ts';
import { eraNumberOf } from '../core/model/history.ts';
import type { Bounds } from '../core/model/page.ts';
import type { Position } from '../core/model/position.ts';
import { parseTexts, type RowText } from '../core/model/row.ts';
import type { StreamName } from '../core/model/stream.ts';

/** A batch on its way into the log. */
export interface AppendedTexts {
  readonly stream: StreamName;
  readonly texts: readonly RowText[];
  readonly attributes: AttributesText | undefined;
  readonly id: string | undefined;
  /** The very array that the caller gave, by which the caller knows its batch again. */
  readonly given: readonly unknown[];
}

export interface AppendedOptions {
  readonly hasListeners: () => boolean;
  readonly emit: (batch: Batch) => void;
  readonly boundsOf: (stream: StreamName) => Bounds;
}

export class Appended {
  readonly #options: AppendedOptions;
  readonly #watchers: ((batch: AppendedTexts) => void)[] = [];
  /** The appends with an id that are on their way, of one id together. */
  readonly #twins = new Map<string, { pending: number; isTold: boolean }>();

  constructor(options: AppendedOptions) {
    this.#options = options;
  }

  /** Somebody wants to be told. */
  get isWatched(): boolean {
    return this.#watchers.length > 0 || this.#options.hasListeners();
  }

  /** The watcher is called before all listeners, and must not throw. */
  watch(watcher: (batch: AppendedTexts) => void): void {
    this.#watchers.push(watcher);
  }

  /** Appends, and tells when the batch is durable. */
  append(batch: AppendedTexts, append: () => Promise<Position>): Promise<Position> {
    if (batch.id !== undefined) return this.#appendOnce(batch, append);
    const appended = append();
    // The caller handles a failure.
    void appended.then(
      (position) => this.#tell(batch, position),
      () => {},
    );
    return appended;
  }

  /** An append that repeats an id gives the position of the first one, which was told then. */
  #appendOnce(batch: AppendedTexts, append: () => Promise<Position>): Promise<Position> {
    const { stream, id } = batch;
    const bounds = this.#options.boundsOf(stream);
    const appended = append();
    // A stream name has no space.
    const key = `${stream} ${id}`;
    const twins = this.#twins.get(key) ?? { pending: 0, isTold: false };
    this.#twins.set(key, twins);
    twins.pending++;
    const settle = (): void => {
      if (--twins.pending === 0) this.#twins.delete(key);
    };
    void appended.then((position) => {
      settle();
      if (twins.isTold || wasThere(position, bounds)) return;
      twins.isTold = true;
      this.#tell(batch, position);
    }, settle);
    return appended;
  }

  #tell(batch: AppendedTexts, position: Position): void {
    for (const watcher of this.#watchers) watcher(batch);
    if (this.#options.hasListeners()) this.#options.emit(parsedWhenRead(batch, position));
  }
}

/** Whether a position is of a row that a stream had when it had these bounds. */
function wasThere({ token: at, history = '' }: Position, { latest, history: newest }: Bounds): boolean {
  // A stream that was deleted and made again begins with low tokens, in a later era.
  return at <= latest && !(eraNumberOf(history) > eraNumberOf(newest));
}

/** Most listeners want the batches of a few streams, so the others are never parsed. */
function parsedWhenRead({ stream, texts, attributes }: AppendedTexts, position: Position): Batch {
  let rows: unknown[] | undefined;
  const batch = {
    stream,
    token: position.token,
    position,
    get rows() {
      rows ??= parseTexts(texts);
      return rows;
    },
  };
  if (attributes === undefined) return batch;
  let parsed: Batch['attributes'];
  return Object.defineProperty(batch, 'attributes', {
    enumerable: true,
    get: () => (parsed ??= JSON.parse(attributes) as NonNullable<Batch['attributes']>),
  });
}
