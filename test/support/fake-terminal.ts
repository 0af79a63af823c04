/**
 * A terminal for commands that run inside the test. The test gives the input and reads the output.
 */

import { PassThrough } from 'node:stream';
import { onTestFinished } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { run } from '../../src/cli/program.ts';
import type { ExitCode, Terminal } from '../../src/cli/terminal.ts';

export class RunningCommand {
  readonly stdin: PassThrough = new PassThrough();
  readonly stdout: PassThrough;
  readonly stderr: PassThrough = new PassThrough();
  readonly ended: Promise<ExitCode>;
  readonly #stopping = new AbortController();
  readonly #texts = new Map<PassThrough, string>();
  #watchers: (() => void)[] = [];

  constructor(
    argv: readonly string[],
    { stdout = new PassThrough(), terminal = {} }: { stdout?: PassThrough; terminal?: Partial<Terminal> } = {},
  ) {
    this.stdout = stdout;
    for (const stream of [this.stdout, this.stderr]) {
      this.#texts.set(stream, '');
      if (stream.readableFlowing === false) continue;
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#texts.set(stream, this.#texts.get(stream)! + text);
        for (const watcher of this.#watchers) watcher();
      });
    }
    const { stdin, stderr } = this;
    this.ended = run(argv, { stdin, stdout, stderr, signal: this.#stopping.signal, clock: systemClock, ...terminal });
    onTestFinished(async () => {
      await this.stop();
    });
  }

  get out(): string {
    return this.#texts.get(this.stdout)!;
  }

  get err(): string {
    return this.#texts.get(this.stderr)!;
  }

  /** Resolves when stdout or stderr has the text. Rejects when the command ends first. */
  async saw(text: RegExp): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const check = (): void => {
        const found = text.exec(this.out) ?? text.exec(this.err);
        if (found === null) return;
        this.#watchers = this.#watchers.filter((watcher) => watcher !== check);
        resolve(found);
      };
      this.#watchers.push(check);
      check();
      this.ended.then(
        (code) => setImmediate(() => reject(new Error(`the command ended with ${code} without ${text}:\n${this.err}`))),
        reject,
      );
    });
  }

  /** Stops the command, as SIGTERM does. */
  async stop(): Promise<ExitCode> {
    this.#stopping.abort();
    return this.ended;
  }
}

export interface ServedPrimary {
  readonly command: RunningCommand;
  readonly connect: string;
  readonly admin: string;
}

/** `rowcast serve` on free ports, with its log in memory unless the test says otherwise. */
export async function servePrimary(...options: string[]): Promise<ServedPrimary> {
  const command = new RunningCommand([
    'serve',
    '--listen',
    '127.0.0.1:0',
    '--admin',
    '127.0.0.1:0',
    '--log',
    'memory:',
    ...options,
  ]);
  const [, connect] = await command.saw(/listens at (\S+:\d+)/);
  const [, admin] = await command.saw(/admin port is http:\/\/(\S+)/);
  return { command, connect: connect!, admin: admin! };
}
