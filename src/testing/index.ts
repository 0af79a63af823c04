/** rowcast/testing: test a log or transport of your own against the promises that ours keep. */

export { type DifferentialTestOptions, differentialTest } from './differential.ts';
export { type LogFeatures, type LogSuiteOptions, logSuite } from './log-suite.ts';
export type { CreateLog, CreateLogOptions } from './log-suite-place.ts';
export type { RestoreLog } from './log-suite-backup.ts';
export { writeUntilKilled } from './log-writer.ts';
export { type RegisterTest, type TransportSuiteOptions, transportSuite } from './transport-suite.ts';
export { runWorld } from './world.ts';
export {
  describeFailure,
  type WorldFailure,
  type WorldOptions,
  type WorldParts,
  type WorldResult,
} from './world-result.ts';
export type { WorldShape } from './world-shape.ts';
