/** Tunnels whose packets threads seal and send. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setImmediate, setTimeout } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { type NetworkNamespace, PacketBatch } from 'tuntap-native';
import { Endpoint, openUdp } from 'tuntap-native/tunnel';
import { generatePrivateKey, openWireGuard, publicKey, type WireGuard } from 'tuntap-native/wireguard';
import { fdsAtMost, needs, ofThreads, openFds, run } from '../support.ts';
import { startEngine } from './engine-support.ts';
import { ping, withHosts, withTunnels } from './hosts.ts';

const PORT = 9000;
const INSIDE = new Endpoint('10.9.0.2', PORT);

/** How many threads of this process seal. */
function sealingThreads(): number {
  return ofThreads((folder) => readFileSync(`${folder}/comm`, 'utf8')).filter((name) =>
    name.startsWith('seal-'),
  ).length;
}

/** Sends numbered datagrams of many sizes until `until` says stop; returns how many. */
async function flood(namespace: NetworkNamespace, until: () => boolean): Promise<number> {
  await using socket = openUdp({ namespace, sendBuffer: 1 << 20 });
  const batch = new PacketBatch({ capacity: 64, size: 1 << 20 });
  const bytes = Buffer.alloc(1392);
  let number = 0;
  while (!until()) {
    batch.clear();
    for (let i = 0; i < batch.capacity; i++, number++) {
      bytes.writeUInt32BE(number);
      batch.push(bytes.subarray(0, number % 5 === 0 ? 4 + (number % 1389) : 1392));
    }
    socket.writeBatch(batch, INSIDE);
    await setImmediate();
  }
  return number;
}

/** The numbers that arrive, in the order in which they do; none twice, and each within its own flow after the last. */
async function numbersOf(namespace: NetworkNamespace, stop: AbortSignal): Promise<number[]> {
  const numbers: number[] = [];
  try {
    await using socket = openUdp({ namespace, port: PORT, receiveBuffer: 16 << 20, signal: stop });
    for await (const batch of socket.batches()) {
      for (let i = 0; i < batch.length; i++) numbers.push(batch.readUInt32BE(i, 0));
    }
  } catch (error) {
    assert.equal((error as Error).name, 'AbortError');
  }
  return numbers;
}

function assertRising(numbers: readonly number[]): void {
  const fallen = numbers.findIndex((number, i) => i > 0 && number <= numbers[i - 1]);
  assert.equal(fallen, -1, `${numbers[fallen - 1]}, then ${numbers[fallen]}`);
}

/** The tunnel at the other end, `wgb` with 10.9.0.2, which waits for a peer with the private key `other`. */
function openPeer(namespace: NetworkNamespace, privateKey: string, other: string): Promise<WireGuard> {
  return openWireGuard('wgb', {
    privateKey,
    namespace,
    socketNamespace: namespace,
    listenPort: 51820,
    addresses: ['10.9.0.2/24'],
    control: false,
    peers: [{ publicKey: publicKey(other), allowedIps: ['10.9.0.1/32'] }],
  });
}

describe('openWireGuard: threads', function () {
  this.timeout(60_000);
  before(function () {
    needs(this, 'ping', 'ip');
  });

  for (const threads of [1, 4]) {
    it(`keep the order of a flow, and end with the tunnel: ${threads}`, async () => {
      const fds = openFds();
      assert.equal(sealingThreads(), 0);
      await withTunnels({ a: { threads } }, async ({ a, b }, wga) => {
        assert.equal(sealingThreads(), threads);
        await ping(a, '10.9.0.2');
        const stop = new AbortController();
        const received = numbersOf(b, stop.signal);
        const until = Date.now() + 1000;
        const sent = await flood(a, () => Date.now() > until);
        await setTimeout(200);
        stop.abort();
        const numbers = await received;
        assertRising(numbers);
        assert.ok(numbers.length > sent / 10, `${numbers.length} of ${sent} arrived`);
        assert.ok(wga.counters.txBytes > 1000 * numbers.length);
        await ping(b, '10.9.0.1');
      });
      assert.equal(sealingThreads(), 0);
      await fdsAtMost(fds + 2);
    });
  }

  it('are closed in the middle of their work', () =>
    withHosts(async (hosts) => {
      const [ours, theirs] = [generatePrivateKey(), generatePrivateKey()];
      await using peer = await openPeer(hosts.b, theirs, ours);
      const fds = openFds();
      for (let i = 0; i < 10; i++) {
        const wg = await openWireGuard('wga', {
          privateKey: ours,
          namespace: hosts.a,
          socketNamespace: hosts.a,
          addresses: ['10.9.0.1/24'],
          control: false,
          threads: 3,
          peers: [{ publicKey: publicKey(theirs), allowedIps: ['10.9.0.2/32'], endpoint: '192.0.2.2:51820' }],
        });
        await ping(hosts.a, '10.9.0.2');
        let closed = false;
        const flooding = flood(hosts.a, () => closed).catch(() => {});
        await setTimeout(10 + 7 * i);
        // The link goes, or the port changes, or the peer with its keys, or all of it.
        if (i % 4 === 1) await run(hosts.a, 'ip', 'link', 'set', 'wga', 'down');
        if (i % 4 === 2) await wg.set({ listenPort: 40_000 + i });
        if (i % 4 === 3) await wg.removePeer(publicKey(theirs));
        await setTimeout(20);
        await wg.close();
        closed = true;
        await flooding;
        while (sealingThreads() > 0) await setTimeout(10); // in Deno, terminate() resolves before
      }
      await fdsAtMost(fds + 2);
      assert.equal(peer.peers().length, 1);
    }));

  it('end with a worker that is terminated', () =>
    withHosts(async (hosts) => {
      const [ours, theirs] = [generatePrivateKey(), generatePrivateKey()];
      await using _peer = await openPeer(hosts.b, theirs, ours);
      const path = `/proc/self/fd/${hosts.a.fd}`;
      const program = `
        import { parentPort } from 'node:worker_threads';
        import { openWireGuard } from '${import.meta.resolve('tuntap-native/wireguard')}';
        await openWireGuard('wga', {
          privateKey: '${ours}', namespace: '${path}', socketNamespace: '${path}',
          addresses: ['10.9.0.1/24'], control: false, routes: 'off', threads: 2,
          peers: [{ publicKey: '${publicKey(theirs)}', allowedIps: ['10.9.0.2/32'], endpoint: '192.0.2.2:51820' }],
        });
        parentPort.postMessage('open');`;
      let fds = 0;
      for (let i = 0; i < 5; i++) {
        const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(program)}`));
        await once(worker, 'message');
        assert.equal(sealingThreads(), 2);
        await ping(hosts.a, '10.9.0.2');
        let ended = false;
        const flooding = flood(hosts.a, () => ended).catch(() => {});
        await setTimeout(50);
        await worker.terminate();
        ended = true;
        await flooding;
        while (sealingThreads() > 0) await setTimeout(10); // in Deno, terminate() resolves before
        // The kernel removes the device in its own time.
        const gone = () => hosts.a.links().then((links) => links.every(({ name }) => name !== 'wga'));
        while (!(await gone())) await setTimeout(20);
        if (i === 0) fds = openFds();
      }
      await fdsAtMost(fds);
    }));

  it('go on while keys change', () =>
    withHosts(async (hosts) => {
      const [ours, theirs] = [generatePrivateKey(), generatePrivateKey()];
      await using _peer = await openWireGuard('wgb', {
        privateKey: theirs,
        namespace: hosts.b,
        socketNamespace: hosts.b,
        listenPort: 51820,
        addresses: ['10.9.0.2/24'],
        mtu: 1420,
        control: false,
        peers: [{ publicKey: publicKey(ours), allowedIps: ['10.9.0.1/32'] }],
      });
      const limits = { rekeyAfterMessages: 500, rekeyTimeout: 30, jitter: 1 };
      let handshakes = 0;
      const engine = startEngine(hosts.a, {
        privateKey: ours,
        peers: [{ publicKey: publicKey(theirs), endpoint: '192.0.2.2:51820', address: [10, 9, 0, 2] }],
        limits,
        threads: 2,
        onHandshake: () => handshakes++,
      });
      await ping(hosts.a, '10.9.0.2');
      const stop = new AbortController();
      const received = numbersOf(hosts.b, stop.signal);
      const sent = await flood(hosts.a, () => handshakes > 10);
      await setTimeout(200);
      stop.abort();
      const numbers = await received;
      assertRising(numbers);
      assert.ok(numbers.length > sent / 10, `${numbers.length} of ${sent} arrived`);
      await engine.close();
      assert.equal(sealingThreads(), 0);
    }));

  it('are from 0 to 64', async () => {
    for (const threads of [-1, 65, 1.5]) {
      await assert.rejects(openWireGuard('wga', { threads }), { code: 'ERR_OUT_OF_RANGE' });
    }
  });
});
