/**
 * Refuses requests that a web page in a browser on this machine could send. A page reaches loopback
 * through its visitor's browser, also under its own name (DNS rebinding). It cannot choose the Host
 * or hide its Origin. To send a content type that no form has it must ask first (CORS), and we
 * never allow that.
 */

import type { MiddlewareHandler } from 'hono';
import { refusal } from './answers.ts';
import { isLoopbackUrl } from './loopback.ts';

export const sameMachineOnly: MiddlewareHandler = async (c, next) => {
  const host = c.req.header('host');
  // Check the URL too: a request in the absolute form has a host there.
  if (!isLoopbackUrl(c.req.url) || (host !== undefined && !isLoopbackUrl(`http://${host}`))) {
    return refusal(
      403,
      'FOREIGN_HOST',
      'this is the admin port of a Rowcast primary: it answers only to 127.0.0.1, ::1 and localhost',
    );
  }
  const origin = c.req.header('origin');
  if (origin !== undefined && !isLoopbackUrl(origin)) {
    return refusal(
      403,
      'FOREIGN_ORIGIN',
      'this is the admin port of a Rowcast primary: web pages of other sites may not use it',
    );
  }
  return next();
};

export const rowsOnly: MiddlewareHandler = async (c, next) => {
  const type = c.req.header('content-type')?.split(';')[0]?.trim().toLowerCase();
  if (type === ROWS_TYPE) return next();
  return refusal(
    415,
    'WRONG_CONTENT_TYPE',
    `rows come as ${ROWS_TYPE}, one JSON value a line, not as ${type ?? 'an unnamed type'}`,
  );
};

const ROWS_TYPE = 'application/x-ndjson';
