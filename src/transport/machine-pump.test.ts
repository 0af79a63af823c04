import { expect, test } from 'vitest';
import { VirtualClock } from '../testing/virtual-clock.ts';
import { type Machine, MachinePump } from './machine-pump.ts';

/** Notes its inputs; each puts one output in the queue. */
class NotingMachine implements Machine<string> {
  readonly inputs: string[] = [];
  readonly outputs: string[] = [];
  until: number | undefined;

  handleOpen(now: number): void {
    this.#note(`open at ${now}`);
  }

  handleBytes(now: number, chunk: Uint8Array): void {
    this.#note(`${Buffer.from(chunk).toString()} at ${now}`);
  }

  handleClosed(now: number, error?: Error): void {
    this.#note(`closed at ${now} ${error?.message}`);
  }

  handleTimeout(now: number): void {
    this.until = undefined;
    this.#note(`woken at ${now}`);
  }

  pollOutput(): string | undefined {
    return this.outputs.shift();
  }

  nextTimeout(): number | undefined {
    return this.until;
  }

  #note(text: string): void {
    this.inputs.push(text);
    this.outputs.push(`after ${text}`);
  }
}

function setUp(perform: (output: string, pump: MachinePump<string>) => void = () => {}) {
  const clock = new VirtualClock();
  const start = clock.now();
  const machine = new NotingMachine();
  const performed: string[] = [];
  const pump: MachinePump<string> = new MachinePump({
    machine,
    clock,
    perform: (output) => {
      performed.push(output);
      perform(output, pump);
    },
  });
  return { clock, start, machine, pump, performed };
}

test('what happens to the connection is an input with its time, and what the machine wants then is performed', () => {
  const { start, pump, performed } = setUp();
  pump.handleOpen();
  pump.handleBytes(Buffer.from('bytes'));
  // This machine does not care.
  pump.handleDrained();
  pump.handleClosed(new Error('why'));
  expect(performed).toEqual([`after open at ${start}`, `after bytes at ${start}`, `after closed at ${start} why`]);
});

test('the machine is woken when it wants to be, and not once it is over', () => {
  const { clock, start, machine, pump } = setUp();
  machine.until = start + 50;
  pump.drain();
  clock.step(start + 49);
  expect(machine.inputs).toEqual([]);
  clock.step(start + 50);
  expect(machine.inputs).toEqual([`woken at ${start + 50}`]);
  machine.until = start + 100;
  pump.drain();
  pump.close();
  clock.step(start + 200);
  expect(machine.inputs).toHaveLength(1);
});

test('an input from within an output is performed after the outputs before it, at the time when they began', () => {
  const { start, machine, pump, performed } = setUp((output, self) => {
    if (output !== 'first') return;
    expect(self.roughlyNow).toBe(start);
    self.handleBytes(Buffer.from('nested'));
    expect(performed).toEqual(['first']);
  });
  machine.outputs.push('first', 'second');
  pump.drain();
  expect(performed).toEqual(['first', 'second', `after nested at ${start}`]);
});

test('an output that throws does not stop the ones after it for good', () => {
  const { machine, pump, performed } = setUp((output) => {
    if (output === 'bad') throw new Error('bad');
  });
  machine.outputs.push('bad', 'good');
  expect(() => pump.drain()).toThrow('bad');
  pump.drain();
  expect(performed).toEqual(['bad', 'good']);
});
