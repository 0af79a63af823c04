/**
 * Draws the charts of docs/benchmarks/ from results of `npm run bench -- --json FILE`.
 *
 *   npm run bench:plot                        from docs/benchmarks/results.json
 *   npm run bench:plot -- FILE [DIRECTORY]    from others, or to elsewhere
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import * as echarts from 'echarts';
import { formatMarkdown, median } from './table.js';

const ours = fileURLToPath(new URL('../docs/benchmarks/', import.meta.url));
const [file = path.join(ours, 'results.json'), directory = ours] = process.argv.slice(2);
const { machine, date, results } = JSON.parse(readFileSync(file, 'utf8'));
const under = `node ${machine.node}, ${machine.cores} cores of ${machine.cpu}, ${date.slice(0, 10)}; median, whiskers from least to most`;

/** One hue for each system, stronger for the durable one or for many rows at a time. */
const colors = [
  [/^raw/, '#999'],
  [/^Rowcast, (batches|durable)/, '#1f5fbf'],
  [/^Rowcast/, '#7fb2f0'],
  [/^Redis.*100/, '#c0392b'],
  [/^Redis/, '#eba59d'],
  [/^NATS.*100/, '#2e8b57'],
  [/^NATS/, '#a3d3b6'],
];
const colorOf = (name) => colors.find(([pattern]) => pattern.test(name))?.[1];

// In the file a base is a name; here it becomes the row itself again.
for (const table of Object.values(results).flat()) {
  for (const row of table.rows) if (row.base !== undefined) row.base = table.rows.find(({ name }) => name === row.base);
}
const charts = { 'fanout.svg': throughputByN, 'latency.svg': latency, 'connections.svg': costByConnections };
mkdirSync(directory, { recursive: true });
for (const [name, draw] of Object.entries(charts)) {
  const chart = draw();
  if (chart === undefined) {
    console.log(`${name}: ${file} has no results for it`);
    continue;
  }
  const target = path.join(directory, name);
  writeFileSync(target, render(chart));
  console.log(target);
}

const note = `Made by \`npm run bench:plot\`: node ${machine.node}, ${machine.cores} cores of ${machine.cpu}, ${machine.memoryGiB} GiB, ${date.slice(0, 16).replace('T', ' ')} UTC.`;
writeFileSync(
  path.join(directory, 'tables.md'),
  ['# Tables', '', note, '', ...Object.values(results).flat().map(formatMarkdown)].join('\n'),
);

function throughputByN() {
  const tables = (results.fanout ?? []).filter(({ title }) => title.startsWith('Fan-out'));
  if (tables.length === 0) return undefined;
  return bars({
    title: 'Rows a second that reach N workers',
    unit: 'million rows/s, all workers together',
    groups: tables.map(({ n }) => `N = ${n}`),
    series: tables[0].rows.map(({ name }) => ({
      name,
      values: tables.map(({ rows }) => rows.find((row) => row.name === name).values),
    })),
  });
}

function latency() {
  const table = results.latency?.[0];
  if (table === undefined) return undefined;
  const subjects = [...new Set(table.rows.map(({ name }) => name.split(': ')[0]))];
  const percentiles = [...new Set(table.rows.map(({ name }) => name.split(': ')[1]))];
  return bars({
    title: table.title,
    unit: 'ms from append to handler',
    groups: percentiles,
    series: subjects.map((name) => ({
      name,
      values: percentiles.map((percentile) => table.rows.find((row) => row.name === `${name}: ${percentile}`).values),
    })),
  });
}

function costByConnections() {
  const all = results.scale?.flatMap((table) => table.rows) ?? [];
  const rows = all.filter(({ n }) => n !== undefined);
  if (rows.length === 0) return undefined;
  const fitted = (start) => median(all.find(({ name }) => name.startsWith(`fitted: ${start}`)).values);
  const byItself = fitted('a row');
  const eachMore = fitted('a further connection');
  return {
    ...frame('What a row costs the primary, by connections'),
    xAxis: { type: 'log', name: 'connections', nameLocation: 'middle', nameGap: 30 },
    yAxis: { type: 'log', name: 'µs of CPU a row', nameLocation: 'middle', nameGap: 50 },
    series: [
      {
        name: 'measured',
        type: 'line',
        data: rows.map(({ n, values }) => [n, median(values)]),
        symbolSize: 8,
        color: '#1f5fbf',
      },
      {
        name: `fitted: ${Math.round(byItself)} µs + ${eachMore.toFixed(1)} µs a connection`,
        type: 'line',
        data: rows.map(({ n }) => [n, byItself + eachMore * n]),
        showSymbol: false,
        lineStyle: { type: 'dashed' },
        color: '#888',
      },
      whiskers(rows.map(({ n, values }) => [n, Math.min(...values), Math.max(...values)])),
    ],
  };
}

function bars({ title, unit, groups, series }) {
  return {
    ...frame(title),
    xAxis: { type: 'category', data: groups },
    yAxis: { type: 'value', name: unit, nameLocation: 'middle', nameGap: 40 },
    series: series.flatMap(({ name, values }, i) => [
      { name, type: 'bar', data: values.map(median), color: colorOf(name) },
      whiskers(
        values.map((ofGroup, group) => [group, Math.min(...ofGroup), Math.max(...ofGroup)]),
        { index: i, of: series.length },
      ),
    ]),
  };
}

/** A line from least to most. The lines of bars in one group stand side by side. */
function whiskers(data, { index, of } = { index: 0, of: 1 }) {
  return {
    type: 'custom',
    silent: true,
    data,
    encode: { x: 0, y: [1, 2] },
    z: 10,
    renderItem: (_parameters, api) => {
      const layouts = of === 1 ? undefined : api.barLayout({ count: of });
      const shift = layouts === undefined ? 0 : layouts[index].offsetCenter;
      const [x, low] = api.coord([api.value(0), api.value(1)]);
      const [, high] = api.coord([api.value(0), api.value(2)]);
      return {
        type: 'line',
        shape: { x1: x + shift, y1: low, x2: x + shift, y2: high },
        style: { stroke: '#222', lineWidth: 1.5 },
      };
    },
  };
}

function frame(title) {
  return {
    animation: false,
    backgroundColor: '#fff',
    textStyle: { fontFamily: 'Helvetica, Arial, sans-serif' },
    title: { text: title, subtext: under, left: 10, textStyle: { fontSize: 16 } },
    // Fonts differ between machines: the spaces leave room for a wider one.
    legend: {
      bottom: 5,
      left: 10,
      right: 10,
      itemWidth: 14,
      textStyle: { fontSize: 11 },
      formatter: (name) => name.padEnd(Math.ceil(name.length * 1.15), '\u00a0'),
    },
    grid: { left: 70, right: 30, top: 80, bottom: 110 },
  };
}

function render(option) {
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width: 800, height: 460 });
  chart.setOption(option);
  const svg = chart.renderToSVGString();
  chart.dispose();
  return `${svg}\n`;
}
