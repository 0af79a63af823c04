/**
 * Attributes of a batch: what its appender adds beside the rows (a trace context, say), as the JSON
 * text of an object.
 */

import { utf8Length } from '../../base/bytes.ts';
import { attributesLine, type BatchLimits } from './batch.ts';
import { messageOf, quote, UsageError } from './errors.ts';
import { nameOfType } from './options.ts';
import type { StreamName } from './stream.ts';

/** JSON text of an object, on one line. */
export type AttributesText = string;

/**
 * The longest JSON of a command that is no row, in characters: attributes, the keys of a cache. A
 * megabyte of the worst JSON takes a tenth of a second to read, and nothing else runs meanwhile.
 */
export const MAX_COMMAND_JSON = 65_536;

const LONGEST_TOKEN = Number.MAX_SAFE_INTEGER;

/**
 * Encodes attributes as they stand on an ATTR line.
 * @throws UsageError INVALID_ATTRIBUTES when they are not JSON, or not an object
 */
export function encodeAttributes(stream: StreamName, attributes: unknown): AttributesText {
  let text: string | undefined;
  try {
    text = JSON.stringify(attributes);
  } catch (cause) {
    const why = `attributes for stream ${stream} are not JSON: ${messageOf(cause)}`;
    throw new UsageError('INVALID_ATTRIBUTES', why, { cause });
  }
  if (text !== undefined && text.startsWith('{')) return text;
  throw new UsageError(
    'INVALID_ATTRIBUTES',
    `attributes for stream ${stream} are an object, not ${nameOfType(attributes)}`,
  );
}

/**
 * Checks that the attributes fit on a line `ATTR <stream> <token> <json>`, for any token.
 * @throws UsageError INVALID_ATTRIBUTES
 */
export function checkAttributes(stream: StreamName, json: AttributesText, limits: BatchLimits): void {
  const fault = faultOf(stream, json, limits);
  if (fault !== undefined)
    throw new UsageError('INVALID_ATTRIBUTES', `the attributes of a batch of stream ${stream} ${fault}`);
}

function faultOf(stream: StreamName, json: AttributesText, { maxLineBytes }: BatchLimits): string | undefined {
  if (json.length > MAX_COMMAND_JSON) return `have ${json.length} characters, over ${MAX_COMMAND_JSON}`;
  if (!isObject(json)) return `are the JSON of an object, not '${quote(json)}'`;
  if (/[\n\r]/.test(json) || !json.isWellFormed()) return 'are one line of whole characters';
  const lineBytes = utf8Length(attributesLine(stream, LONGEST_TOKEN, json));
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
