/**
 * A machine's table of transitions as ARCHITECTURE.md draws it: for each state, the inputs and
 * where they lead.
 */

type Table = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** Leaves out faults of the peer and inputs that never happen. */
export function drawTransitions(table: Table): string {
  const width = Math.max(...Object.keys(table).map((state) => state.length));
  const lines: string[] = [];
  for (const [state, row] of Object.entries(table)) {
    const inputs = new Map<string, string[]>();
    for (const [input, next] of Object.entries(row)) {
      if (next !== 'fault' && next !== 'never') inputs.set(next, [...(inputs.get(next) ?? []), input]);
    }
    let name = state;
    for (const [next, leading] of inputs) {
      lines.push(`${name.padEnd(width)} ── ${leading.join(', ')} ──▶ ${next}`);
      name = '';
    }
  }
  return lines.join('\n');
}
