/** What Express and Fastify have in common: both answer with node:http. */

import type { IncomingHttpHeaders, ServerResponse } from 'node:http';

/** The request's `Rowcast-Token`; a header that is repeated comes joined by commas. */
export function tokenHeaderOf(headers: IncomingHttpHeaders): string | undefined {
  return headers['rowcast-token']?.toString();
}

/**
 * Aborted when the client goes away. That it is aborted after the answer too concerns nobody who
 * still waits.
 */
export function goneSignal(response: ServerResponse): AbortSignal {
  const gone = new AbortController();
  // It may have left while another middleware was at it.
  if (response.destroyed) gone.abort();
  else response.once('close', () => gone.abort());
  return gone.signal;
}
