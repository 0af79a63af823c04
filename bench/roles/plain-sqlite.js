/** The usual code with better-sqlite3: WAL, synchronous FULL, one record a row. */
import Database from 'better-sqlite3';
import { rows as differentRows } from '../rows.js';
import { nowMs, serveCalls, temporaryFile } from './role.js';

const database = new Database(temporaryFile());
database.pragma('journal_mode = WAL');
database.pragma('synchronous = FULL');
database.exec('CREATE TABLE events (token INTEGER PRIMARY KEY, row TEXT NOT NULL)');
const insert = database.prepare('INSERT INTO events (row) VALUES (?)');
const insertAll = database.transaction((rows) => {
  for (const row of rows) insert.run(JSON.stringify(row));
});

serveCalls({
  /** @returns rows a second, and the longest transaction */
  append({ rows, perBatch }) {
    const startedAt = nowMs();
    let before = startedAt;
    let longestMs = 0;
    for (let done = 0; done < rows; done += perBatch) {
      const from = done % differentRows.length;
      insertAll.immediate(differentRows.slice(from, from + perBatch));
      const after = nowMs();
      longestMs = Math.max(longestMs, after - before);
      before = after;
    }
    return { rate: (rows * 1_000) / (before - startedAt), longestMs };
  },
});
