/**
 * Checks the imports in src against the rules of .dependency-cruiser.cjs, and that the check saw
 * the sources at all.
 */
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { cruise } from 'dependency-cruiser';
import extractDepcruiseOptions from 'dependency-cruiser/config-utl/extract-depcruise-options';
import extractTSConfig from 'dependency-cruiser/config-utl/extract-ts-config';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));

const sources = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .map((file) => `src/${file.replaceAll('\\', '/')}`)
  .filter((file) => file.endsWith('.ts'));

const options = await extractDepcruiseOptions('./.dependency-cruiser.cjs');
const { output } = await cruise(['src'], options, undefined, { tsConfig: extractTSConfig('tsconfig.json') });

for (const { rule, from, to, cycle } of output.summary.violations) {
  const path = cycle === undefined ? [to] : cycle.map((step) => step.name);
  console.error(`${[from, ...path].join(' -> ')}\n    ${rule.name}: ${rule.comment ?? commentOf(rule.name)}`);
}

// A parser that cannot read TypeScript finds no modules and so no faults. So the check counts what
// it read.
const cruised = new Set(output.modules.map((module) => module.source));
const unseen = sources.filter((file) => !cruised.has(file));
if (sources.length === 0) console.error('No source file found under src.');
for (const file of unseen)
  console.error(`${file} was not examined: is the dependency-cruiser of package.json able to read this TypeScript?`);

const withImports = output.modules.filter((module) => module.dependencies.length > 0).length;
if (withImports === 0)
  console.error('No import was seen in any file: the installed typescript and dependency-cruiser do not fit together.');

const failed = output.summary.violations.length > 0 || sources.length === 0 || unseen.length > 0 || withImports === 0;
console.log(
  `${sources.length} files of src, ${output.summary.totalDependenciesCruised} imports, ${output.summary.violations.length} violations.`,
);
process.exitCode = failed ? 1 : 0;

function commentOf(name) {
  return options.ruleSet.forbidden.find((rule) => rule.name === name)?.comment ?? '';
}
