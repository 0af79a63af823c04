import { expect, test } from 'vitest';
import { encodeCommand } from './codec.ts';
import {
  formatPrimaryGreeting,
  formatWorkerGreeting,
  parsePrimaryGreeting,
  parseWorkerGreeting,
  type PrimaryEras,
} from './greeting.ts';

const eras: PrimaryEras = {
  durable: '8f3c1d2e4b5a6978.1764281400.a1b2c3d4',
  volatile: '00112233445566ff.1764281411.00ff00ff',
  others: [],
};
/** With two further sources. */
const more: PrimaryEras = {
  ...eras,
  others: ['cccccccccccccccc.1764281411.00000001', 'dddddddddddddddd.1764281411.00000002'],
};

test('the data of the first PING is pinned', () => {
  expect(formatWorkerGreeting(1490197665630.7, { wantsAttributes: false })).toBe('1490197665630 rowcast/2');
  expect(formatWorkerGreeting(1490197665630.7, { wantsAttributes: true })).toBe('1490197665630 rowcast/2 attr');
  expect(formatPrimaryGreeting(1490197665618.2, eras)).toBe(
    '1490197665618 rowcast/2 log=8f3c1d2e4b5a6978.1764281400.a1b2c3d4 mem=00112233445566ff.1764281411.00ff00ff',
  );
  expect(formatPrimaryGreeting(1, more)).toBe(
    `${formatPrimaryGreeting(1, eras)} src=cccccccccccccccc.1764281411.00000001 src=dddddddddddddddd.1764281411.00000002`,
  );
});

test('what a primary says of itself is what a worker reads', () => {
  for (const said of [eras, more]) expect(parsePrimaryGreeting(formatPrimaryGreeting(1, said))).toEqual(said);
});

test('what a worker says of itself is what a primary reads', () => {
  for (const wantsAttributes of [true, false])
    expect(parseWorkerGreeting(formatWorkerGreeting(1, { wantsAttributes }))).toEqual({ wantsAttributes });
});

test('each is one PING line', () => {
  for (const data of [formatPrimaryGreeting(1, eras), formatWorkerGreeting(1, { wantsAttributes: true })])
    expect(encodeCommand({ name: 'PING', data })).toBe(`PING ${data}`);
});

test.each([
  '1490197665618',
  '',
  'rowcast',
  'rowcast/20',
  'xrowcast/2',
  'ROWCAST/2',
  '1490197665618 rowcast/1 log=8f3c streams=events',
  '1 log=8f3c1d2e4b5a6978.1764281400.a1b2c3d4 mem=00112233445566ff.1764281411.00ff00ff attr',
])('free text that does not say rowcast/2 says nothing: %j', (data) => {
  expect(parseWorkerGreeting(data)).toBeUndefined();
  expect(parsePrimaryGreeting(data)).toBeUndefined();
});

test('words that are not known are left for later versions', () => {
  const data = formatPrimaryGreeting(1, eras).replace('rowcast/2', 'color=blue rowcast/3 rowcast/2 ===');
  expect(parsePrimaryGreeting(`${data} logs=2 log=8f3c`)).toEqual(eras);
  expect(parseWorkerGreeting('1 color=blue rowcast/2 attr=x')).toEqual({ wantsAttributes: false });
  expect(parseWorkerGreeting('1 rowcast/2 color=blue attr ')).toEqual({ wantsAttributes: true });
});

const { durable, volatile } = eras;

test.each([
  ['no eras', '1 rowcast/2'],
  ['an era of one log only', `1 rowcast/2 log=${durable}`],
  ['an era of one log only', `1 rowcast/2 mem=${volatile}`],
  ['an era that is none', `1 rowcast/2 log=8f3c mem=${volatile}`],
  ['an era that is none', `1 rowcast/2 log=${durable} mem=`],
  ['a source that is none', `1 rowcast/2 log=${durable} mem=${volatile} src=8f3c`],
  ['a source twice', `1 rowcast/2 log=${durable} mem=${volatile} src=${durable}`],
  ['too many sources', formatPrimaryGreeting(1, { durable, volatile, others: manyEras(15) })],
  ['two eras of one log', `1 rowcast/2 log=${durable} mem=8f3c1d2e4b5a6978.1764281411.00ff00ff`],
])('a primary with %s promises nothing: %j', (_what, data) => {
  expect(parsePrimaryGreeting(data)).toBeUndefined();
});

test('as many sources as one primary may have are read', () => {
  const said = { durable, volatile, others: manyEras(14) };
  expect(parsePrimaryGreeting(formatPrimaryGreeting(1, said))).toEqual(said);
});

function manyEras(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${String(i).padStart(16, '0')}.1764281411.00000002`);
}
