/**
 * The rooms of one worker: the last messages of each, and how far it has read, in one SQLite file.
 * A batch and its position are stored by one transaction. So a kill at any instant loses both or
 * neither, and no message comes twice.
 */
import Database from 'better-sqlite3';
import { formatPosition, parsePosition } from 'rowcast';

/** Messages that a worker keeps of a room. */
const KEEP = 50;

export function openRooms(path) {
  const database = new Database(path);
  database.pragma('journal_mode = WAL');
  // What a power cut takes back it takes back whole: the messages come again.
  database.pragma('synchronous = NORMAL');
  database.exec(`
    CREATE TABLE IF NOT EXISTS messages (
      room TEXT, token INTEGER, n INTEGER, row TEXT NOT NULL, PRIMARY KEY (room, token, n)) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS positions (key TEXT PRIMARY KEY, position TEXT NOT NULL) STRICT, WITHOUT ROWID`);
  const insert = database.prepare('INSERT INTO messages VALUES (?, ?, ?, ?)');
  const cut = database.prepare(`
    DELETE FROM messages WHERE room = @room AND token < (
      SELECT token FROM messages WHERE room = @room ORDER BY token DESC, n DESC LIMIT 1 OFFSET ${KEEP - 1})`);
  const removeMessages = database.prepare('DELETE FROM messages WHERE room = ?');
  const setPosition = database.prepare('INSERT OR REPLACE INTO positions VALUES (?, ?)');
  const removePosition = database.prepare('DELETE FROM positions WHERE key = ?');
  const list = database.prepare('SELECT room, max(token) AS token FROM messages GROUP BY room');
  const read = database.prepare('SELECT token, row FROM messages WHERE room = ? ORDER BY token, n');

  const forget = database.transaction((room) => {
    removeMessages.run(room);
    removePosition.run(room);
  });

  return {
    /** Stores a batch of the stream of a room. */
    apply: database.transaction(({ stream, position, rows }) => {
      for (const [n, row] of rows.entries()) insert.run(stream, position.token, n, JSON.stringify(row));
      cut.run({ room: stream });
      setPosition.run(stream, formatPosition(position));
    }),
    forget,
    list: () => list.all(),
    read: (room) => read.all(room).map(({ token, row }) => ({ token, ...JSON.parse(row) })),
    /** Tells the worker where it was. */
    checkpoint: {
      load: async () =>
        new Map(
          database
            .prepare('SELECT key, position FROM positions')
            .all()
            .map(({ key, position }) => [key, parsePosition(position)]),
        ),
      // The position of a room is stored with its messages. What is left are the worker's own keys,
      // which begin with $, and rooms that are gone.
      save: async (changed) => {
        database.transaction(() => {
          for (const [key, position] of changed) {
            if (position === undefined) forget(key);
            else if (key.startsWith('$')) setPosition.run(key, formatPosition(position));
          }
        })();
      },
    },
    close: () => database.close(),
  };
}
