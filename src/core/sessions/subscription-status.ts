/** What the status of a primary tells of one stream on one connection. */

import type { StreamName } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import type { Replication } from './replication.ts';
import type { StreamState } from './stream-table.ts';

/** One stream on one connection. docs/protocol.md, "Words", defines sent, applied and saved. */
export interface SubscriptionStatus {
  readonly stream: StreamName;
  readonly state: 'judging' | 'catching-up' | 'live';
  readonly sent: Token;
  readonly sentLagRows: number;
  /** Undefined until the worker reports it with APPLIED. Only Rowcast workers do. */
  readonly applied: Token | undefined;
  readonly appliedLagRows: number | undefined;
  readonly saved: Token | undefined;
}

export function describeReplication(replication: Replication): SubscriptionStatus {
  const { stream, state, served, applied, saved } = replication;
  const sent = sentOf(replication);
  return {
    stream,
    state: state.kind === 'live' ? 'live' : state.kind === 'judging' ? 'judging' : 'catching-up',
    sent,
    sentLagRows: lagRows(served, sent),
    applied,
    appliedLagRows: applied === undefined ? undefined : lagRows(served, applied),
    saved,
  };
}

function sentOf({ state, sent, served }: Replication): Token {
  if (sent !== undefined) return sent.token;
  return state.kind === 'judging' ? state.position.token : served.bounds.earliest - 1;
}

/** Nearly every stream is at its end, and then its log need not be asked. */
function lagRows(served: StreamState, after: Token): number {
  return after >= served.bounds.latest ? 0 : served.rowsAfter(after);
}
