/** The table of users: written by the primary alone, read by every process. */
import Database from 'better-sqlite3';

export function openUsers(path, { readonly = false } = {}) {
  const database = new Database(path, { readonly });
  if (!readonly) {
    // With a write-ahead log, those who read do not wait for the one who writes.
    database.pragma('journal_mode = WAL');
    database.exec('CREATE TABLE IF NOT EXISTS users (id TEXT PRIMARY KEY, name TEXT NOT NULL) STRICT');
  }
  const select = database.prepare('SELECT id, name FROM users WHERE id = ?');
  const upsert = readonly
    ? undefined
    : database.prepare('INSERT INTO users VALUES (@id, @name) ON CONFLICT (id) DO UPDATE SET name = @name');
  return {
    /** Undefined when there is no such user. */
    read: (id) => select.get(id),
    /** Committed when it returns. */
    write: (user) => void upsert.run(user),
    close: () => database.close(),
  };
}
