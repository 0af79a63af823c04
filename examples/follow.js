/**
 * Follow with a checkpoint: stop it whenever you like, kill it if you must; it goes on where it was.
 *
 *   node examples/follow.js [port] [checkpoint file]
 */
import { createWorker, defineStream, fileCheckpoint } from 'rowcast';

const [port = '9092', file = 'data/notes.checkpoint'] = process.argv.slice(2);

const notes = defineStream('notes');
const worker = createWorker({
  name: 'reader-1',
  server: 'example.com',
  connect: { host: '127.0.0.1', port: Number(port) },
  checkpoint: fileCheckpoint(file),
});
worker.on('error', (error) => console.error(`the stream ended: ${error.message}`));
worker.on('disconnected', ({ error, retryInMs }) =>
  console.error(`${error.message}; next try in ${Math.round(retryInMs)} ms`),
);

// The next batch comes after this returns; a promise is waited for.
worker.subscribe(notes, { from: 'checkpoint', fallback: 'start' }, ({ token, rows }) => {
  for (const { text } of rows) console.log(`${token} ${text}`);
});

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void worker.stop());
await worker.start();
console.error('caught up, following');
