/** Who may import whom: the table of ARCHITECTURE.md as rules. Run by scripts/check-layers.js; test files are free. */

/** Each folder of src and the folders it may import besides itself. A folder that is not listed here is itself a violation. */
const core = ['core/follow', 'core/sessions', 'core/wire', 'core/model', 'base'];
const layers = {
  base: [],
  events: ['base'],
  'core/model': ['base'],
  'core/wire': ['core/model', 'base'],
  'core/sessions': ['core/wire', 'core/model', 'base'],
  'core/follow': ['core/sessions', 'core/wire', 'core/model', 'base'],
  transport: ['core/model', 'base'],
  log: ['core/model', 'base'],
  observe: ['core/model', 'base'],
  primary: ['log', 'transport', 'events', ...core],
  worker: ['transport', 'events', ...core],
  cache: ['primary', 'worker', 'core/model', 'base'],
  synapse: ['cache', 'primary', 'worker', 'log', 'events', ...core],
  admin: ['observe', 'primary', 'core/model', 'base'],
  testing: ['synapse', 'cache', 'primary', 'worker', 'transport', 'log', ...core],
  cli: ['admin', 'observe', 'synapse', 'cache', 'primary', 'worker', 'transport', 'log', ...core],
};

const testFile = '\\.test\\.ts$';

function layerRule([folder, allowed]) {
  return {
    name: `layer-${folder}`,
    comment: `src/${folder} may import ${allowed.length > 0 ? allowed.join(', ') : 'nothing'}.`,
    severity: 'error',
    from: { path: `^src/${folder}/`, pathNot: testFile },
    to: { path: '^src/', pathNot: `^src/(${[folder, ...allowed].join('|')})/` },
  };
}

/** The concrete logs and transports. The rest of their folders is interface and shared parts. */
const concreteLog = '^src/log/(memory|sqlite|postgres|jetstream)';
const concreteTransport = '^src/transport/(tcp|memory)';

module.exports = {
  forbidden: [
    ...Object.entries(layers).map(layerRule),
    {
      name: 'unknown-folder',
      comment: 'Give a new folder of src its line in the table of .dependency-cruiser.cjs and of ARCHITECTURE.md.',
      severity: 'error',
      from: { path: '^src/', pathNot: [`^src/(${Object.keys(layers).join('|')})/`, '^src/index\\.ts$', testFile] },
      to: {},
    },
    {
      name: 'pure-folders',
      comment: 'base and core import no node: module and no package.',
      severity: 'error',
      from: { path: '^src/(base|core)/', pathNot: testFile },
      to: { pathNot: '^src/' },
    },
    {
      name: 'one-emitter',
      comment: 'Extend Emitter of src/events/emitter.ts: what a listener throws must not cut our own work short.',
      severity: 'error',
      from: { path: '^src/(primary|worker|cache|synapse)/', pathNot: testFile },
      to: { path: '^(node:)?events$' },
    },
    {
      name: 'concrete-logs',
      comment: 'A log is chosen by cli, index or testing. The primary alone has a default: log/memory.ts.',
      severity: 'error',
      from: { path: '^src/', pathNot: ['^src/(log|primary|cli|testing)/', '^src/index\\.ts$', testFile] },
      to: { path: concreteLog },
    },
    {
      name: 'concrete-logs-primary',
      comment: 'The only concrete log that the primary may import is its default, log/memory.ts.',
      severity: 'error',
      from: { path: '^src/primary/', pathNot: testFile },
      to: { path: concreteLog, pathNot: '^src/log/memory\\.ts$' },
    },
    {
      name: 'concrete-transports',
      comment:
        'A transport is chosen by cli, index or testing. Primary and worker alone have a default: transport/tcp.ts.',
      severity: 'error',
      from: { path: '^src/', pathNot: ['^src/(transport|primary|worker|cli|testing)/', '^src/index\\.ts$', testFile] },
      to: { path: concreteTransport },
    },
    {
      name: 'concrete-transports-ends',
      comment: 'The only concrete transport that primary and worker may import is their default, transport/tcp.ts.',
      severity: 'error',
      from: { path: '^src/(primary|worker)/', pathNot: testFile },
      to: { path: concreteTransport, pathNot: '^src/transport/tcp\\.ts$' },
    },
    {
      name: 'no-native-module-at-the-door',
      comment: "`import 'rowcast'` loads no native module: log/sqlite.ts has an export of its own.",
      severity: 'error',
      from: { path: '^src/', pathNot: ['^src/(log|cli|testing)/', testFile] },
      to: { path: '^src/log/(sqlite|postgres|jetstream)' },
    },
    {
      name: 'native-module',
      comment: 'Only src/log/sqlite* may import better-sqlite3.',
      severity: 'error',
      from: { path: '^src/', pathNot: ['^src/log/sqlite', testFile] },
      to: { path: 'better-sqlite3' },
    },
    {
      name: 'door-opens-outward',
      comment: 'Nothing in src imports index.ts: import the file that has the name.',
      severity: 'error',
      from: { path: '^src/', pathNot: testFile },
      to: { path: '^src/index\\.ts$' },
    },
    {
      name: 'door-leaves-out',
      comment:
        'index.ts exports neither the command line nor the test tools (rowcast/testing has an export of its own).',
      severity: 'error',
      from: { path: '^src/index\\.ts$' },
      to: { path: '^src/(cli|testing)/' },
    },
    {
      name: 'no-cycles',
      comment: 'Files import each other in a circle (imports of types alone do not count).',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'no-tests-in-sources',
      comment: 'A source file imports a test file.',
      severity: 'error',
      from: { path: '^src/', pathNot: testFile },
      to: { path: [testFile, '^test/'] },
    },
    {
      name: 'resolvable',
      comment: 'The import leads nowhere.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: '(^|/)node_modules/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default', 'types'] },
  },
};
