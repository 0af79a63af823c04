/**
 * `rowcast doctor`: says what listens at an address, and what to do when it is not as expected.
 * Sends only what an observer may send.
 */

import { resolvable } from '../base/resolvable.ts';
import { type ErrorCode, messageOf, quote, RowcastError } from '../core/model/errors.ts';
import { formatEra, type History, parseHistory } from '../core/model/history.ts';
import { Examination, MAX_EXAMINED_BYTES, type ExaminationOutput, type Finding } from '../synapse/examination.ts';
import { MachinePump } from '../transport/machine-pump.ts';
import { tcpTransport } from '../transport/tcp.ts';
import { type Address, formatAddress } from '../transport/transport.ts';
import { print } from './row-output.ts';
import { type ExitCode, exitCodes, fail, type Failure, type Terminal } from './terminal.ts';

export interface DoctorOptions {
  readonly connect: Address;
  readonly server?: string;
  readonly name: string;
  readonly json?: true;
  /** How long the whole examination may take, in seconds. */
  readonly timeout: number;
}

interface Diagnosis {
  readonly address: string;
  readonly isFine: boolean;
  /** What is wrong and what to do. Empty when all is fine. */
  readonly problems: readonly Failure[];
  readonly finding: Finding | undefined;
}

export async function doctor(options: DoctorOptions, terminal: Terminal): Promise<ExitCode> {
  const address = formatAddress(options.connect);
  let diagnosis: Diagnosis;
  try {
    const finding = await examine(options, terminal);
    if (finding === undefined) return exitCodes.failed;
    const problems = problemsOf(finding, options);
    diagnosis = { address, isFine: problems.length === 0, problems, finding };
  } catch (error) {
    const code = error instanceof RowcastError ? error.code : 'CONNECTION_LOST';
    diagnosis = { address, isFine: false, problems: [{ code, message: messageOf(error) }], finding: undefined };
  }
  await print(
    terminal.stdout,
    options.json === true ? `${JSON.stringify(forMachines(diagnosis))}\n` : forPeople(diagnosis),
  );
  for (const failure of diagnosis.problems) fail(terminal, failure);
  return diagnosis.isFine ? exitCodes.fine : exitCodes.failed;
}

type Ending = Exclude<ExaminationOutput, { readonly kind: 'transmit' }>;

/**
 * Undefined when a signal stopped it.
 * @throws Error when there was no connection
 */
async function examine(
  { connect, name, timeout }: DoctorOptions,
  { clock, signal }: Terminal,
): Promise<Finding | undefined> {
  const examination = new Examination({
    workerName: name,
    address: formatAddress(connect),
    timeoutMs: timeout * 1_000,
  });
  const { promise, resolve } = resolvable<Ending | undefined>();
  const pump = new MachinePump<ExaminationOutput>({
    machine: examination,
    clock,
    perform: (output) => {
      if (output.kind === 'transmit') connection.write(Buffer.from(output.text));
      else resolve(output);
    },
  });
  const connection = tcpTransport.connect(connect, pump);
  examination.handleStart(clock.now());
  pump.drain();
  const stop = (): void => resolve(undefined);
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  try {
    const ending = await promise;
    if (ending?.kind === 'unreachable') throw ending.error;
    return ending?.finding;
  } finally {
    signal.removeEventListener('abort', stop);
    pump.close();
    connection.abort();
  }
}

const services: Readonly<Record<Exclude<Finding['kind'], 'primary'>, string>> = {
  http: 'an HTTP server listens there: replication has a port of its own (in Synapse a listener of type replication, by custom 9092)',
  tls: 'a server that wants TLS listens there: replication is plain text; use the port of the replication listener',
  redis:
    'a Redis server listens there: a Synapse of 1.67 or later replicates over Redis alone, which Rowcast does not speak',
  nats: 'a NATS server listens there: use the port of the primary',
  ssh: 'an SSH server listens there: use the port of the primary',
  mail: 'a mail server listens there: use the port of the primary',
  silent:
    'something listens there and says nothing: a primary says SERVER at once; is it the right port, and does the process still run?',
  closed:
    'something listens there and hangs up without a word: a TLS server, a database, or a primary that stops; is it the right port?',
  unknown: 'something listens there that is no primary: it does not begin with SERVER',
};

function problemsOf(finding: Finding, { server, timeout }: DoctorOptions): Failure[] {
  if (finding.kind !== 'primary') {
    const said = finding.said === '' ? '' : `; it said: ${quote(finding.said)}`;
    return [problem('NOT_A_PRIMARY', `${services[finding.kind]}${said}`)];
  }
  const { serverName, dialect, errors, positions, cut } = finding;
  const problems: Failure[] = [];
  if (server !== undefined && serverName !== server) {
    const text = `the primary is called ${quote(serverName ?? '')}, expected ${server}: check the address or the expected name`;
    problems.push(problem('WRONG_SERVER', text));
  }
  if (dialect?.isSupported === false) {
    const text = `its dialect is ${dialect.name}: from 1.13 on a worker fetches old rows over HTTP, which Rowcast does not do; rows that it sends cannot be followed`;
    problems.push(problem('NOT_SUPPORTED', text));
  }
  if (cut === 'time') {
    const text = `it was not finished within ${timeout} s, and what came after that was not read: --timeout gives it longer`;
    problems.push(problem('EXAMINATION_CUT', text));
  }
  if (cut === 'bytes') {
    const text = `it sent over ${MAX_EXAMINED_BYTES / 1024 / 1024} MiB, and what came after that was not read: it has very many streams, or never stops sending`;
    problems.push(problem('EXAMINATION_CUT', text));
  }
  for (const error of errors) problems.push(problem('PEER_ERROR', `the primary said ${quote(error)}`));
  if (positions.length === 0 && problems.length === 0) {
    const text = 'the primary told no position of any stream: it has none, or does not answer REPLICATE';
    problems.push(problem('UNKNOWN_STREAM', text));
  }
  return problems;
}

function problem(code: ErrorCode, message: string): Failure {
  return { code, message };
}

function forPeople({ address, finding, isFine }: Diagnosis): string {
  if (finding?.kind !== 'primary') return `${address}: no primary\n`;
  const { serverName, dialect, eras, positions, greetingMs, answerMs } = finding;
  const lines = [
    `address   ${address}`,
    `server    ${quote(serverName ?? '')}`,
    `dialect   ${dialect!.name}`,
    ...(eras === undefined ? [] : [`log       ${describe(eras.durable)}`, `in memory ${describe(eras.volatile)}`]),
    `greeting  ${formatMs(greetingMs)} after connecting`,
    `answer    ${formatMs(answerMs)} after REPLICATE`,
    `streams   ${positions.length}`,
    ...positions.map(
      ({ stream, instance, token }) =>
        `  ${quote(stream)} ${token}${instance === undefined ? '' : ` (written by ${quote(instance)})`}`,
    ),
    isFine ? 'fine: a worker can follow it' : 'not fine',
  ];
  return `${lines.join('\n')}\n`;
}

function describe(history: History): string {
  const { logId, ...era } = parseHistory(history)!;
  return `${logId}, era ${formatEra(era)}`;
}

function forMachines({ address, isFine, problems, finding }: Diagnosis): object {
  if (finding === undefined) return { address, isFine, problems };
  const { kind, serverName, dialect, eras, positions, greetingMs, answerMs, errors, cut } = finding;
  return {
    address,
    isFine,
    problems,
    kind,
    server: serverName,
    dialect: dialect?.name,
    eras,
    greetingMs,
    answerMs,
    streams: positions,
    errors,
    cut: cut ?? null,
  };
}

function formatMs(ms: number | undefined): string {
  return ms === undefined ? 'nothing' : `${ms} ms`;
}
