/** What the compiler knows of streams. `npm run check:types` is what fails here. */

import { describe, expectTypeOf, test } from 'vitest';
import { z } from 'zod';
import { type Batch, createPrimary, defineStream, defineStreams, type Primary, type PrimaryOptions } from '../index.ts';
import type { RowValidator, Stream, StreamPattern, Worker } from '../index.ts';
import { memoryLog } from '../log/memory.ts';

interface Order {
  readonly id: number;
}

const Payment = z.object({
  id: z.coerce.number<string>(),
  at: z.coerce.date<string>(),
  kind: z.string().default('card'),
});
type PaymentIn = { id: string; at: string; kind?: string | undefined };
type PaymentOut = { id: number; at: Date; kind: string };

/** Calls that only the compiler sees. */
function compiles(_calls: (primary: Primary, worker: Worker) => unknown): void {}

describe('the types of a stream', () => {
  test('are those that its validator takes and gives', () => {
    const payments = defineStream('payments', { row: Payment });
    expectTypeOf(payments).toEqualTypeOf<Stream<PaymentIn, PaymentOut, 'payments'>>();
    const rooms = defineStreams('room:*', { row: Payment, retain: { rows: 5 } });
    expectTypeOf(rooms).toEqualTypeOf<StreamPattern<PaymentIn, PaymentOut, 'room:*'>>();
    expectTypeOf(rooms.stream('room:1')).toEqualTypeOf<Stream<PaymentIn, PaymentOut>>();
  });

  test('are those of a validator of any make', () => {
    const typed: RowValidator<string, number> = {
      '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value: Number(value) }) },
    };
    expectTypeOf(defineStream('a', { row: typed })).toEqualTypeOf<Stream<string, number, 'a'>>();
    const untyped = {
      '~standard': { version: 1, vendor: 'test', validate: (text: unknown) => ({ value: Number(text) }) },
    } as const;
    expectTypeOf(defineStream('a', { row: untyped })).toEqualTypeOf<Stream<unknown, number, 'a'>>();
  });

  test('are given as type arguments where there is no validator, and unknown without', () => {
    expectTypeOf(defineStream<Order>('orders')).toEqualTypeOf<Stream<Order>>();
    expectTypeOf(defineStream<string, number>('orders')).toEqualTypeOf<Stream<string, number>>();
    expectTypeOf(defineStreams<Order>('order:*')).toEqualTypeOf<StreamPattern<Order>>();
    expectTypeOf(defineStream('orders')).toEqualTypeOf<Stream<unknown, unknown, 'orders'>>();
    const annotated: Stream<Order> = defineStream('orders');
    expectTypeOf(annotated).toExtend<Stream>();
  });
});

describe('rows', () => {
  test('append takes what the validator takes', () => {
    const payments = defineStream('payments', { row: Payment });
    const orders = defineStream<Order>('orders');
    compiles((primary) => primary.append(payments, [{ id: '1', at: '2020-01-01' }]));
    // @ts-expect-error -- what the validator gives, which is not what it takes
    compiles((primary) => primary.append(payments, [{ id: 1, at: new Date(), kind: 'card' }]));
    // @ts-expect-error -- a field is missing
    compiles((primary) => primary.append(payments, [{ id: '1' }]));
    // @ts-expect-error -- a row of another type does not widen the stream's
    compiles((primary) => primary.append(orders, [{ id: 1 }, { id: 'two' }]));
    compiles((primary) => primary.append('orders', [{ id: 1 }, 'anything']));
    compiles((primary) => primary.append<Order>('orders', [{ id: 1 }]));
    // @ts-expect-error -- not what the type argument says
    compiles((primary) => primary.append<Order>('orders', [{ id: 'one' }]));
  });

  test('subscribers get what the validator gives', () => {
    const payments = defineStream('payments', { row: Payment });
    compiles((_primary, worker) =>
      worker.subscribe(payments, {}, (batch) => void expectTypeOf(batch).toEqualTypeOf<Batch<PaymentOut>>()),
    );
    compiles((_primary, worker) => expectTypeOf(worker.follow(payments)).toExtend<AsyncIterable<Batch<PaymentOut>>>());
    // @ts-expect-error -- a handler of what the validator takes
    compiles((_primary, worker) => worker.subscribe(payments, {}, (_batch: Batch<PaymentIn>) => {}));
    compiles((_primary, worker) => worker.subscribe(payments, {}, (_batch: Batch<{ at: Date }>) => {}));
    compiles((_primary, worker) => worker.subscribe<Order>('orders', {}, ({ rows }) => void rows[0]?.id));
    compiles((_primary, worker) =>
      worker.subscribe('orders', {}, ({ rows }) => void expectTypeOf(rows).toEqualTypeOf<readonly unknown[]>()),
    );
  });
});

describe('a second definition of a name', () => {
  const name = 'primary';
  const log = memoryLog();
  const orders = defineStream('orders', { row: z.object({ id: z.number() }) });
  const ordersToo = defineStream('orders', { row: z.string() });
  const rooms = defineStreams('room:*');

  test('does not compile where the compiler knows both names, and the message says which', () => {
    // @ts-expect-error -- "orders is declared twice"
    compiles(() => createPrimary({ name, log, streams: [orders, defineStream('stock'), ordersToo] }));
    compiles(() => createPrimary({ name, log, streams: ['stock', orders, rooms] }));
    // @ts-expect-error -- "stock is declared twice"
    compiles(() => createPrimary({ name, log, streams: ['stock', defineStream('stock')] }));
    const again = defineStreams('room:*', { row: z.string() });
    // @ts-expect-error -- "room:* is declared twice"
    compiles(() => createPrimary({ name, log, streams: [rooms, orders, again] }));
  });

  test('other names compile, also those that only the run time knows', () => {
    const id: string = name;
    const either = defineStream(id === 'a' ? 'a' : 'b');
    const options: PrimaryOptions = { name, log, streams: [orders] };
    compiles(() =>
      createPrimary({ name, log, streams: [orders, defineStream('stock'), rooms, defineStreams('user:*')] }),
    );
    compiles(() =>
      createPrimary({ name, log, streams: [defineStream(id), defineStream<Order>('x'), defineStream(id)] }),
    );
    compiles(() => createPrimary({ name, log, streams: [defineStream(`room:${id}`), defineStream(`room:${name}`)] }));
    compiles(() => createPrimary({ name, log, streams: [either, defineStream('a')] }));
    compiles(() => createPrimary({ name, log, streams: ['a', 'b'].map((each) => defineStream(each)) }));
    compiles(() => createPrimary({ name, log, streams: [] }));
    compiles(() => createPrimary(options));
    compiles(() => createPrimary({ ...options, tailBytes: 0 }));
  });
});
