/**
 * The streams `account_data` and `tag_account_data`. Their data are JSON text inside a string, as
 * in Synapse's database.
 */

import { messageOf, PeerError, quoteValue } from '../core/model/errors.ts';
import { defineStream, type Stream, type StreamName } from '../core/model/stream.ts';
import { type Codec, type Fields, rowOf, text, textOrNull } from './fields.ts';
import { namedStream, type SynapseStream } from './named-stream.ts';

/** The parsed JSON text. */
export interface Content {
  /**
   * Decoded when first read. Not enumerable, so that it is not printed, copied or compared beside
   * its text.
   * @throws PeerError INVALID_ROW when the text is not JSON
   */
  readonly content?: unknown;
}

/** A row of the stream `tag_account_data`, as it is on the wire. */
export type TagAccountDataRow = readonly [userId: string, roomId: string, json: string];

/** The tags that a user gave a room. */
export interface TagAccountData extends Content {
  readonly userId: string;
  readonly roomId: string;
  readonly json: string;
}

type WithoutData = readonly [userId: string, roomId: string | null, type: string];

/** 4 fields until Synapse 1.6, 3 from 1.7. */
export type AccountDataRow = WithoutData | readonly [...WithoutData, json: string];

/** Account data of a user, for one room or for all. */
export interface AccountData extends Content {
  readonly userId: string;
  /** Null for data that belong to no room. */
  readonly roomId: string | null;
  readonly type: string;
  readonly json?: string;
}

/** The stream `tag_account_data`. */
export const tagAccountData: SynapseStream<TagAccountDataRow, TagAccountData> = streamWithContent(
  defineStream<TagAccountDataRow>('tag_account_data'),
  rowOf<TagAccountDataRow, TagAccountData>([
    ['userId', text],
    ['roomId', text],
    ['json', text],
  ]),
);

const withoutData: Fields<WithoutData, AccountData> = [
  ['userId', text],
  ['roomId', textOrNull],
  ['type', text],
];

/** The stream `account_data`. */
export const accountData: SynapseStream<AccountDataRow, AccountData> = streamWithContent(
  defineStream<AccountDataRow>('account_data'),
  rowOf<AccountDataRow, AccountData>(withoutData, [...withoutData, ['json', text]]),
);

function streamWithContent<Row, Named extends { readonly json?: string }>(
  stream: Stream<Row>,
  codec: Codec<Row, Named>,
): SynapseStream<Row, Named & Content> {
  return namedStream(stream, { ...codec, parse: (row: Row) => withContent(stream.name, codec.parse(row)) });
}

function withContent<Named extends { readonly json?: string }>(stream: StreamName, named: Named): Named & Content {
  const { json } = named;
  if (json === undefined) return named;
  let decoded: { readonly content: unknown } | undefined;
  return Object.defineProperty(named, 'content', {
    get: () => {
      decoded ??= { content: decode(stream, json) };
      return decoded.content;
    },
  });
}

function decode(stream: StreamName, json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (cause) {
    throw new PeerError(
      'INVALID_ROW',
      `json of a row of stream ${stream} is ${quoteValue(json)}, expected JSON: ${messageOf(cause)}`,
      { cause },
    );
  }
}
