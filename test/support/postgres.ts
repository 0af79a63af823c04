/** A private PostgreSQL in a temporary folder, reached through a Unix socket alone. */

import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { chmod, chown, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** Where distributions put the programs of each version. */
const VERSIONS = '/usr/lib/postgresql';

/** PostgreSQL does not run as root. This user comes with its packages. */
const USER = 'postgres';

function findPrograms(): string | undefined {
  const versions = existsSync(VERSIONS) ? readdirSync(VERSIONS).sort((a, b) => Number(b) - Number(a)) : [];
  const said = spawnSync('pg_config', ['--bindir'], { encoding: 'utf8' }).stdout?.trim() ?? '';
  const folders = [...versions.map((version) => join(VERSIONS, version, 'bin')), said];
  return folders.find((folder) => folder !== '' && existsSync(join(folder, 'initdb')));
}

const programs: string | undefined = findPrograms();

/** Undefined: PostgreSQL is installed. */
export const whyNoPostgres: string | undefined =
  programs === undefined ? `no PostgreSQL on this machine (no initdb in ${VERSIONS})` : undefined;

function run(program: string, args: readonly string[]): void {
  const isRoot = process.getuid?.() === 0;
  const path = join(programs!, program);
  const command = isRoot ? ['setpriv', `--reuid=${USER}`, `--regid=${USER}`, '--clear-groups', path] : [path];
  // What inherits our stdout would keep it open.
  const { status, stderr, error } = spawnSync(command[0]!, [...command.slice(1), ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'ignore', 'pipe'],
    cwd: tmpdir(),
    timeout: 60_000,
  });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${program} ended with ${status}: ${stderr}`);
}

/**
 * Starts a database that is stopped and removed at the end of the test. It syncs to the disk, as a
 * real one does.
 * @returns its connection string
 */
export async function startPostgres(): Promise<string> {
  // The path of a socket may not be long.
  const folder = await mkdtemp(join(tmpdir(), 'rowcast-pg-'));
  await chmod(folder, 0o700);
  if (process.getuid?.() === 0) {
    const [uid, gid] = ['-u', '-g'].map((flag) => Number(spawnSync('id', [flag, USER], { encoding: 'utf8' }).stdout));
    await chown(folder, uid!, gid!);
  }
  const data = join(folder, 'data');
  onTestFinished(async () => {
    if (existsSync(join(data, 'postmaster.pid'))) run('pg_ctl', ['stop', '-D', data, '-m', 'immediate', '-w']);
    await rm(folder, { recursive: true, force: true });
  });
  run('initdb', ['-D', data, '-U', USER, '-A', 'trust', '-E', 'UTF8', '--no-locale', '--no-sync', '--no-instructions']);
  const options = `-c listen_addresses='' -c unix_socket_directories='${folder}' -c fsync=on`;
  run('pg_ctl', ['start', '-D', data, '-l', join(folder, 'log'), '-w', '-o', options]);
  return `postgresql://${USER}@/postgres?host=${encodeURIComponent(folder)}`;
}
