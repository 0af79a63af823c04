/** rowcast/testing: hold a log or transport of your own to the promises that ours keep. */

export { type RegisterTest, type TransportSuiteOptions, transportSuite } from './transport-suite.ts';
