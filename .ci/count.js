/** Prints `N passed, N failed` for the results that vitest wrote. Arguments: the file, the exit code of the tests, that of the checks. */
import { readFileSync } from 'node:fs';

const [file, testCode, checkCode] = process.argv.slice(2);
const results = JSON.parse(readFileSync(file, 'utf8'));

const isFailed = (assertion) => assertion.status === 'failed';
// A file that could not be loaded has no test that failed: it counts as one.
const brokenFiles = results.testResults.filter(
  (suite) => suite.status === 'failed' && !suite.assertionResults.some(isFailed),
).length;
let failed = results.numFailedTests + brokenFiles;
// Errors that belong to no test (a rejection that nobody awaited) show in the exit code only.
if (testCode !== '0' && failed === 0) failed = 1;
if (checkCode !== '0') failed += 1;

console.log(`${results.numPassedTests} passed, ${failed} failed`);
