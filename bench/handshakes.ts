/**
 * Compares how many handshakes a second of CPU time answers, here and in wireguard-go: `node out/bench/handshakes.js`.
 *
 * The responder has many peers, each of which sends initiations in turn; 8 of them wait for an answer at any time, which
 * is less than what either program takes for an attack. Each round runs both programs in turn; reported are medians, and
 * the median of the ratios within a round. Options: --rounds=N (5), --peers=N (500), --each=N initiations of each peer (4,
 * after one that does not count), --write (puts the result into the documentation).
 */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createVethPair, NetworkNamespace } from 'tuntap-native/net';
import { Endpoint, openUdp } from 'tuntap-native/tunnel';
import { formatConfig, generatePrivateKey, publicKey } from 'tuntap-native/wireguard';
import { importPrivateKey } from '#dist/wireguard/crypto.js';
import { ENVIRONMENT } from '#dist/wireguard/environment.js';
import { Handshake } from '#dist/wireguard/handshake.js';
import { IndexTable } from '#dist/wireguard/index-table.js';
import { configure, wireGuardGo } from '../examples/demo/wireguard-go.ts';
import { MACHINE, publish, RATIOS } from './blocks.ts';
import { cpuSeconds, median, option } from './measure.ts';

const ROUNDS = Number(option('rounds', '5'));
const PEERS = Number(option('peers', '500'));
const EACH = Number(option('each', '4'));
const TUNNEL = fileURLToPath(new URL('../examples/demo/tunnel.js', import.meta.url));
const PROGRAMS = ['tuntap-native', 'wireguard-go'] as const;
const RESPONDER = new Endpoint('192.0.2.1', 51820);
const WAITING = 8;
const RESPONSE = 2;
const TIMEOUT_MS = 20_000;

interface Initiator {
  readonly publicKey: string;
  /** A new initiation each time. */
  begin(): Buffer;
}

/** Initiators that do nothing else. */
function newInitiators(responder: string): Initiator[] {
  const key = Buffer.from(responder, 'base64');
  return Array.from({ length: PEERS }, () => {
    const privateKey = generatePrivateKey();
    const identity = importPrivateKey(Buffer.from(privateKey, 'base64'));
    const handshake = new Handshake(key, ENVIRONMENT, new IndexTable(ENVIRONMENT.randomBytes), undefined);
    handshake.remote.meet(identity);
    return {
      publicKey: publicKey(privateKey),
      begin: () => handshake.begin(identity, performance.now()) ?? Buffer.alloc(0),
    };
  });
}

/** Starts the responder in a namespace. @returns its process's id, and what ends it */
async function start(
  program: (typeof PROGRAMS)[number],
  namespace: NetworkNamespace,
  privateKey: string,
  initiators: readonly Initiator[],
  folder: string,
): Promise<{ readonly pid: number; stop(): Promise<void> }> {
  const configuration = {
    privateKey,
    listenPort: RESPONDER.port,
    addresses: ['10.9.0.1/16'],
    peers: initiators.map((initiator, i) => ({
      publicKey: initiator.publicKey,
      allowedIps: [`10.9.${1 + (i >> 8)}.${i & 255}/32`],
    })),
  };
  const file = join(folder, 'wg0.conf');
  const name = `wgh${process.pid}`;
  const [command, ...args] =
    program === 'wireguard-go' ? wireGuardGo(name) : [process.execPath, TUNNEL, file];
  writeFileSync(file, formatConfig({ ...configuration, mtu: 1420 }), { mode: 0o600 });
  const child = namespace.spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
  if (program === 'wireguard-go') await configure(namespace, name, 1420, configuration);
  else await new Promise((resolve) => child.stdout?.once('data', resolve));
  return {
    pid: child.pid ?? 0,
    stop: () => {
      child.kill();
      return closed;
    },
  };
}

/** Handshakes that one CPU second of the responder answers. */
async function measure(program: (typeof PROGRAMS)[number]): Promise<number> {
  await using a = await NetworkNamespace.create();
  await using b = await NetworkNamespace.create();
  await createVethPair(
    { name: 'eth0', namespace: a, addresses: ['192.0.2.1/24'], up: true },
    { name: 'eth0', namespace: b, addresses: ['192.0.2.2/24'], up: true },
  );
  const folder = mkdtempSync(join(tmpdir(), 'tuntap-bench-'));
  const privateKey = generatePrivateKey();
  const initiators = newInitiators(publicKey(privateKey));
  const responder = await start(program, a, privateKey, initiators, folder);
  const socket = openUdp({ namespace: b, address: '192.0.2.2', signal: AbortSignal.timeout(TIMEOUT_MS) });
  try {
    // Made beforehand, since making one costs as much as answering it.
    const rounds = Array.from({ length: 1 + EACH }, () => initiators.map((initiator) => initiator.begin()));
    const [first, rest] = [rounds[0], rounds.slice(1).flat()];
    const batches = socket.batches();
    const exchange = async (initiations: readonly Buffer[]): Promise<void> => {
      let sent = 0;
      for (; sent < WAITING; sent++) socket.send(initiations[sent], RESPONDER);
      for (let answered = 0; answered < initiations.length; ) {
        const { value: batch } = await batches.next();
        if (!batch) throw new Error(`${program} answered ${answered} of ${initiations.length} initiations`);
        for (const datagram of batch) {
          if (datagram[0] !== RESPONSE)
            throw new Error(`${program} answered by a message of type ${datagram[0]}`);
          answered++;
          if (sent < initiations.length) socket.send(initiations[sent++], RESPONDER);
        }
      }
    };
    await exchange(first);
    const before = cpuSeconds(responder.pid);
    await exchange(rest);
    return rest.length / (cpuSeconds(responder.pid) - before);
  } finally {
    await socket.close();
    await responder.stop();
    rmSync(folder, { recursive: true });
  }
}

const rounds: Record<(typeof PROGRAMS)[number], number>[] = [];
for (let round = 1; round <= ROUNDS; round++) {
  const figures = { 'tuntap-native': 0, 'wireguard-go': 0 };
  for (const program of PROGRAMS) {
    figures[program] = await measure(program);
    console.error(
      `round ${round}/${ROUNDS} ${program.padEnd(14)} ${figures[program].toFixed(0)} a CPU second`,
    );
  }
  rounds.push(figures);
}
const [ours, theirs] = PROGRAMS.map((program) => median(rounds.map((figures) => figures[program])));
const ratio = median(rounds.map((figures) => figures['tuntap-native'] / figures['wireguard-go']));
publish(
  'handshakes',
  `One CPU second answers ${ours.toFixed(0)} initiations, of wireguard-go ${theirs.toFixed(0)}: ${ratio.toFixed(2)} times as many\n` +
    `(${MACHINE}; medians of ${ROUNDS} rounds). ${RATIOS}`,
  'docs/wireguard.md',
);
