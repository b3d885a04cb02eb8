/**
 * How much more several threads send through a tunnel of openWireGuard: `node out/bench/wireguard-cores.js`.
 *
 * One host floods the tunnel with UDP, the other has its end of it and drops the data before its socket, so that only
 * sending is measured: what leaves by the wire. Each round runs each case once, in turn; reported are medians of the
 * ratios within a round.
 *
 * 1. Sealing: each sealing thread is in a CPU group of its own, all with the same small quota (cgroup v1), and nothing
 *    else has one. So a machine with few cores shows how sealing scales.
 * 2. Throughput: no quotas. What the flood itself takes is missing to the tunnel.
 *
 * Options: --rounds=N (5), --seconds=N (2), --quota=PERCENT (5), --threads=N,N (1,2,4), --only=sealing or --only=throughput.
 */

import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { cpus, getPriority, setPriority } from 'node:os';
import { join } from 'node:path';
import { setImmediate, setTimeout } from 'node:timers/promises';
import { PacketBatch } from 'tuntap-native';
import { createVethPair, NetworkNamespace } from 'tuntap-native/net';
import { Endpoint, openUdp } from 'tuntap-native/tunnel';
import { generatePrivateKey, openWireGuard, publicKey } from 'tuntap-native/wireguard';
import { median, option, pathOf, run } from './measure.ts';
import { endPart, endParts, startPart } from './parts.ts';

const ROUNDS = Number(option('rounds', '5'));
const SECONDS = Number(option('seconds', '2'));
const QUOTA = Number(option('quota', '5'));
const THREADS = option('threads', '1,2,4').split(',').map(Number);
const ONLY = option('only', '');
const CPU_GROUPS = '/sys/fs/cgroup/cpu';
// Short ones: a thread that used its quota up holds up the others with the packets that it has.
const PERIOD_US = 20_000;
const MTU = 1420;

/** The tunnel's end on the host of namespace `path`. */
async function tunnel(path: string, key: string, peer: string, threads: number): Promise<void> {
  await openWireGuard('wg0', {
    privateKey: key,
    namespace: path,
    socketNamespace: path,
    addresses: ['10.9.0.1/24'],
    mtu: MTU,
    routes: 'off',
    control: false,
    threads,
    peers: [{ publicKey: peer, allowedIps: ['10.9.0.2/32'], endpoint: '192.0.2.2:51820' }],
  });
  process.send?.('open');
}

/** Floods the tunnel. */
async function flood(path: string, priority: number): Promise<void> {
  setPriority(priority);
  await using socket = openUdp({ namespace: path, sendBuffer: 4 << 20 });
  const batch = new PacketBatch({ capacity: 47, size: 1 << 17 });
  while (batch.push(Buffer.alloc(MTU - 28)));
  const to = new Endpoint('10.9.0.2', 9);
  process.send?.('open');
  for (;;) {
    for (let i = 0; i < 4; i++) socket.writeBatch(batch, to);
    await setImmediate();
  }
}

/** Puts each sealing thread of a process into a CPU group of its own. */
class CpuGroups {
  readonly #folders: string[] = [];

  constructor(pid: number, threads: number) {
    const tasks = readdirSync(`/proc/${pid}/task`).filter((id) =>
      readFileSync(`/proc/${pid}/task/${id}/comm`, 'utf8').startsWith('seal-'),
    );
    if (tasks.length !== threads) throw new Error(`${tasks.length} sealing threads instead of ${threads}`);
    for (const task of tasks) {
      const folder = join(CPU_GROUPS, `tuntap-bench-${task}`);
      mkdirSync(folder);
      this.#folders.push(folder);
      writeFileSync(join(folder, 'cpu.cfs_period_us'), String(PERIOD_US));
      writeFileSync(join(folder, 'cpu.cfs_quota_us'), String((PERIOD_US * QUOTA) / 100));
      // Whatever else runs must not take the quota away.
      writeFileSync(join(folder, 'cpu.shares'), '200000');
      writeFileSync(join(folder, 'tasks'), task);
    }
  }

  /** Removes the groups; their threads must have ended. */
  async remove(): Promise<void> {
    for (const folder of this.#folders) {
      while (readFileSync(join(folder, 'tasks'), 'utf8') !== '') await setTimeout(10);
      rmdirSync(folder);
    }
  }
}

async function sentBytes(namespace: NetworkNamespace): Promise<number> {
  const [link] = JSON.parse(await run(namespace, 'ip', '-j', '-s', 'link', 'show', 'eth0'));
  return link.stats64.tx.bytes;
}

/** Megabits a second that leave by the wire. */
async function measure(threads: number, limited: boolean): Promise<number> {
  await using a = await NetworkNamespace.create();
  await using b = await NetworkNamespace.create();
  await createVethPair(
    { name: 'eth0', namespace: a, addresses: ['192.0.2.1/24'], up: true },
    { name: 'eth0', namespace: b, addresses: ['192.0.2.2/24'], up: true },
  );
  const [ours, theirs] = [generatePrivateKey(), generatePrivateKey()];
  await using _peer = await openWireGuard('wg0', {
    privateKey: theirs,
    namespace: b,
    socketNamespace: b,
    listenPort: 51820,
    addresses: ['10.9.0.2/24'],
    routes: 'off',
    control: false,
    peers: [{ publicKey: publicKey(ours), allowedIps: ['10.9.0.1/32'] }],
  });
  const path = pathOf(a);
  const sender = await startPart(import.meta.url, ['tunnel', path, ours, publicKey(theirs), `${threads}`]);
  let groups: CpuGroups | undefined;
  let flooder: ChildProcess | undefined;
  try {
    await run(a, 'ping', '-c1', '-W5', '10.9.0.2');
    const rules = `add table inet t; add chain inet t c { type filter hook prerouting priority -300; };
      add rule inet t c udp length > 200 drop`;
    await run(b, 'nft', rules);
    if (limited) groups = new CpuGroups(sender.pid ?? 0, threads);
    // Without quotas the flood has the CPU time that nobody else wants: it must not take it from the tunnel.
    const priority = limited ? getPriority() : 19;
    flooder = await startPart(import.meta.url, ['flood', path, `${priority}`]);
    await setTimeout(500);
    const [before, began] = [await sentBytes(a), performance.now()];
    await setTimeout(1000 * SECONDS);
    const bytes = (await sentBytes(a)) - before;
    return (8 * bytes) / (performance.now() - began) / 1e3;
  } finally {
    if (flooder) await endPart(flooder);
    await endPart(sender);
    await groups?.remove();
  }
}

/** Medians of each case, and of its ratio to the first one in the same round. */
async function compare(title: string, cases: readonly number[], limited: boolean): Promise<void> {
  const rounds: number[][] = [];
  for (let round = 1; round <= ROUNDS; round++) {
    const figures: number[] = [];
    for (const threads of cases) figures.push(await measure(threads, limited));
    rounds.push(figures);
    console.error(`round ${round}/${ROUNDS} ${title}: ${figures.map((mbps) => mbps.toFixed(0)).join(', ')}`);
  }
  for (const [i, threads] of cases.entries()) {
    const mbps = median(rounds.map((figures) => figures[i]));
    const ratio = median(rounds.map((figures) => figures[i] / figures[0]));
    console.log(`| ${title} | ${threads} | ${mbps.toFixed(0)} | ${ratio.toFixed(2)} |`);
  }
}

async function main(): Promise<void> {
  console.log(`| what | threads | Mbit/s | to the first |\n|---|---|---|---|`);
  if (ONLY !== 'throughput') {
    if (!existsSync(join(CPU_GROUPS, 'tasks'))) {
      throw new Error(`Mount the cgroup v1 controller cpu at ${CPU_GROUPS}, or say --only=throughput`);
    }
    await compare(`sealing, each thread ${QUOTA} % of a core`, THREADS, true);
  }
  if (ONLY !== 'sealing') await compare(`throughput, ${cpus().length} cores`, [0, ...THREADS], false);
}

const [what, ...args] = process.argv.slice(2);
if (what === 'tunnel') await tunnel(args[0], args[1], args[2], Number(args[3]));
else if (what === 'flood') await flood(args[0], Number(args[1]));
else {
  try {
    await main();
  } finally {
    endParts();
  }
}
