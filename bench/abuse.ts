/**
 * What a tunnel of openWireGuard endures: `node out/bench/abuse.js --seconds=600`.
 *
 * A client and a server, and a man in the middle (bench/abuse-relay.ts) who loses, delays, doubles, changes, cuts and
 * repeats datagrams. Both ways traffic at a steady rate, which is sealed by itself, so that a packet that was not sent, or
 * was delivered twice, is found out (bench/abuse-traffic.ts). Every few seconds a link goes down and comes up again, the
 * server is killed and started again, or the man in the middle floods both ends with messages of one kind. The traffic must
 * come back each time within the protocol's timers, and go on during a flood, in memory that does not grow, without an
 * error. Ends with status 1 where that does not hold. Options: --seconds=N (60), --rate=N datagrams a second each way
 * (10000), --only=TEXT,TEXT (faults whose names have one of these texts).
 */

import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createVethPair, type Link, type NetworkNamespace } from 'tuntap-native/net';
import { formatConfig, generatePrivateKey, publicKey, type WireGuardConfig } from 'tuntap-native/wireguard';
import type { Received } from './abuse-traffic.ts';
import { median, option } from './measure.ts';
import { openFds, residentMB, Trial } from './trial.ts';

const SECONDS = Number(option('seconds', '60'));
const RATE = option('rate', '10000');
const ONLY = option('only', '').split(',');
const program = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const [TUNNEL, RELAY, TRAFFIC] = ['../examples/demo/tunnel.js', './abuse-relay.js', './abuse-traffic.js'].map(
  program,
);
const PORT = 51820;
const MTU = 1420;
const STEADY_MS = 1000;
const DOWN_MS = 700;
const FLOOD_MS = 3000;
const FLOODS = [
  'initiations-replayed',
  'initiations-forged',
  'initiations-with-mac1',
  'responses-replayed',
  'responses-forged',
  'cookies',
  'data-replayed',
  'data-forged',
  'garbage',
];
// Silence is noticed after 15.3 s. A lost or corrupted handshake message is sent again after 5.3 s: twice of them at most.
const MOST_TO_RECOVER_MS = 28_000;
const COMES_BACK_TO = 0.5;
const MOST_FDS_MORE = 4;
const MOST_GROWTH_MB = 16;
// After so much of the run, memory has what it needs.
const WARM = 0.2;

function lines(child: ChildProcess, take: (line: string) => void): void {
  createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', take);
}

/** What a receiver counted last. */
class Receiver {
  last: Received = { authentic: 0, forged: 0, repeated: 0 };

  constructor(program: ChildProcess) {
    lines(program, (line) => {
      if (line.startsWith('{')) this.last = JSON.parse(line) as Received;
    });
  }
}

/** Datagrams a second that came by both ways, over some time. */
async function rate(receivers: readonly Receiver[], ms: number): Promise<number> {
  const count = () => receivers.map(({ last }) => last.authentic);
  const before = count();
  const at = performance.now();
  await delay(ms);
  const seconds = (performance.now() - at) / 1000;
  // Both ways must work: the slower one counts.
  return 2 * Math.min(...count().map((value, i) => (value - before[i]) / seconds));
}

/** Packets with a wrong checksum that the host's own stack was given. */
async function checksumErrors(namespace: NetworkNamespace): Promise<number> {
  const child = namespace.spawn('cat', ['/proc/net/snmp'], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout?.on('data', (data) => {
    text += data;
  });
  await once(child, 'close');
  const [names, values] = text
    .split('\n')
    .filter((line) => line.startsWith('Udp: '))
    .map((line) => line.split(' '));
  return Number(values[names.indexOf('InCsumErrors')]);
}

async function endure(
  trial: Trial,
  [client, middle, server]: readonly NetworkNamespace[],
  folder: string,
): Promise<void> {
  const start = (namespace: NetworkNamespace, ...args: readonly string[]): ChildProcess =>
    trial.start(namespace, args, ['pipe', 'pipe']);
  const [clientLink] = await createVethPair(
    { name: 'eth0', namespace: client, addresses: ['192.0.2.2/24'], up: true },
    { name: 'client', namespace: middle, addresses: ['192.0.2.1/24'], up: true },
  );
  const [serverLink] = await createVethPair(
    { name: 'eth0', namespace: server, addresses: ['198.51.100.2/24'], up: true },
    { name: 'server', namespace: middle, addresses: ['198.51.100.1/24'], up: true },
  );
  const [serverKey, clientKey] = [generatePrivateKey(), generatePrivateKey()];
  const write = (name: string, configuration: WireGuardConfig): string => {
    writeFileSync(join(folder, name), formatConfig({ ...configuration, mtu: MTU }), { mode: 0o600 });
    return join(folder, name);
  };
  const serverFile = write('server.conf', {
    privateKey: serverKey,
    listenPort: PORT,
    addresses: ['10.9.0.1/24'],
    peers: [{ publicKey: publicKey(clientKey), allowedIps: ['10.9.0.2/32'] }],
  });
  const clientFile = write('client.conf', {
    privateKey: clientKey,
    addresses: ['10.9.0.2/24'],
    peers: [
      {
        publicKey: publicKey(serverKey),
        endpoint: `192.0.2.1:${PORT}`,
        allowedIps: ['10.9.0.1/32'],
      },
    ],
  });

  const keys = [serverKey, clientKey].map(publicKey);
  const relay = start(middle, RELAY, '198.51.100.2', `${PORT}`, ...keys);
  let abuse = '';
  lines(relay, (line) => {
    abuse = line;
    relay.emit('told', line);
  });
  const startServer = (): ChildProcess => {
    const child = start(server, TUNNEL, serverFile);
    child.stdout?.resume();
    return child;
  };
  let serverProgram = startServer();
  const clientProgram = start(client, TUNNEL, clientFile);
  let sessions = 0;
  lines(clientProgram, (line) => {
    if (line.startsWith('handshake')) sessions++;
  });
  const [there, back] = [randomBytes(16).toString('hex'), randomBytes(16).toString('hex')];
  const receivers = [
    new Receiver(start(server, TRAFFIC, 'receive', there)),
    new Receiver(start(client, TRAFFIC, 'receive', back)),
  ];
  start(client, TRAFFIC, 'send', '10.9.0.1', there, RATE).stdout?.resume();
  start(server, TRAFFIC, 'send', '10.9.0.2', back, RATE).stdout?.resume();

  const flap = async (link: Link): Promise<void> => {
    await link.set({ up: false });
    await delay(DOWN_MS);
    await link.set({ up: true });
  };
  const allFaults: readonly (readonly [name: string, cause: () => Promise<void>])[] = [
    ['the client’s link was down', () => flap(clientLink)],
    ['the server’s link was down', () => flap(serverLink)],
    [
      'the server was killed and started again',
      async () => {
        await trial.stop(serverProgram, 'SIGKILL');
        serverProgram = startServer();
      },
    ],
    ...FLOODS.map(
      (kind) =>
        [
          `both ends were flooded with ${kind}`,
          async () => {
            const told = once(relay, 'told');
            relay.stdin?.write(`flood ${kind} ${FLOOD_MS}\n`);
            const during = await rate(receivers, FLOOD_MS - 500);
            const [line] = (await told) as [string];
            const count = Number(line.split(' ')[1]);
            trial.say(`${kind}: ${count} datagrams, ${during.toFixed(0)} datagrams/s of traffic meanwhile`);
            const least = COMES_BACK_TO * median(rates);
            if (during < least) trial.hold(false, `${kind}: less than half of the traffic went on`);
          },
        ] as const,
    ),
  ];

  const faults = allFaults.filter(([name]) => ONLY.some((text) => name.includes(text)));
  const sum = (name: keyof Received) => receivers.reduce((total, { last }) => total + last[name], 0);
  const recoveries: number[] = [];
  const rates: number[] = [];
  let warm = 0;
  let fds = 0;
  await recover(receivers, 0);
  for (let i = 0; trial.elapsed < SECONDS || i < faults.length; i++) {
    rates.push(await rate(receivers, STEADY_MS));
    const usual = median(rates);
    const [name, cause] = faults[i % faults.length];
    await cause();
    const took = await recover(receivers, COMES_BACK_TO * usual);
    const resident = residentMB(clientProgram);
    if (took === undefined)
      trial.hold(false, `${name}: does not come back to half of ${usual.toFixed(0)} datagrams a second`);
    else {
      recoveries.push(took);
      trial.say(
        `${name}: back after ${took.toFixed(0)} ms; ${usual.toFixed(0)} datagrams/s, ${sum('forged')} forged, ` +
          `${sum('repeated')} twice, client ${resident.toFixed(1)} MB`,
      );
    }
    if (warm === 0 && trial.elapsed > WARM * SECONDS) {
      warm = resident;
      fds = openFds(clientProgram);
    }
  }

  const resident = residentMB(clientProgram);
  const fdsAtEnd = openFds(clientProgram);
  await trial.stop(relay, 'SIGTERM');
  trial.say(`the man in the middle: ${abuse}`);
  trial.say(
    `${sessions} handshakes; ${sum('authentic')} datagrams delivered, ${median(rates).toFixed(0)} a second`,
  );
  trial.hold(sum('authentic') > 0 && sum('forged') === 0, `${sum('forged')} forged datagrams delivered`);
  trial.hold(sum('repeated') === 0, `${sum('repeated')} datagrams delivered twice`);
  const errors = (await checksumErrors(client)) + (await checksumErrors(server));
  trial.hold(errors === 0, `${errors} datagrams with a wrong checksum reached the hosts`);
  trial.hold(
    recoveries.length > 0,
    `came back ${recoveries.length} times, in ${median(recoveries)?.toFixed(0)} ms (median)`,
  );
  trial.hold(
    resident - warm <= MOST_GROWTH_MB,
    `resident memory ${warm.toFixed(1)} -> ${resident.toFixed(1)} MB`,
  );
  trial.hold(fdsAtEnd <= fds + MOST_FDS_MORE, `open files of the client ${fds} -> ${fdsAtEnd}`);
  const statuses = await Promise.all([
    trial.stop(clientProgram, 'SIGTERM'),
    trial.stop(serverProgram, 'SIGTERM'),
  ]);
  trial.hold(
    statuses.every((status) => status === 0),
    `client and server end with status ${statuses.join(' and ')}`,
  );
}

/** Waits until so many datagrams a second arrive; how long that took, or undefined where it takes too long. */
async function recover(receivers: readonly Receiver[], enough: number): Promise<number | undefined> {
  const at = performance.now();
  while (performance.now() - at < MOST_TO_RECOVER_MS) {
    // Two reports of the receivers.
    if ((await rate(receivers, 1000)) > enough) return performance.now() - at;
  }
  return undefined;
}

const folder = mkdtempSync(join(tmpdir(), 'tuntap-abuse-'));
try {
  await Trial.run(3, (trial, namespaces) => endure(trial, namespaces, folder));
} finally {
  rmSync(folder, { recursive: true });
}
