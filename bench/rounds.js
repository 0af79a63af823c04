/** How often everything is measured: rounds of all subjects in turn, so that what disturbs the machine for a while disturbs all alike. */
export const rounds = Number(process.env.BENCH_ROUNDS ?? 3);
