/**
 * Embed a primary: a process that owns the writes.
 *
 *   node examples/primary.js [port] [file]
 *
 * Each line on stdin becomes a row of the stream `notes`; its position is printed once the row is durable.
 */
import { createInterface } from 'node:readline';
import { createPrimary, defineStream, formatPosition } from 'rowcast';
import { sqliteLog } from 'rowcast/log/sqlite';

const [port = '9092', file = 'data/notes.db'] = process.argv.slice(2);

const notes = defineStream('notes', { retain: { rows: 1_000_000 } });
const primary = await createPrimary({ name: 'example.com', log: sqliteLog({ path: file }), streams: [notes] });
primary.on('warning', ({ worker, error }) => console.error(`worker ${worker.name}: ${error.code} ${error.message}`));
const address = await primary.listen({ host: '127.0.0.1', port: Number(port) });
console.log(`listening on 127.0.0.1:${address.port}`);

for await (const text of createInterface({ input: process.stdin })) {
  const position = await primary.append(notes, [{ text, writtenMs: Date.now() }]);
  console.log(formatPosition(position));
}
await primary.close();
