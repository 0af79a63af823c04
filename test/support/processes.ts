/**
 * Real processes of the command line, for end-to-end tests. They run the result of `npm run build`.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const BIN = fileURLToPath(new URL('../../bin/rowcast.js', import.meta.url));

export interface RunningProcess {
  readonly child: ChildProcess;
  /** Everything on stderr so far. */
  readonly stderr: () => string;
  /** Resolves when stderr has a matching text. Rejects when the process ends first. */
  readonly saw: (text: RegExp) => Promise<void>;
  /** Resolves, when all output was read, to the exit code or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>;
  readonly kill: (signal: NodeJS.Signals) => Promise<void>;
}

interface ProcessOptions {
  readonly onLine?: (line: string) => void;
  readonly cwd?: string;
  readonly input?: string;
  /** Beside the environment of this process. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs any program of ours. `onLine` gets each line of stdout. */
export function runNode(argv: readonly string[], { onLine, cwd, input, env }: ProcessOptions = {}): RunningProcess {
  const child = spawn(process.execPath, argv, {
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(cwd !== undefined && { cwd }),
    ...(env !== undefined && { env: { ...process.env, ...env } }),
  });
  let stderr = '';
  let isEnded = false;
  const watchers = new Set<() => void>();
  const notify = (): void => {
    for (const watcher of watchers) watcher();
  };
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    notify();
  });
  const lines = createInterface({ input: child.stdout });
  if (onLine !== undefined) lines.on('line', onLine);
  else lines.resume();
  // A killed process closes its stdin while we write. That is no fault of the test.
  child.stdin.on('error', () => {});
  if (input !== undefined) child.stdin.end(input);
  const ended = Promise.all([once(child, 'close'), once(lines, 'close')]).then(([[code, signal]]) => {
    isEnded = true;
    notify();
    return (code ?? signal) as number | NodeJS.Signals;
  });
  return {
    child,
    stderr: () => stderr,
    ended,
    saw: (text) =>
      new Promise((resolve, reject) => {
        const check = (): void => {
          if (text.test(stderr)) resolve();
          else if (isEnded) reject(new Error(`the process ended without ${text}; its stderr:\n${stderr}`));
          else return;
          watchers.delete(check);
        };
        watchers.add(check);
        check();
      }),
    kill: async (signal) => {
      child.kill(signal);
      await ended;
    },
  };
}

export function runRowcast(args: readonly string[], options: ProcessOptions = {}): RunningProcess {
  return runNode([BIN, ...args], options);
}

/** Ports that were free a moment ago. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map(async (server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(
    servers.map(async (server) => {
      server.close();
      await once(server, 'close');
    }),
  );
  return ports;
}
