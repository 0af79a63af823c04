/** `rowcast doctor`: what listens at an address, and what to do when it is not what it should be. Says no more than an observer may. */

import { Alarm } from '../base/alarm.ts';
import { messageOf, quote } from '../core/model/errors.ts';
import { Examination, type Finding } from '../synapse/examination.ts';
import { tcpTransport } from '../transport/tcp.ts';
import { type Address, type Connection, formatAddress } from '../transport/transport.ts';
import { print } from './row-output.ts';
import { type ExitCode, exitCodes, say, type Terminal } from './terminal.ts';

export interface DoctorOptions {
  readonly connect: Address;
  readonly server?: string;
  readonly name: string;
  readonly json?: true;
}

interface Diagnosis {
  readonly address: string;
  readonly isFine: boolean;
  /** What is wrong and what to do; empty when all is fine. */
  readonly problems: readonly string[];
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
    diagnosis = { address, isFine: false, problems: [messageOf(error)], finding: undefined };
  }
  await print(
    terminal.stdout,
    options.json === true ? `${JSON.stringify(forMachines(diagnosis))}\n` : forPeople(diagnosis),
  );
  for (const problem of diagnosis.problems) say(terminal, problem);
  return diagnosis.isFine ? exitCodes.fine : exitCodes.failed;
}

/** Undefined: we were told to stop. @throws ConnectionError when there was no connection */
async function examine({ connect, name }: DoctorOptions, { clock, signal }: Terminal): Promise<Finding | undefined> {
  return new Promise((resolve, reject) => {
    const examination = new Examination(name);
    let isOpen = false;
    const alarm = new Alarm(clock, () => {
      if (isOpen) examination.handleTimeout(clock.now());
      else
        end(() =>
          reject(
            new Error(
              `cannot connect to ${formatAddress(connect)}: nobody answered within ${CONNECT_TIMEOUT_MS / 1_000} s; check the address and the firewalls`,
            ),
          ),
        );
      drain();
    });
    const drain = (): void => {
      for (let output = examination.pollOutput(); output !== undefined; output = examination.pollOutput()) {
        if (output.kind === 'transmit') connection.write(Buffer.from(output.text));
        else {
          const { finding } = output;
          end(() => resolve(finding));
        }
      }
      if (isOpen) alarm.setBy(examination.nextTimeout());
    };
    const end = (settle: () => void): void => {
      alarm.cancel();
      signal.removeEventListener('abort', stop);
      connection.abort();
      settle();
    };
    const stop = (): void => end(() => resolve(undefined));
    const connection: Connection = tcpTransport.connect(connect, {
      handleOpen: () => {
        isOpen = true;
        examination.handleOpen(clock.now());
        drain();
      },
      handleBytes: (chunk) => {
        examination.handleBytes(clock.now(), chunk);
        drain();
      },
      handleDrained: () => {},
      handleClosed: (error) => {
        if (!isOpen) return end(() => reject(error ?? new Error(`${formatAddress(connect)} ended the connection`)));
        examination.handleClosed();
        drain();
      },
    });
    alarm.setBy(clock.now() + CONNECT_TIMEOUT_MS);
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
  });
}

const CONNECT_TIMEOUT_MS = 5_000;

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

function problemsOf(finding: Finding, { server }: DoctorOptions): string[] {
  if (finding.kind !== 'primary') {
    const said = finding.said === '' ? '' : `; it said: ${quote(finding.said)}`;
    return [`${services[finding.kind]}${said}`];
  }
  const { serverName, dialect, errors, positions } = finding;
  const problems: string[] = [];
  if (server !== undefined && serverName !== server)
    problems.push(
      `the primary is called ${quote(serverName ?? '')}, expected ${server}: check the address or the expected name`,
    );
  if (dialect?.isSupported === false) {
    problems.push(
      `its dialect is ${dialect.name}: from 1.13 on a worker fetches old rows over HTTP, which Rowcast does not do; rows that it sends cannot be followed`,
    );
  }
  for (const error of errors) problems.push(`the primary said ${quote(error)}`);
  if (positions.length === 0 && problems.length === 0)
    problems.push('the primary told no position of any stream: it has none, or does not answer REPLICATE');
  return problems;
}

function forPeople({ address, finding, isFine }: Diagnosis): string {
  if (finding?.kind !== 'primary') return `${address}: no primary\n`;
  const { serverName, dialect, greeting, positions, greetingMs, answerMs } = finding;
  const lines = [
    `address   ${address}`,
    `server    ${quote(serverName ?? '')}`,
    `dialect   ${dialect!.name}`,
    ...(greeting?.logId === undefined
      ? []
      : [
          `log       ${quote(greeting.logId)}${greeting.volatileLogId === undefined ? '' : `, in memory ${quote(greeting.volatileLogId)}`}`,
        ]),
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

function forMachines({ address, isFine, problems, finding }: Diagnosis): object {
  if (finding === undefined) return { address, isFine, problems };
  const { kind, serverName, dialect, greeting, positions, greetingMs, answerMs, errors } = finding;
  return {
    address,
    isFine,
    problems,
    kind,
    server: serverName,
    dialect: dialect?.name,
    logId: greeting?.logId,
    volatileLogId: greeting?.volatileLogId,
    greetingMs,
    answerMs,
    streams: positions,
    errors,
  };
}

function formatMs(ms: number | undefined): string {
  return ms === undefined ? 'nothing' : `${ms.toFixed(1)} ms`;
}
