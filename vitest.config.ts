import ts from 'typescript';
import { defineConfig, type TestProjectInlineConfiguration, type ViteUserConfig } from 'vitest/config';

/** A test that hangs is a fault: unit tests wait for events and have no reason to take long. */
const quickMs = 10_000;
/** These start processes or drive thousands of schedules. */
const slowMs = 120_000;

/** Node 20 has no decorators, and vite leaves them as they are: the compiler that users have makes them into plain code. */
const decorators: NonNullable<ViteUserConfig['plugins']>[number] = {
  name: 'decorators',
  enforce: 'pre',
  transform(code, id) {
    if (!id.endsWith('decorator.test.ts')) return undefined;
    const { outputText } = ts.transpileModule(code, {
      compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, inlineSourceMap: true },
    });
    return { code: outputText, map: null };
  },
};

function project(name: string, include: string[], timeoutMs: number): TestProjectInlineConfiguration {
  return { plugins: [decorators], test: { name, include, testTimeout: timeoutMs, hookTimeout: timeoutMs } };
}

const config: ViteUserConfig = defineConfig({
  test: {
    projects: [
      project('unit', ['src/**/*.test.ts'], quickMs),
      project('property', ['test/property/**/*.test.ts'], slowMs),
      project('conformance', ['test/conformance/**/*.test.ts', 'test/docs.test.ts'], slowMs),
      project('simulation', ['test/simulation/**/*.test.ts'], slowMs),
      project('fuzz', ['test/fuzz/**/*.test.ts'], slowMs),
      project(
        'e2e',
        [
          'test/e2e/**/*.test.ts',
          'test/interop/**/*.test.ts',
          'test/trials/**/*.test.ts',
          'examples/**/*.test.{ts,js}',
        ],
        slowMs,
      ),
    ],
    // An error that nobody awaited fails the run, even when every test passed.
    dangerouslyIgnoreUnhandledErrors: false,
    coverage: {
      provider: 'v8',
      include: ['src/**/*.ts'],
      exclude: ['src/**/*.test.ts', 'src/cli/**', 'src/testing/**'],
      reporter: ['text', 'html'],
      thresholds: {
        'src/core/**': { branches: 95 },
        'src/log/**': { branches: 95 },
      },
    },
  },
});

export default config;
