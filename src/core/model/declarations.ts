/**
 * What an application has declared: single streams, and patterns whose streams are made while it
 * runs. The first append makes a stream, whichever way it was declared.
 */

import { quote, UsageError } from './errors.ts';
import { nameOfType } from './options.ts';
import { checkPattern, matchesPattern, type NamePattern, patternsOverlap } from './pattern.ts';
import {
  defineStream,
  nameOf,
  type Stream,
  type StreamName,
  type StreamOptions,
  streamName,
  streamNameFault,
  streamOptions,
} from './stream.ts';

/** Streams of one kind, which are made while the primary runs. Made by defineStreams. */
export interface StreamPattern<In = unknown, Out = In, Pattern extends NamePattern = NamePattern>
  extends Omit<Stream<In, Out>, 'name'> {
  readonly pattern: Pattern;
  /**
   * The definition of one of its streams, for append and subscribe.
   * @throws UsageError INVALID_STREAM_NAME when the pattern does not match the name
   */
  stream(name: string): Stream<In, Out>;
}

/**
 * Declares all streams whose names match a pattern: `*` stands for one or more characters other
 * than `:`. The first append makes a stream.
 * @throws UsageError INVALID_STREAM_NAME, INVALID_OPTION
 * @example
 * const rooms = defineStreams('room:*', { retain: { rows: 10_000 } });
 * await primary.append(rooms.stream('room:42'), [{ text: 'hello' }]);
 */
export function defineStreams<In = unknown, Out = In, const Pattern extends NamePattern = NamePattern>(
  pattern: Pattern,
  options?: StreamOptions<In, Out>,
): StreamPattern<In, Out, Pattern> {
  checkPattern(pattern);
  const checked = { pattern, ...streamOptions('defineStreams', options) };
  return { ...checked, stream: (name) => streamOf(checked, streamName(name)) };
}

function streamOf<In, Out>(pattern: Omit<StreamPattern<In, Out>, 'stream'>, name: StreamName): Stream<In, Out> {
  const { pattern: text, ...options } = pattern;
  if (matchesPattern(text, name)) return { name, ...options };
  throw new UsageError('INVALID_STREAM_NAME', `stream ${quote(name)} is none of ${text}`, {
    facts: { stream: name, pattern: text },
  });
}

/**
 * The name of a stream or the pattern of streams, each given by itself or by its definition.
 * @throws UsageError INVALID_STREAM_NAME for what is none of these
 */
export function declaredText(given: Stream | StreamPattern | StreamName): StreamName {
  const isOfPattern = typeof given === 'object' && given !== null && 'pattern' in given;
  const text: unknown = isOfPattern ? given.pattern : nameOf(given);
  if (typeof text === 'string') return text;
  throw new UsageError('INVALID_STREAM_NAME', 'the pattern of streams is text: give what defineStreams gave');
}

/** @throws UsageError INVALID_STREAM_NAME for what defineStream and defineStreams do not give */
function checkDeclaration(given: Declaration): void {
  const name = declaredText(given);
  if (typeof given.durable === 'boolean' && typeof given.retain === 'object') return;
  throw new UsageError(
    'INVALID_STREAM_NAME',
    `stream ${quote(name)} is declared by ${nameOfType(given)}: give its name, or what defineStream or defineStreams gave`,
  );
}

/** One stream, or the streams of a pattern. */
export type Declaration<In = unknown, Out = In> = Stream<In, Out> | StreamPattern<In, Out>;

/**
 * The same list, with a text that says why in place of each declaration whose name or pattern
 * stands there more than once. Only names that the compiler knows count.
 */
export type DeclaredOnce<Declarations extends readonly (Declaration | StreamName)[]> = {
  readonly [At in keyof Declarations]: Count<Declarations, KnownName<Declarations[At]>> extends 'many'
    ? `${KnownName<Declarations[At]>} is declared twice`
    : Declarations[At];
};

/** The name or the pattern, if it is one literal: no union, no `string`, no template. */
type KnownName<One> = One extends string
  ? OneLiteral<One>
  : One extends { readonly name: infer Name extends string }
    ? OneLiteral<Name>
    : One extends { readonly pattern: infer Pattern extends string }
      ? OneLiteral<Pattern>
      : never;

type OneLiteral<Name extends string, Each = Name> = Each extends unknown
  ? [Name] extends [Each]
    ? Partial<Record<Name, unknown>> extends Record<Name, unknown>
      ? never
      : Name
    : never
  : never;

/** How often a known name stands in the list: `many` ends the count. */
type Count<Declarations extends readonly unknown[], Name, Seen = 'none'> = [Name] extends [never]
  ? 'none'
  : Declarations extends readonly [infer First, ...infer Rest]
    ? Name extends KnownName<First>
      ? Seen extends 'one'
        ? 'many'
        : Count<Rest, Name, 'one'>
      : Count<Rest, Name, Seen>
    : Seen;

/** Looks declarations up by name. A stream that is declared by its name wins over a pattern. */
export class Declarations {
  readonly #streams = new Map<StreamName, Stream>();
  readonly #patterns: StreamPattern[] = [];

  /** @throws UsageError DUPLICATE_STREAM: one name is declared twice, or two patterns share names */
  constructor(declarations: readonly (Declaration | StreamName)[]) {
    for (const declared of declarations) {
      const declaration = typeof declared === 'string' ? defineStream(declared) : declared;
      checkDeclaration(declaration);
      if ('pattern' in declaration) this.#addPattern(declaration);
      else this.#addStream(declaration);
    }
  }

  /** The streams that are declared by their names. */
  get streams(): Iterable<Stream> {
    return this.#streams.values();
  }

  get patterns(): readonly StreamPattern[] {
    return this.#patterns;
  }

  /** How the stream is declared. Undefined when it is not. */
  find(name: StreamName): Stream | undefined {
    return this.#streams.get(name) ?? this.#patternOf(name)?.stream(name);
  }

  /** The declaration that a name falls under. Undefined when there is none. */
  declarationOf(name: StreamName): Declaration | undefined {
    return this.#streams.get(name) ?? this.#patternOf(name);
  }

  /** Whether a stream of this name is there or may be made. */
  has(name: StreamName): boolean {
    return this.#streams.has(name) || this.#patternOf(name) !== undefined;
  }

  /** The same declarations without those that do not pass. */
  filter(passes: (declaration: Declaration) => boolean): Declarations {
    return new Declarations([...this.#streams.values(), ...this.#patterns].filter(passes));
  }

  #patternOf(name: StreamName): StreamPattern | undefined {
    const pattern = this.#patterns.find((candidate) => matchesPattern(candidate.pattern, name));
    // `room:*` means every text after the colon, and not all of it fits on a line as a name.
    return pattern !== undefined && streamNameFault(name) === undefined ? pattern : undefined;
  }

  #addStream(stream: Stream): void {
    if (this.#streams.has(stream.name)) {
      throw new UsageError('DUPLICATE_STREAM', `stream ${stream.name} is declared twice`, {
        facts: { stream: stream.name },
      });
    }
    this.#streams.set(stream.name, stream);
  }

  #addPattern(added: StreamPattern): void {
    const other = this.#patterns.find(({ pattern }) => patternsOverlap(pattern, added.pattern));
    if (other !== undefined) {
      const text = `patterns ${other.pattern} and ${added.pattern} share names: declare each name by one of them`;
      throw new UsageError('DUPLICATE_STREAM', text, { facts: { patterns: [other.pattern, added.pattern] } });
    }
    this.#patterns.push(added);
  }
}
