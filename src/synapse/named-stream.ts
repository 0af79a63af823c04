/** Streams whose rows are positional on the wire and have named fields in TypeScript. */

import { PeerError, RowcastError, UsageError } from '../core/model/errors.ts';
import type { Stream } from '../core/model/stream.ts';
import type { Codec } from './fields.ts';

/**
 * A stream that knows the meaning of its rows' places. Its validator refuses other rows, and
 * changes none.
 */
export interface SynapseStream<Row = unknown, Named = unknown> extends Stream<Row> {
  /**
   * Names the fields of a row. Fields that the row's version does not have are absent.
   * @throws PeerError INVALID_ROW
   */
  parse(row: unknown): Named;
  /**
   * The inverse of `parse`.
   * @throws UsageError INVALID_ROW
   */
  format(named: Named): Row;
}

export function namedStream<Row, Named>(
  stream: Stream<Row>,
  { faultOf, parse, format }: Codec<Row, Named>,
): SynapseStream<Row, Named> {
  return {
    ...stream,
    row: {
      '~standard': {
        version: 1,
        vendor: 'rowcast',
        validate: (row) => {
          const message = faultOf(row, '');
          return message === undefined ? { value: row as Row } : { issues: [{ message }] };
        },
      },
    },
    parse: (row) => {
      const fault = faultOf(row, '');
      if (fault !== undefined)
        throw new PeerError('INVALID_ROW', `a row of stream ${stream.name} does not fit: ${fault}`);
      return parse(row as Row);
    },
    format: (named) => {
      try {
        const row = format(named);
        const fault = faultOf(row, '');
        if (fault === undefined) return row;
        throw new UsageError('INVALID_ROW', fault);
      } catch (cause) {
        if (!(cause instanceof RowcastError)) throw cause;
        throw new UsageError('INVALID_ROW', `what is named is no row of stream ${stream.name}: ${cause.message}`, {
          cause,
        });
      }
    },
  };
}
