/** The parts that Express and Fastify share: both answer with node:http. */

import type { IncomingHttpHeaders, ServerResponse } from 'node:http';

/** The request's `Rowcast-Token`. Repeated headers arrive joined by commas. */
export function tokenHeaderOf(headers: IncomingHttpHeaders): string | undefined {
  return headers['rowcast-token']?.toString();
}

/**
 * Aborts when the client goes away. It also aborts after the answer, when nothing waits any more.
 */
export function goneSignal(response: ServerResponse): AbortSignal {
  const gone = new AbortController();
  // The client may have left while another middleware ran.
  if (response.destroyed) gone.abort();
  else response.once('close', () => gone.abort());
  return gone.signal;
}
