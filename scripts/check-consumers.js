/**
 * Compiles consumers of the packed package (test/fixtures/consumer) as users would: with the oldest
 * and newest compilers that are supported, under each way to resolve modules, strict, and with the
 * declarations of Rowcast checked (skipLibCheck: false).
 *
 * The consumer has beside Rowcast only the packages that npm would install with it, and
 * `@types/node`. So a type that leaks from a development dependency is an error here.
 */
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import newest from 'typescript';
import oldest from 'typescript-5.4';
import between from 'typescript-5.9';

const root = fileURLToPath(new URL('..', import.meta.url));

const NODE_NEXT = { module: 'nodenext', moduleResolution: 'nodenext' };
const resolutions = [
  { module: 'esnext', moduleResolution: 'bundler' },
  { module: 'node16', moduleResolution: 'node16' },
  NODE_NEXT,
];
/** The first compiler that lets CommonJS require a module, as Node does from 20.19. */
const FIRST_WITH_REQUIRE = '5.8';

const folder = realpathSync(mkdtempSync(path.join(tmpdir(), 'rowcast-consumers-')));
let faults = 0;
let programs = 0;
try {
  const { dependencies } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
  const tarball = pack(folder);
  const alone = makeConsumer('alone', tarball, [...Object.keys(dependencies), '@types/node']);
  const withPeers = makeConsumer('with-peers', tarball, [...Object.keys(dependencies), '@types/node', 'fastify']);
  for (const ts of [oldest, between, newest]) {
    const compile = compilerOf(ts);
    for (const resolution of resolutions) compile(alone, ['main.ts'], resolution);
    compile(alone, ['main.ts'], { ...resolutions[0], exactOptionalPropertyTypes: false });
    compile(withPeers, ['peers.ts'], NODE_NEXT);
    if (ts.version >= FIRST_WITH_REQUIRE) compile(alone, ['required.cts'], NODE_NEXT);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(`${programs} consumers of the packed package compiled, ${faults} faults.`);
if (faults > 0) process.exitCode = 1;

/** The path of the tarball that npm would publish. */
function pack(destination) {
  const output = execFileSync('npm', ['pack', '--json', '--pack-destination', destination], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return path.join(destination, JSON.parse(output)[0].filename);
}

/** A project with the package as npm would install it, and links to the other packages. */
function makeConsumer(name, tarball, packages) {
  const consumer = path.join(folder, name);
  const modules = path.join(consumer, 'node_modules');
  mkdirSync(path.join(modules, 'rowcast'), { recursive: true });
  execFileSync('tar', ['-xzf', tarball, '-C', path.join(modules, 'rowcast'), '--strip-components=1']);
  for (const each of packages) {
    mkdirSync(path.dirname(path.join(modules, each)), { recursive: true });
    symlinkSync(realpathSync(path.join(root, 'node_modules', each)), path.join(modules, each));
  }
  cpSync(path.join(root, 'test/fixtures/consumer'), consumer, { recursive: true });
  writeFileSync(path.join(consumer, 'package.json'), '{ "type": "module" }\n');
  return consumer;
}

/** A function that compiles files of a consumer and prints the faults. It parses each source once. */
function compilerOf(ts) {
  const parsed = new Map();

  return (consumer, files, settings) => {
    const defaults = { exactOptionalPropertyTypes: true, strict: true, skipLibCheck: false, target: 'es2022' };
    const { options, errors } = ts.convertCompilerOptionsFromJson({ ...defaults, ...settings }, consumer);
    const host = ts.createCompilerHost(options);
    const getSourceFile = host.getSourceFile;
    host.getSourceFile = (file, how, ...rest) => {
      const key = `${how.impliedNodeFormat} ${file}`;
      if (!parsed.has(key)) parsed.set(key, getSourceFile(file, how, ...rest));
      return parsed.get(key);
    };
    host.getCurrentDirectory = () => consumer;
    const roots = files.map((file) => path.join(consumer, file));
    const program = ts.createProgram(roots, options, host);
    const found = [...errors, ...program.getOptionsDiagnostics(), ...program.getGlobalDiagnostics()];
    for (const source of program.getSourceFiles()) {
      // Faults within the declarations of other packages are theirs: not every compiler can read
      // them.
      if (!source.fileName.startsWith(folder)) continue;
      found.push(...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source));
    }
    programs += 1;
    faults += found.length;
    if (found.length === 0) return;
    console.error(`TypeScript ${ts.version}, ${JSON.stringify(settings)}:`);
    const format = { getCanonicalFileName: String, getCurrentDirectory: () => folder, getNewLine: () => '\n' };
    console.error(ts.formatDiagnostics(found, format));
  };
}
