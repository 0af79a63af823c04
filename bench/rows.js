/** The rows of every part: about 100 bytes of JSON each, as Synapse 1.4.0 sends for an event. */

const FIRST_ID = 149_019_767_112;

export function makeRow(id) {
  return [
    `$${FIRST_ID + id}vOHxz:localhost:8823`,
    '!AFDCvgApUmpdfVjIXm:localhost:8823',
    'm.room.guest_access',
    '',
    null,
  ];
}

/** Ids repeat after this many: the benchmarks measure appending rows, not making them. */
const DIFFERENT_ROWS = 10_000;

export const rows = Array.from({ length: DIFFERENT_ROWS }, (_, i) => makeRow(i));

/** The lines of rows `from` + 1 to `upTo`, each with its own token, as chunks of bytes to write. */
export function makeLines(from, upTo, bytesPerChunk = 64 * 1024) {
  const texts = rows.map((row) => JSON.stringify(row));
  const chunks = [];
  let chunk = '';
  for (let token = from + 1; token <= upTo; token++) {
    chunk += `RDATA events ${token} ${texts[token % DIFFERENT_ROWS]}\n`;
    if (chunk.length < bytesPerChunk && token < upTo) continue;
    chunks.push(Buffer.from(chunk));
    chunk = '';
  }
  return chunks;
}
