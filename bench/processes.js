/**
 * Runs one process for each role and calls it:
 *
 *   const worker = await startProcess('worker');
 *   await worker.call('follow', { port });
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const running = new Set();

/** @param role the name of a file in roles/ */
export async function startProcess(role) {
  const child = fork(fileURLToPath(new URL(`roles/${role}.js`, import.meta.url)), { serialization: 'advanced' });
  running.add(child);
  const calls = new Map();
  let lastId = 0;
  let isStopping = false;
  child.on('message', ({ id, result, error }) => {
    const { resolve, reject } = calls.get(id);
    calls.delete(id);
    if (error === undefined) resolve(result);
    else reject(new Error(`${role}: ${error}`));
  });
  child.once('exit', (code, signal) => {
    running.delete(child);
    for (const { reject } of calls.values())
      reject(new Error(`the process ${role} ended (${signal ?? `exit code ${code}`})`));
    if (!isStopping && calls.size === 0)
      console.error(`bench: the process ${role} ended by itself (${signal ?? `exit code ${code}`})`);
  });
  return {
    call(method, argument) {
      return new Promise((resolve, reject) => {
        const id = ++lastId;
        calls.set(id, { resolve, reject });
        child.send({ id, method, argument });
      });
    },
    /** As kill -9 does. */
    kill() {
      isStopping = true;
      child.kill('SIGKILL');
    },
    async stop() {
      isStopping = true;
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, 'exit');
      child.disconnect();
      await exited;
    },
  };
}

/** Starts the processes that `roles` names, passes them to `use`, and always stops them. */
export async function withProcesses(roles, use) {
  const started = await Promise.allSettled(roles.map(startProcess));
  try {
    for (const { reason } of started) if (reason !== undefined) throw reason;
    return await use(...started.map(({ value }) => value));
  } finally {
    await Promise.all(started.map(async ({ value }) => value?.stop()));
  }
}

process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});
