/** Rounds become a median with its spread. */

export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export function formatTable({ title, unit, rows }) {
  const head = ['', 'median', 'min', 'max', ''];
  const lines = rows.map(({ name, values, note = '' }) => [name, ...[median(values), Math.min(...values), Math.max(...values)].map(formatNumber), note]);
  const widths = head.map((_, i) => Math.max(head[i].length, ...lines.map((line) => line[i].length)));
  const format = (line) =>
    line
      .map((cell, i) => (i === 0 || i === 4 ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
      .join('  ')
      .trimEnd();
  return [`${title} (${unit})`, format(head), ...lines.map(format), ''].join('\n');
}

function formatNumber(value) {
  if (Math.abs(value) >= 1_000) return Math.round(value).toLocaleString('en-US');
  return value.toPrecision(3);
}
