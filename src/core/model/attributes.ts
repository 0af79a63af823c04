/** Attributes of a batch: what its appender says beside the rows (a trace context, say), as the JSON text of an object. */

import type { BatchLimits } from './batch.ts';
import { quote, UsageError } from './errors.ts';
import type { StreamName } from './stream.ts';

/** JSON text of an object, on one line. */
export type AttributesText = string;

const LONGEST_TOKEN_DIGITS = 16;

/**
 * Checks that the attributes can be sent as `ATTR <stream> <token> <json>`, whatever the token will be.
 * @throws UsageError INVALID_ATTRIBUTES
 */
export function checkAttributes(stream: StreamName, json: AttributesText, limits: BatchLimits): void {
  const fault = faultOf(stream, json, limits);
  if (fault !== undefined)
    throw new UsageError('INVALID_ATTRIBUTES', `the attributes of a batch of stream ${stream} ${fault}`);
}

function faultOf(stream: StreamName, json: AttributesText, { maxLineBytes }: BatchLimits): string | undefined {
  if (!isObject(json)) return `are the JSON of an object, not '${quote(json)}'`;
  if (/[\n\r]/.test(json) || !json.isWellFormed()) return 'are one line of whole characters';
  const lineBytes = Buffer.byteLength(`ATTR ${stream}  ${json}`) + LONGEST_TOKEN_DIGITS;
  return lineBytes > maxLineBytes ? `make a line of ${lineBytes} bytes, over maxLineBytes ${maxLineBytes}` : undefined;
}

function isObject(json: AttributesText): boolean {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === 'object' && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}
