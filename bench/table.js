/**
 * Turns rounds into a table. A row is `{ name, values, base?, wanted?, note? }` with a value for
 * each round. `base` is the row to compare with, round by round. `wanted` is the bound:
 * `ratioAtLeast`, `ratioAtMost`, `atLeast`, `atMost`.
 */

export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export function ratios({ values, base }) {
  return base === undefined ? undefined : values.map((value, round) => value / base.values[round]);
}

/** Whether the median is within the bound; undefined without one. */
export function isMet(row) {
  if (row.wanted === undefined) return undefined;
  const { ratioAtLeast = -Infinity, ratioAtMost = Infinity, atLeast = -Infinity, atMost = Infinity } = row.wanted;
  const value = median(row.values);
  const ratio = median(ratios(row) ?? [NaN]);
  return value >= atLeast && value <= atMost && !(ratio < ratioAtLeast) && !(ratio > ratioAtMost);
}

const HEAD = ['', 'median', 'min', 'max', 'ratio', 'min..max', 'wanted', ''];

export function formatTable({ title, unit, rows }) {
  const lines = [HEAD, ...rows.map(cellsOf)];
  const widths = HEAD.map((_, i) => Math.max(...lines.map((line) => line[i].length)));
  const isText = (i) => i === 0 || i >= 6;
  const format = (line) =>
    line
      .map((cell, i) => (isText(i) ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
      .join('  ')
      .trimEnd();
  return [`${title} (${unit})`, ...lines.map(format), ''].join('\n');
}

/** Formats a table as Markdown. */
export function formatMarkdown({ title, unit, rows }) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [
    `**${title}** (${unit})`,
    '',
    line(HEAD),
    line(HEAD.map((_, i) => (i === 0 || i >= 6 ? '---' : '--:'))),
    ...rows.map((row) => line(cellsOf(row))),
    '',
  ].join('\n');
}

function cellsOf(row) {
  const { name, values, wanted = {}, note = '' } = row;
  const of = ratios(row);
  const bounds = Object.entries(wanted).map(
    ([bound, value]) =>
      `${bound.endsWith('Least') ? '>=' : '<='} ${formatNumber(value)}${bound.startsWith('ratio') ? ' x' : ''}`,
  );
  const met = isMet(row);
  return [
    name,
    ...[median(values), Math.min(...values), Math.max(...values)].map(formatNumber),
    of === undefined ? '' : `${formatNumber(median(of))} x`,
    of === undefined ? '' : `${formatNumber(Math.min(...of))}..${formatNumber(Math.max(...of))}`,
    bounds.join(', '),
    [met === undefined ? '' : met ? 'met' : 'MISSED', note].filter((text) => text !== '').join('; '),
  ];
}

function formatNumber(value) {
  if (Math.abs(value) >= 1_000) return Math.round(value).toLocaleString('en-US');
  return String(Number(value.toPrecision(3)));
}
