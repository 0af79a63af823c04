/** A page of the streams of a primary, in the order of their names. */

import { anyText, integerFrom } from '../core/model/option-kinds.ts';
import type { OptionTable } from '../core/model/options.ts';
import { isPattern, matchesPattern } from '../core/model/pattern.ts';
import type { StreamName } from '../core/model/stream.ts';

/** Which streams a status is about. */
export interface StatusOptions {
  /** Only names that sort after this one: the `next` of the status before. */
  readonly after?: StreamName;
  /** The most streams. Default 1,000. */
  readonly limit?: number;
  /** Only streams of this pattern, or the one of this name. */
  readonly match?: string;
}

export const statusTable: OptionTable<StatusOptions> = { after: anyText, limit: integerFrom(1), match: anyText };

export const DEFAULT_STATUS_LIMIT = 1_000;

export interface NamePage {
  readonly names: readonly StreamName[];
  /** There are more, after the last of these names. */
  readonly hasMore: boolean;
}

/** The first names of all, without sorting all: a page of 50,000 names costs one pass over them. */
export function pageOfNames(
  all: Iterable<StreamName>,
  { after = '', limit = DEFAULT_STATUS_LIMIT, match }: StatusOptions,
): NamePage {
  let first = new Set<StreamName>();
  let last: StreamName | undefined;
  let isCut = false;
  const cut = (): void => {
    const sorted = [...first].sort();
    isCut ||= sorted.length > limit;
    first = new Set(sorted.slice(0, limit));
    last = first.size === limit ? sorted[limit - 1] : undefined;
  };
  for (const name of all) {
    if (name <= after || (match !== undefined && !isMatched(match, name))) continue;
    if (last !== undefined && name > last) isCut = true;
    else if (first.add(name).size >= limit * 2) cut();
  }
  cut();
  return { names: [...first], hasMore: isCut };
}

function isMatched(match: string, name: StreamName): boolean {
  return isPattern(match) ? matchesPattern(match, name) : match === name;
}
