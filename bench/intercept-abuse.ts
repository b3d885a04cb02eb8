/**
 * What `intercept()` endures: `node out/bench/intercept-abuse.js --seconds=600`.
 *
 * A client behind a router, whose TUN device is intercepted; every connection goes on to an echo server with `relayTo()`,
 * datagrams and pings are answered. The client holds connections open and checks each byte that comes back, and opens a new
 * one again and again. Meanwhile come by turns: SYNs, datagrams, fragments and garbage with forged sources, resets and segments
 * that guess at the client's own connections, a scan of ports, connections that are reset half-way, and attempts to reach
 * hosts that are silent. No connection may end or change a byte, each new one must come about, and in the end nothing
 * may be left. Ends with status 1 where that does not hold. Options: --seconds=N (60), --phase=N seconds (6), --rate=N
 * packets a second of a flood (5000), --only=TEXT (abuses whose names have this text).
 */

import type { ChildProcess } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { openTun, PacketBatch } from 'tuntap-native';
import { type InterceptorCounters, intercept } from 'tuntap-native/intercept';
import { createVethPair, type NetworkNamespace } from 'tuntap-native/net';
import { IpProtocol, internetChecksum, ipv4Packet, tcpSegment, udpDatagram } from 'tuntap-native/packet';
import { Endpoint, openUdp } from 'tuntap-native/tunnel';
import { option, pathOf } from './measure.ts';
import { openFds, residentMB, Trial } from './trial.ts';

const SECONDS = Number(option('seconds', '60'));
const PHASE_MS = Number(option('phase', '6')) * 1000;
const RATE = Number(option('rate', '5000'));
const ONLY = option('only', '');

const CLIENT = '192.0.3.2';
const SERVER = '192.0.2.2';
const PORT = 7000;
const FLOW_PORT = 7001;
const SILENT = Array.from({ length: 10 }, (_, i) => `192.0.2.${100 + i}`);
const LIVE = 20;
/** A handshake that never ends is given up after 75 s. */
const HALF_OPEN_MS = 90_000;
const MOST_TO_OPEN_MS = 20_000;
const MOST_GROWTH_MB = 32;
const MOST_FDS_MORE = 4;
const BURST_MS = 5;

/** What the interceptor tells. */
interface Told {
  readonly counters: InterceptorCounters;
}

/** What the client found out. */
interface Found {
  /** The local ports of the connections that are still open. */
  readonly ports: readonly number[];
  /** Why one ended, or what came back instead. */
  readonly faults: readonly string[];
  readonly echoes: number;
  readonly worstEchoMs: number;
  readonly opened: number;
  readonly worstOpenMs: number;
  readonly datagrams: number;
}

const between = (least: number, beyond: number): number => randomInt(least, beyond);
const forgedSource = (): string => `198.${between(18, 20)}.${between(0, 256)}.${between(1, 255)}`;

/** Intercepts the router's device, and connects to where the clients want inside the namespace that it runs in. */
async function interceptRouter(router: string): Promise<void> {
  const up = true;
  const tun = openTun('tuna', { namespace: router, offload: 'raw', addresses: ['192.0.2.1/24'], up });
  openTun('silent', { addresses: ['192.0.2.97/28'], up }).unref(); // nobody reads it
  const server = createServer({ allowHalfOpen: true }, (socket) => socket.on('error', () => {}).pipe(socket));
  await once(server.listen({ host: SERVER, port: PORT, backlog: 4096 }), 'listening');
  const interceptor = await intercept(tun);
  interceptor.on('connection', (connection) => {
    connection.relayTo({ timeout: 10_000 }).catch((error) => connection.refuse(error));
  });
  interceptor.on('flow', (flow) => flow.on('message', (bytes, to) => flow.send(bytes, to)));
  interceptor.on('echo', (echo) => echo.reply());
  process.on('message', () => {
    (globalThis as { gc?: () => void }).gc?.(); // only what is still in use counts as memory
    process.send?.({ counters: interceptor.counters } satisfies Told);
  });
  process.send?.('ready');
}

/** A packet of an abuse. `ports`: those of the client's connections. */
type Forge = (ports: readonly number[]) => Buffer;

const toServer = (source: string, protocol: number, payload: Uint8Array): Buffer =>
  ipv4Packet({ source, destination: SERVER, protocol, payload, dontFragment: false });

/** A segment that guesses at the numbers of one of the client's connections. */
const guess = (
  ports: readonly number[],
  fields: { rst?: boolean; fin?: boolean; payload?: Buffer },
): Buffer =>
  toServer(
    CLIENT,
    IpProtocol.TCP,
    tcpSegment({
      source: CLIENT,
      destination: SERVER,
      sourcePort: ports[between(0, ports.length)],
      destinationPort: PORT,
      sequenceNumber: between(0, 2 ** 32),
      acknowledgmentNumber: between(0, 2 ** 32),
      ack: true,
      ...fields,
    }),
  );

const FLOODS: Readonly<Record<string, Forge>> = {
  'SYNs with forged sources': () => {
    const ends = { source: forgedSource(), destination: SERVER };
    const ports = { sourcePort: between(1, 65_536), destinationPort: PORT };
    const sequenceNumber = between(0, 2 ** 32);
    return toServer(
      ends.source,
      IpProtocol.TCP,
      tcpSegment({ ...ends, ...ports, sequenceNumber, syn: true }),
    );
  },
  'resets that guess': (ports) => guess(ports, { rst: true }),
  'segments that guess': (ports) => guess(ports, { fin: between(0, 2) === 1, payload: randomBytes(100) }),
  'datagrams with forged sources': () => {
    const ends = { source: forgedSource(), destination: SERVER };
    const ports = { sourcePort: between(1, 65_536), destinationPort: FLOW_PORT };
    return toServer(
      ends.source,
      IpProtocol.UDP,
      udpDatagram({ ...ends, ...ports, payload: randomBytes(64) }),
    );
  },
  fragments: () => {
    const packet = toServer(forgedSource(), [IpProtocol.TCP, IpProtocol.UDP][between(0, 2)], randomBytes(80));
    packet.writeUInt16BE(between(0, 4), 4); // few identifications, so that they overlap
    packet.writeUInt16BE(between(0, 2) * 0x2000 + between(0, 20), 6);
    packet.writeUInt16BE(0, 10);
    packet.writeUInt16BE(internetChecksum(packet.subarray(0, 20)), 10);
    return packet;
  },
  garbage: () =>
    toServer(forgedSource(), [1, 6, 17, between(0, 256)][between(0, 4)], randomBytes(between(0, 200))),
};

/** Sends forged packets into the router, as a neighbour of it would. */
async function flood(): Promise<void> {
  const tun = openTun('attack', { addresses: ['198.18.0.1/15'], up: true, txQueueLength: 100 });
  const batch = new PacketBatch();
  process.on('message', async ({ name, ms, ports }: { name: string; ms: number; ports: number[] }) => {
    const forge = FLOODS[name];
    const began = performance.now();
    let sent = 0;
    while (performance.now() - began < ms) {
      await delay(BURST_MS);
      const due = Math.floor(((performance.now() - began) / 1000) * RATE) - sent;
      batch.clear();
      for (let i = 0; i < due && batch.push(forge(ports)); i++);
      sent += batch.length;
      tun.writeBatch(batch);
    }
    process.send?.(sent);
  });
  process.send?.('ready');
}

/** Holds connections, and finds out what happens to them. */
class Client {
  readonly #live: Socket[] = [];
  readonly #found = {
    faults: [] as string[],
    echoes: 0,
    worstEchoMs: 0,
    opened: 0,
    worstOpenMs: 0,
    datagrams: 0,
  };

  async run(): Promise<void> {
    for (let i = 0; i < LIVE; i++) this.#hold().catch((error) => this.#found.faults.push(`held: ${error}`));
    void this.#openAgainAndAgain();
    this.#exchangeDatagrams().catch((error) => this.#found.faults.push(`datagrams: ${error}`));
    while (this.#live.length < LIVE) await delay(10);
  }

  /** What happened so far; the worst times are those since the last look. */
  get found(): Found {
    const open = this.#live.filter(({ destroyed }) => !destroyed);
    const found = { ...this.#found, ports: open.map(({ localPort }) => localPort ?? 0) };
    this.#found.worstEchoMs = this.#found.worstOpenMs = 0;
    return found;
  }

  async #exchange(socket: Socket): Promise<void> {
    const sent = randomBytes(1000);
    socket.write(sent);
    let got = Buffer.alloc(0);
    while (got.length < sent.length) {
      const chunk: Buffer | null = socket.read();
      if (chunk) got = Buffer.concat([got, chunk]);
      else if (socket.readableEnded) throw new Error('ended');
      else await once(socket, 'readable');
    }
    if (!got.equals(sent)) throw new Error('other bytes came back');
  }

  async #hold(): Promise<void> {
    const socket = connect({ host: SERVER, port: PORT });
    await once(socket, 'connect');
    this.#live.push(socket);
    for (;;) {
      const began = performance.now();
      await this.#exchange(socket);
      this.#found.echoes++;
      this.#found.worstEchoMs = Math.max(this.#found.worstEchoMs, performance.now() - began);
      await delay(50);
    }
  }

  async #openAgainAndAgain(): Promise<never> {
    for (;;) {
      await this.#open().catch((error) => this.#found.faults.push(`new: ${error}`));
      await delay(200);
    }
  }

  async #open(): Promise<void> {
    const began = performance.now();
    const socket = connect({ host: SERVER, port: PORT });
    await once(socket, 'connect');
    this.#found.worstOpenMs = Math.max(this.#found.worstOpenMs, performance.now() - began);
    this.#found.opened++;
    await this.#exchange(socket);
    socket.end().resume();
    await once(socket, 'close');
  }

  async #exchangeDatagrams(): Promise<void> {
    const socket = openUdp({ address: '0.0.0.0' });
    const batch = new PacketBatch();
    batch.push(randomBytes(100));
    setInterval(() => socket.writeBatch(batch, new Endpoint(SERVER, FLOW_PORT)), 100);
    for await (const received of socket.batches()) this.#found.datagrams += received.length;
  }

  /** Connects once a turn; `then` hears of each that is open. */
  async attempt(
    ms: number,
    target: () => { host: string; port: number },
    then: (socket: Socket) => void,
  ): Promise<number> {
    const end = performance.now() + ms;
    let count = 0;
    while (performance.now() < end) {
      const socket = connect(target());
      socket.on('error', () => {}).once('connect', () => then(socket));
      setTimeout(() => socket.destroy(), 3000);
      count++;
      await delay(2);
    }
    return count;
  }
}

const ATTEMPTS: Readonly<Record<string, (client: Client, ms: number) => Promise<number>>> = {
  'a scan of ports': (client, ms) => {
    let port = PORT;
    const next = () => ({ host: SERVER, port: (port++ % 65_535) + 1 });
    return client.attempt(ms, next, (socket) => socket.destroy());
  },
  'connections reset half-way': (client, ms) =>
    client.attempt(
      ms,
      () => ({ host: SERVER, port: PORT }),
      (socket) => {
        socket.write(randomBytes(50_000));
        setTimeout(() => socket.resetAndDestroy(), between(0, 20));
      },
    ),
  'silent destinations': (client, ms) =>
    client.attempt(
      ms,
      () => ({ host: SILENT[between(0, 10)], port: PORT }),
      (socket) => socket.destroy(),
    ),
};

async function runClient(): Promise<void> {
  const client = new Client();
  await client.run();
  process.on('message', async (message: { name: string; ms: number } | 'ask') => {
    if (message === 'ask') process.send?.(client.found);
    else process.send?.(await ATTEMPTS[message.name](client, message.ms));
  });
  process.send?.('ready');
}

async function endure(trial: Trial, [clients, router, servers]: readonly NetworkNamespace[]): Promise<void> {
  const file = fileURLToPath(import.meta.url);
  const start = async (namespace: NetworkNamespace, ...args: string[]): Promise<ChildProcess> => {
    const child = trial.start(
      namespace,
      ['--expose-gc', file, ...args, ...process.argv.slice(2)],
      ['ignore', 'inherit', 'ipc'],
    );
    await once(child, 'message');
    return child;
  };
  const ask = async <T>(child: ChildProcess, message: object | string): Promise<T> => {
    child.send(message);
    return ((await once(child, 'message')) as [T])[0];
  };
  await createVethPair(
    { name: 'eth0', namespace: clients, addresses: [`${CLIENT}/24`], up: true },
    { name: 'lan0', namespace: router, addresses: ['192.0.3.1/24'], up: true },
  );
  await clients.addRoute({ destination: '0.0.0.0/0', via: '192.0.3.1' });
  await router.setSysctl('net.ipv4.ip_forward', 1);
  for (const name of ['all', 'default']) await router.setSysctl(`net.ipv4.conf.${name}.rp_filter`, 0);
  const lo = await servers.link('lo');
  await lo.set({ up: true });
  await lo.addAddress(`${SERVER}/32`);
  const interceptor = await start(servers, 'interceptor', pathOf(router));
  const attacker = await start(router, 'attacker');
  const fdsBefore = openFds(interceptor);
  const client = await start(clients, 'client');

  const names = [...Object.keys(FLOODS), ...Object.keys(ATTEMPTS)].filter((name) => name.includes(ONLY));
  const memory: number[] = [];
  for (let i = 0; trial.elapsed < SECONDS || i < names.length; i++) {
    const name = names[i % names.length];
    const before = await ask<Found>(client, 'ask');
    const how = { name, ms: PHASE_MS, ports: before.ports };
    const count = await ask<number>(name in FLOODS ? attacker : client, how);
    const after = await ask<Found>(client, 'ask');
    const { counters } = await ask<Told>(interceptor, 'ask');
    memory.push(residentMB(interceptor));
    trial.say(
      `${name}: ${count}; meanwhile ${after.echoes - before.echoes} echoes, ${after.opened - before.opened} new connections, ` +
        `${after.datagrams - before.datagrams} datagrams; at worst ${after.worstEchoMs.toFixed(0)} and ` +
        `${after.worstOpenMs.toFixed(0)} ms; ${counters.pending} pending, ${counters.open} open, ` +
        `${counters.openFlows} flows, ${memory.at(-1)?.toFixed(0)} MB`,
    );
    for (const fault of after.faults.slice(before.faults.length)) trial.hold(false, `${name}: ${fault}`);
    if (after.echoes === before.echoes) trial.hold(false, `${name}: no connection went on`);
    if (after.worstOpenMs > MOST_TO_OPEN_MS) trial.hold(false, `${name}: a new connection took too long`);
  }
  const found = await ask<Found>(client, 'ask');
  trial.hold(found.ports.length === LIVE, `${found.ports.length} of ${LIVE} connections lived on`);
  trial.hold(found.opened > 0 && found.faults.length === 0, `${found.opened} new connections came about`);
  const half = (memory.length + 1) >> 1;
  const [first, second] = [memory.slice(0, half), memory.slice(-half)].map((part) => Math.max(...part));
  trial.hold(
    second - first <= MOST_GROWTH_MB,
    `most memory of both halves ${first.toFixed(0)}, ${second.toFixed(0)} MB`,
  );
  client.kill();
  const end = performance.now() + HALF_OPEN_MS;
  let left = (await ask<Told>(interceptor, 'ask')).counters;
  while ((left.open > 0 || left.pending > 0) && performance.now() < end) {
    await delay(1000);
    left = (await ask<Told>(interceptor, 'ask')).counters;
  }
  trial.hold(
    left.open === 0 && left.pending === 0,
    `${left.open} connections left, ${left.pending} that wait`,
  );
  // A thread closes what belonged to the connections.
  let fds = openFds(interceptor);
  for (let i = 0; i < 50 && fds > fdsBefore + MOST_FDS_MORE; i++) {
    await delay(100);
    fds = openFds(interceptor);
  }
  trial.hold(fds <= fdsBefore + MOST_FDS_MORE, `open files ${fdsBefore} -> ${fds}`);
}

const [part, router] = process.argv.slice(2);
if (part === 'interceptor') await interceptRouter(router);
else if (part === 'attacker') await flood();
else if (part === 'client') await runClient();
else await Trial.run(3, endure);
