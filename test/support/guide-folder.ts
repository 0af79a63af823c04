/** A folder of one test, with the programs of a guide as their readers would run them. */

import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { type RunningProcess, runNode } from './processes.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export interface Program extends RunningProcess {
  /** Everything on stdout so far. */
  readonly lines: readonly string[];
  /** Resolves when stdout has a further matching line. */
  readonly next: (text: RegExp) => Promise<string>;
  readonly type: (line: string) => void;
}

export class GuideFolder {
  readonly path: string;
  readonly #running: RunningProcess[] = [];

  private constructor(path: string) {
    this.path = path;
  }

  /**
   * Is removed at the end of the test, after what runs in it was killed.
   * @param packages those beside rowcast that the programs import
   */
  static async make(...packages: string[]): Promise<GuideFolder> {
    const path = await mkdtemp(join(tmpdir(), 'rowcast-guide-'));
    const folder = new GuideFolder(path);
    onTestFinished(async () => {
      await Promise.all(folder.#running.map(async (process) => process.kill('SIGKILL')));
      await rm(path, { recursive: true, force: true });
    });
    await mkdir(join(path, 'node_modules'));
    await symlink(ROOT, join(path, 'node_modules', 'rowcast'));
    for (const name of packages) await symlink(join(ROOT, 'node_modules', name), join(path, 'node_modules', name));
    return folder;
  }

  /** Writes programs of a guide, with other ports. */
  async write(guide: string, names: readonly string[], port: number, adminPort: number = 0): Promise<void> {
    for (const name of names) {
      const code = await codeOf(guide, name);
      await writeFile(
        join(this.path, name),
        code.replaceAll('9092', String(port)).replaceAll('9093', String(adminPort)),
      );
    }
  }

  run(name: string, env: Readonly<Record<string, string>> = {}): Program {
    const lines: string[] = [];
    let read = 0;
    let check = (): void => {};
    const process = runNode([join(this.path, name)], {
      cwd: this.path,
      env,
      onLine: (line) => {
        lines.push(line);
        check();
      },
    });
    this.adopt(process);
    const next = async (text: RegExp): Promise<string> =>
      new Promise((resolve) => {
        check = () => {
          const at = lines.findIndex((line, i) => i >= read && text.test(line));
          if (at < 0) return;
          read = at + 1;
          check = () => {};
          resolve(lines[at]!);
        };
        check();
      });
    return { ...process, lines, next, type: (line) => void process.child.stdin!.write(`${line}\n`) };
  }

  /** The process is killed at the end of the test. */
  adopt(process: RunningProcess): RunningProcess {
    this.#running.push(process);
    return process;
  }
}

/** A code block of a guide: the first one after its name. */
export async function codeOf(guide: string, name: string): Promise<string> {
  const text = await readFile(new URL(`../../docs/guides/${guide}`, import.meta.url), 'utf8');
  const code = new RegExp(`^\`${name}\` [^\`]*\`\`\`\\w+\n(.*?)^\`\`\``, 'ms').exec(text)?.[1];
  if (code === undefined) throw new Error(`${guide} has no program ${name}`);
  return code;
}
