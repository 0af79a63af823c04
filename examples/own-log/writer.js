/** The process that the suite kills: it appends to the log in a directory, and says what was acknowledged. */
import { writeUntilKilled } from 'rowcast/testing';
import { journalLog } from './journal-log.js';

await writeUntilKilled(journalLog({ path: `${process.argv[2]}/rows.jsonl` }));
