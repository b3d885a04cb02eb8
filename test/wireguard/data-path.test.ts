/** The way of the data through tunnels of ours, in namespaces of their own. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { setImmediate, setTimeout } from 'node:timers/promises';
import { type NetworkNamespace, PacketBatch } from 'tuntap-native';
import { bootTime, DatagramTable, Endpoint, openUdp } from 'tuntap-native/tunnel';
import { generatePrivateKey, openWireGuard, publicKey } from 'tuntap-native/wireguard';
import { needs, nodeProgram, run } from '../support.ts';
import { startEngine } from './engine-support.ts';
import { ping, withHosts, withTunnels } from './hosts.ts';

/** The TOS of four datagrams at the end of a tunnel, sent with DSCP AF41 and each congestion field in turn. */
async function fieldsThrough(
  a: NetworkNamespace,
  b: NetworkNamespace,
  from: string,
  to: string,
): Promise<(number | undefined)[]> {
  await using at = openUdp({ namespace: b, receiveTos: true, port: 9000 });
  const received = [];
  for (const ecn of [0, 1, 2, 3]) {
    await using socket = openUdp({ namespace: a, address: from, tos: 0x88 | ecn });
    socket.send(Buffer.alloc(100), new Endpoint(to, 9000));
    for await (const batch of at.batches()) {
      assert.equal(batch.length, 1);
      received.push(at.received.tos(0));
      break;
    }
  }
  return received;
}

describe('the congestion field of a tunnel', function () {
  this.timeout(30_000);
  before(function () {
    needs(this, 'tcpdump', 'nft', 'ping');
  });

  for (const wire of ['ipv4', 'ipv6'] as const) {
    for (const [family, from, to] of [
      ['ipv4', '10.9.0.1', '10.9.0.2'],
      ['ipv6', 'fd00::1', 'fd00::2'],
    ] as const) {
      it(`goes from ${family} inside to ${wire} outside, without the rest of the field`, () =>
        withTunnels({ wire }, async ({ a, b }) => {
          await ping(a, to);
          const filter = `${wire === 'ipv4' ? 'ip' : 'ip6'} and udp and dst port 51820 and greater 150`;
          const dump = b.spawn('tcpdump', ['-i', 'eth0', '-Q', 'in', '-nvl', '-c', '4', filter], {
            stdio: ['ignore', 'pipe', 'pipe'],
          });
          let shown = '';
          dump.stdout?.on('data', (data) => {
            shown += data;
          });
          await once(dump.stderr as NodeJS.EventEmitter, 'data');
          // It arrives inside, and stays inside.
          assert.deepEqual(await fieldsThrough(a, b, from, to), [0x88, 0x89, 0x8a, 0x8b]);
          await once(dump, 'close');
          const name = wire === 'ipv4' ? 'tos' : 'class';
          const outside = [...shown.matchAll(/^\S+ IP.*$/gm)].map(([line]) =>
            Number(line.match(new RegExp(`${name} (0x[0-9a-f]+)`))?.[1] ?? 0),
          );
          assert.deepEqual(outside, [0, 1, 2, 3], shown);
        }));

      it(`tells ${family} inside of congestion on an ${wire} wire, if its transport understands`, () =>
        withTunnels({ wire }, async ({ a, b }) => {
          await ping(a, to);
          const key = wire === 'ipv4' ? 'ip' : 'ip6';
          const rules = `add table inet t; add chain inet t c { type filter hook prerouting priority -300; };
            add rule inet t c iifname eth0 udp dport 51820 ${key} ecn set ce`;
          const nft = b.spawn('nft', [rules], { stdio: 'inherit' });
          const [status] = await once(nft, 'close');
          assert.equal(status, 0);
          assert.deepEqual(await fieldsThrough(a, b, from, to), [0x88, 0x8b, 0x8b, 0x8b]);
        }));
    }
  }
});

describe('a tunnel under a flood', function () {
  this.timeout(30_000);
  before(function () {
    needs(this, 'ping');
  });

  it('answers a new peer at once, if the flood does not know its key, and the flood never', () =>
    withTunnels({}, async ({ a, b }) => {
      await using socket = openUdp({ namespace: b, sendBuffer: 4 << 20 });
      const forged = new PacketBatch({ capacity: 512, size: 1 << 20 });
      for (let i = 0; i < forged.capacity; i++) {
        const initiation = randomBytes(148);
        initiation.writeUInt32LE(1);
        forged.push(initiation);
      }
      const answered = socket.batches().next();
      const connecting = run(b, 'ping', '-n', '-c1', '-w20', '10.9.0.1');
      let connected = false;
      void connecting.finally(() => {
        connected = true;
      });
      while (!connected) {
        socket.writeBatch(forged, new Endpoint('192.0.2.1', 51820));
        await setImmediate();
      }
      const { status, stdout } = await connecting;
      assert.equal(status, 0, stdout);
      assert.equal(await Promise.race([answered, setTimeout(100, 'no answer')]), 'no answer');
      await ping(a, '10.9.0.2');
    }));
});

describe('a tunnel whose own address goes', function () {
  this.timeout(30_000);
  before(function () {
    needs(this, 'ping');
  });

  it('sends from another one at once, what else is in the batch once, and nothing twice', () =>
    withHosts(async ({ a, b }) => {
      const link = await a.link('eth0');
      await link.addAddress('192.0.2.101/24');
      const keys = [1, 2, 3].map(generatePrivateKey);
      const open = (index: number, to: string) =>
        openWireGuard(`wg${index}`, {
          privateKey: keys[index],
          namespace: b,
          socketNamespace: b,
          addresses: [`10.9.0.1${index}/32`],
          mtu: 1420,
          control: false,
          peers: [
            {
              publicKey: publicKey(keys[0]),
              allowedIps: [`10.9.${index}.1/32`, `10.9.1.0/2${index}`],
              endpoint: `${to}:51820`,
            },
          ],
        });
      await using _hub = await openWireGuard('wg0', {
        privateKey: keys[0],
        namespace: a,
        socketNamespace: a,
        listenPort: 51820,
        addresses: ['10.9.1.1/32', '10.9.2.1/32'],
        mtu: 1420,
        control: false,
        peers: [1, 2].map((index) => ({
          publicKey: publicKey(keys[index]),
          allowedIps: [`10.9.0.1${index}/32`],
        })),
      });
      await using _one = await open(1, '192.0.2.1');
      await using _two = await open(2, '192.0.2.101');
      await ping(b, '10.9.1.1');
      await ping(b, '10.9.2.1');
      await link.deleteAddress('192.0.2.101/24');
      await using socket = openUdp({ namespace: a });
      const to = ['10.9.0.11', '10.9.0.12'].map((address) => new Endpoint(address, 9000));
      await using at = openUdp({ namespace: b, port: 9000 });
      const received: string[] = [];
      void (async () => {
        for await (const datagrams of at.batches()) received.push(...Array.from(datagrams, String));
      })();
      // In one write, so that the device gives them in one batch. The second pass goes without JavaScript.
      for (const pass of ['first', 'second']) {
        const table = new DatagramTable(6);
        const batch = new PacketBatch();
        for (let i = 0; i < 6; i++) {
          batch.push(Buffer.from(`${pass} ${i}`));
          table.setRemote(i, to[Number(i > 2)]);
        }
        assert.equal(socket.writeBatch(batch, table), 6);
        while (received.length < 6) await setTimeout(10);
        await setTimeout(100); // none comes twice
        assert.deepEqual(
          received.splice(0).sort(),
          [0, 1, 2, 3, 4, 5].map((i) => `${pass} ${i}`),
        );
      }
    }));
});

describe('a tunnel whose packets native code carries by itself', function () {
  this.timeout(60_000);
  before(function () {
    needs(this, 'ping');
  });

  it('tells what was carried, and answers what came within 10 seconds, but asks for no new keys', () =>
    withTunnels({}, async (hosts, a, b) => {
      await ping(hosts.a, '10.9.0.2');
      const counts = () => [a, b].flatMap((tunnel) => [tunnel.counters.txBytes, tunnel.counters.rxBytes]);
      const handshakes = () => [a, b].map((tunnel) => tunnel.peers()[0].latestHandshake);
      const since = (before: readonly number[]) => counts().map((count, i) => count - before[i]);
      const [before, keys] = [counts(), handshakes()];
      await ping(hosts.a, '10.9.0.2');
      // Two packets of 84 bytes, padded to 96.
      const carried = 2 * (96 + 32);
      assert.deepEqual(since(before), [carried, carried, carried, carried]);
      const then = counts();
      await setTimeout(16_500);
      // Its keepalive, since it got the last packet; and no initiation of who sent that and got no answer for 15 seconds.
      assert.deepEqual(since(then), [32, 0, 0, 32]);
      assert.deepEqual(handshakes(), keys);
    }));
});

describe('a tunnel whose peer moves', function () {
  this.timeout(30_000);
  before(function () {
    needs(this, 'ping');
  });

  it('answers the first packet from the new endpoint there', () =>
    withTunnels({}, async ({ b }, _a, there) => {
      for (const listenPort of [4001, 4002, 4003]) {
        await ping(b, '10.9.0.1');
        await there.set({ listenPort });
        const { status, stdout } = await run(b, 'ping', '-n', '-c1', '-W3', '10.9.0.1');
        assert.equal(status, 0, stdout);
      }
    }));
});

describe('a tunnel whose peer begins anew', function () {
  this.timeout(30_000);
  before(function () {
    needs(this, 'ping');
  });

  it('answers the first packet by the new keys', () =>
    withTunnels({}, async ({ a, b }) => {
      await ping(b, '10.9.0.1');
      const link = await b.link('wgb');
      for (let i = 0; i < 3; i++) {
        await ping(a, '10.9.0.2');
        // That forgets its keys, but neither its endpoint nor its port.
        await link.set({ up: false });
        await link.set({ up: true });
        const { status, stdout } = await run(b, 'ping', '-n', '-c1', '-W3', '10.9.0.1');
        assert.equal(status, 0, stdout);
      }
    }));
});

describe('a tunnel whose machine was suspended', function () {
  this.timeout(30_000);
  before(function () {
    needs(this, 'ping');
  });

  it('does what became due as soon as something is sent', () =>
    withHosts(async ({ a, b }) => {
      const keys = [1, 2, 3].map(generatePrivateKey);
      await using other = openUdp({ namespace: b, port: 4444 });
      let suspended = 0;
      const engine = startEngine(a, {
        privateKey: keys[0],
        now: () => bootTime() + suspended,
        peers: [
          {
            publicKey: publicKey(keys[1]),
            endpoint: '192.0.2.2:4444',
            address: [10, 9, 0, 2],
            persistentKeepalive: 25,
          },
          { publicKey: publicKey(keys[2]), endpoint: '192.0.2.2:5555', address: [10, 9, 0, 3] },
        ],
      });
      try {
        let initiations = 0;
        const began = bootTime();
        for await (const batch of other.batches()) {
          initiations += batch.length;
          if (initiations === 2) break;
          // The next one is due in five seconds.
          suspended = 60_000;
          await using inside = openUdp({ namespace: a });
          inside.send(Buffer.alloc(1), new Endpoint('10.9.0.3', 9));
        }
        assert.ok(bootTime() - began < 4000, 'It waited for the timer');
      } finally {
        await engine.close();
      }
    }));
});

describe('openWireGuard with a UDP socket of another program', function () {
  this.timeout(30_000);
  before(function () {
    needs(this, 'ping');
  });

  it('sends and receives by it, and closes it with the tunnel', () =>
    withHosts(async ({ a, b }) => {
      const [ours, theirs] = [generatePrivateKey(), generatePrivateKey()];
      await using given = openUdp({ namespace: b, port: 4444 });
      const [command, ...args] = nodeProgram(`
        import { readlinkSync } from 'node:fs';
        import { openWireGuard } from '${import.meta.resolve('tuntap-native/wireguard')}';
        const file = () => { try { return readlinkSync('/proc/self/fd/3'); } catch {} };
        const given = file();
        const wg = await openWireGuard('wgb', {
          privateKey: '${theirs}', udpFd: 3, addresses: ['10.9.0.2/24'], control: false,
          peers: [{ publicKey: '${publicKey(ours)}', allowedIps: ['10.9.0.1/32'] }],
        });
        console.log(wg.listenPort);
        process.stdin.once('data', async () => {
          await wg.close();
          console.log(file() === given ? 'open' : 'closed');
          process.exit();
        });`);
      const child = b.spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit', given.fd] });
      const printed = async () => String((await once(child.stdout as NodeJS.EventEmitter, 'data'))[0]).trim();
      assert.equal(await printed(), '4444');
      await given.close();
      await using _wg = await openWireGuard('wga', {
        privateKey: ours,
        namespace: a,
        socketNamespace: a,
        addresses: ['10.9.0.1/24'],
        control: false,
        peers: [{ publicKey: publicKey(theirs), allowedIps: ['10.9.0.2/32'], endpoint: '192.0.2.2:4444' }],
      });
      await ping(a, '10.9.0.2');
      child.stdin?.write('close');
      assert.equal(await printed(), 'closed');
      await once(child, 'close');
    }));

  it('refuses one that is none, and a port beside it', async () => {
    await assert.rejects(openWireGuard('wga', { udpFd: -1 }), { code: 'ERR_OUT_OF_RANGE' });
    await assert.rejects(openWireGuard('wga', { udpFd: 9, listenPort: 1 }), {
      code: 'ERR_INVALID_ARG_VALUE',
    });
    await withHosts(async ({ a }) => {
      await assert.rejects(openWireGuard('wga', { namespace: a, udpFd: 99_999, control: false }), {
        code: 'EBADF',
      });
    });
  });
});
