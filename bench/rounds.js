/**
 * How often everything is measured. A round has all subjects in turn, so that a disturbance of the
 * machine affects all alike.
 */
export const rounds = Number(process.env.BENCH_ROUNDS ?? 3);
