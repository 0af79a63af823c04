#!/usr/bin/env node
import { existsSync } from 'node:fs';

const main = new URL('../dist/cli/main.js', import.meta.url);
if (existsSync(main)) {
  await import(main.href);
} else {
  console.error('rowcast: not built yet. Run `npm run build` (or `npm start`) in the checkout first.');
  process.exitCode = 1;
}
