/**
 * Runs before `npm start` and `npm test`: installs dependencies and builds dist when they are
 * missing, and prints nothing when they are there. Needs no dependency itself, so it works in a
 * fresh clone. It reports each step in one line, and a failure with what to do about it.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { sourcesHash, stampFile } from './sources.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const lockfile = path.join(root, 'package-lock.json');
const installedStamp = path.join(root, 'node_modules', '.rowcast-installed');
const builtStamp = path.join(root, 'dist', stampFile);
const nativeBinary = path.join(root, 'node_modules', 'better-sqlite3', 'build', 'Release', 'better_sqlite3.node');

class Failure extends Error {}

try {
  requireNode(20, 19);
  if (!isInstalled() || !isBuilt()) {
    // One at a time: an installation removes node_modules while others use it.
    const release = acquire(path.join(root, '.prepare.lock'));
    try {
      if (!isInstalled()) install();
      if (!isBuilt()) build();
    } finally {
      release();
    }
  }
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  console.error(`rowcast: ${error.message}`);
  process.exitCode = 1;
}

function requireNode(major, minor) {
  const [haveMajor, haveMinor] = process.versions.node.split('.').map(Number);
  if (haveMajor > major || (haveMajor === major && haveMinor >= minor)) return;
  throw new Failure(
    `Node ${major}.${minor} or newer is needed, and this is ${process.version}. Install it from https://nodejs.org, then run the same command again.`,
  );
}

// --- dependencies ---

function isInstalled() {
  return existsSync(nativeBinary) && readText(installedStamp) === installation();
}

/**
 * The inputs of node_modules: the lock file, and the Node version for which better-sqlite3 was
 * built.
 */
function installation() {
  const lock = readText(lockfile) ?? 'no lock file';
  return createHash('sha256')
    .update(`${lock}\0${process.versions.modules} ${process.platform} ${process.arch}`)
    .digest('hex');
}

function install() {
  // After a manual install only the stamp is missing; a binary for another Node may need a rebuild.
  if (!matchesLockfile()) {
    const command = existsSync(lockfile) ? 'ci' : 'install';
    say(`installing the dependencies (npm ${command}) …`);
    // Dev dependencies compile and test, so they are needed with NODE_ENV=production too.
    npm([command, '--include=dev', '--no-audit', '--no-fund']);
  }
  if (!nativeLoads()) {
    say('building better-sqlite3 for this Node (npm rebuild) …');
    npm(['rebuild', 'better-sqlite3', '--no-audit', '--no-fund']);
    if (!nativeLoads()) {
      throw new Failure(
        'better-sqlite3 cannot be loaded after its installation. When install scripts are switched off (`npm config get ignore-scripts`), ' +
          'run `npm rebuild better-sqlite3 --ignore-scripts=false`; else remove node_modules. Then run the same command again.',
      );
    }
  }
  writeFileSync(installedStamp, installation());
}

function matchesLockfile() {
  const wanted = parse(readText(lockfile))?.packages;
  const found = parse(readText(path.join(root, 'node_modules', '.package-lock.json')))?.packages;
  if (wanted === undefined || found === undefined) return false;
  return Object.entries(wanted).every(([place, entry]) => {
    if (place === '') return true;
    if (found[place] === undefined) return entry.optional === true;
    return found[place].version === entry.version && existsSync(path.join(root, place));
  });
}

/**
 * Whether the binary exists and fits this Node. Checked in a new process, because a module that
 * failed to load stays failed.
 */
function nativeLoads() {
  if (!existsSync(nativeBinary)) return false;
  const script = "const Database = require('better-sqlite3'); new Database(':memory:').close();";
  return spawnSync(process.execPath, ['-e', script], { cwd: root, stdio: 'ignore' }).status === 0;
}

function npm(args) {
  const ours = process.env.npm_execpath;
  const [file, first] = ours !== undefined && /npm-cli\.c?js$/.test(ours) ? [process.execPath, [ours]] : ['npm', []];
  const shell = file === 'npm' && process.platform === 'win32';
  const { status, signal, error, stdout, stderr } = spawnSync(file, [...first, ...args], {
    cwd: root,
    env: environmentForNpm(),
    shell,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  if (status === 0) return;
  process.stderr.write(`${stdout ?? ''}${stderr ?? ''}`);
  const why =
    error === undefined ? `ended with ${signal ?? `exit code ${status}`}` : `could not be started: ${error.message}`;
  throw new Failure(
    `\`npm ${args.join(' ')}\` ${why}. It needs the npm registry, and better-sqlite3 needs its prebuilt binary from GitHub or else a C++ compiler, ` +
      'make and python3. Put right what npm says above, then run the same command again.',
  );
}

/** The environment without npm's variables: the options of the outer npm would apply to ours. */
function environmentForNpm() {
  const forOuter =
    /^npm_(lifecycle_|package_|command$|config_(global|location|prefix|local_prefix|dry_run|omit|only|include|production|workspaces?|json|package_lock_only)$)/i;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !forOuter.test(name)));
}

// --- dist ---

function isBuilt() {
  return readText(builtStamp)?.trim() === sourcesHash(root);
}

function build() {
  say('building dist (npm run build) …');
  const { status } = spawnSync(process.execPath, [path.join(root, 'scripts', 'build.js')], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if (status !== 0)
    throw new Failure(
      'dist could not be built. Correct what the compiler says above, then run the same command again.',
    );
}

// --- one at a time ---

/**
 * Takes the lock file, and waits while another live process has it. @returns a function that
 * releases it
 */
function acquire(file) {
  let told = false;
  let emptyLooks = 0;
  for (;;) {
    try {
      writeFileSync(file, String(process.pid), { flag: 'wx' });
      return () => rmSync(file, { force: true });
    } catch (error) {
      if (error.code !== 'EEXIST')
        throw new Failure(
          `${file} cannot be written (${error.code}): make the checkout writable, then run the same command again.`,
        );
    }
    const holder = Number(readText(file));
    // An empty file belongs to an owner that is about to write it, or could not. Wait five seconds.
    if (holder > 0 ? !isAlive(holder) : ++emptyLooks > 50) {
      rmSync(file, { force: true });
      continue;
    }
    if (!told)
      say(`waiting for another process that is installing or building (${holder > 0 ? `process ${holder}` : file}) …`);
    told = true;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

// --- small things ---

function say(text) {
  console.error(`rowcast: ${text}`);
}

function readText(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
    throw new Failure(`${file} cannot be read: ${error.message}`);
  }
}

function parse(text) {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    // A half-written file of npm counts as none; the installation then starts over.
    return undefined;
  }
}
