/** The core against Debian's wireguard-go: both roles, psk, IPv4 and IPv6 outside, cookies, rekeying, roaming. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { PacketBatch } from 'tuntap-native';
import {
  Icmpv4Packet,
  Ipv4Packet,
  icmpv4Packet,
  ipv4Packet,
  parseIp,
  replyToEcho,
} from 'tuntap-native/packet';
import { CookieStore, type Source } from '#dist/wireguard/cookie.js';
import { ENVIRONMENT, type Limits } from '#dist/wireguard/environment.js';
import { formatKey, generatePrivateKey, publicKey } from '#dist/wireguard/keys.js';
import { MessageType } from '#dist/wireguard/messages.js';
import type { Peer } from '#dist/wireguard/peer.js';
import { needs, run } from '../support.ts';
import { TestDevice, type TestTransport } from './simulation.ts';
import {
  endpointOf,
  LiveMedium,
  OUTSIDE,
  PORT,
  type Surroundings,
  WireGuardGo,
  withNamespaces,
} from './wireguard-go.ts';

const OUR_ADDRESS = '10.66.0.2';
const THEIR_ADDRESS = '10.66.0.1';

interface Setup {
  readonly surroundings: Surroundings;
  readonly go: WireGuardGo;
  readonly medium: LiveMedium;
  readonly device: TestDevice;
  readonly peer: Peer<TestTransport>;
  readonly theirSource: Source;
  /** Sends an echo request of a size through the tunnel. @returns whether it was answered in time */
  ping(bytes?: number, timeout?: number): Promise<boolean>;
}

interface SetupOptions {
  readonly presharedKey?: Buffer;
  readonly family?: 4 | 6;
  readonly limits?: Partial<Limits>;
  /** Whether wireguard-go knows where we are. */
  readonly toldEndpoint?: boolean;
}

async function withTunnel(options: SetupOptions, body: (setup: Setup) => Promise<void>): Promise<void> {
  await withNamespaces(async (surroundings) => {
    await using go = await WireGuardGo.start(surroundings.theirs);
    await using medium = new LiveMedium(surroundings.ours);
    await medium.listen(PORT);
    const { presharedKey, family = 4, limits } = options;
    const theirKey = Buffer.from(generatePrivateKey(), 'base64');
    const device = new TestDevice(medium, 1, {
      privateKey: randomBytes(32),
      limits,
      seed: randomBytes(4).readUInt32LE(),
    });
    medium.device = device;
    const [ourOutside, theirOutside] = OUTSIDE[family];
    await go.set('private-key', theirKey, 'listen-port', `${PORT}`);
    const peerArguments = ['peer', formatKey(device.publicKey), 'allowed-ips', `${OUR_ADDRESS}/32`];
    await go.set(...peerArguments, ...(presharedKey ? ['preshared-key', presharedKey] : []));
    if (options.toldEndpoint) {
      const host = family === 4 ? ourOutside : `[${ourOutside}]`;
      await go.set('peer', formatKey(device.publicKey), 'endpoint', `${host}:${PORT}`);
    }
    for (const command of [
      `address add ${THEIR_ADDRESS}/24 dev ${go.name}`,
      `link set ${go.name} mtu 1420 up`,
    ]) {
      assert.equal((await run(surroundings.theirs, 'ip', ...command.split(' '))).status, 0);
    }
    const peer = device.protocol.addPeer(Buffer.from(publicKey(theirKey), 'base64'));
    assert.ok(peer);
    peer.setPresharedKey(presharedKey);
    const theirSource = { address: parseIp(theirOutside), port: PORT };
    const waiting = new Map<number, () => void>();
    device.onData = (packet) => {
      const ip = Ipv4Packet.parse(packet);
      const icmp = ip && Icmpv4Packet.parse(ip.payload);
      const reply = replyToEcho(packet);
      if (reply) device.send(peer, reply);
      else if (icmp?.type === 0) waiting.get(icmp.sequence)?.();
    };
    let sequence = 0;
    const ping = (bytes = 56, timeout = 2000) => {
      const icmp = icmpv4Packet({
        type: 8,
        identifier: 7,
        sequence: ++sequence,
        payload: Buffer.alloc(bytes, sequence),
      });
      const packet = ipv4Packet({
        source: OUR_ADDRESS,
        destination: THEIR_ADDRESS,
        protocol: 1,
        payload: icmp,
      });
      const answered = new Promise<boolean>((resolve) => {
        waiting.set(sequence, () => resolve(true));
        setTimeout(resolve, timeout, false).unref();
      });
      device.send(peer, packet);
      return answered;
    };
    await body({ surroundings, go, medium, device, peer, theirSource, ping });
  });
}

const pingFromThere = ({ surroundings }: Setup, ...more: string[]) =>
  run(surroundings.theirs, 'ping', '-n', '-c3', '-i0.1', '-W2', ...more, OUR_ADDRESS);

describe('the core and wireguard-go', function () {
  this.timeout(60_000);
  before(function () {
    needs(this, 'wireguard-go', 'wg', 'ip', 'ping');
  });

  for (const family of [4, 6] as const) {
    for (const presharedKey of [undefined, randomBytes(32)]) {
      const how = `IPv${family}, ${presharedKey ? 'with' : 'without'} preshared key`;
      it(`talk if the core begins: ${how}`, () =>
        withTunnel({ family, presharedKey }, async (setup) => {
          const { go, device, peer, theirSource, ping } = setup;
          device.setEndpoint(peer, theirSource);
          assert.ok(await ping());
          // Of every length that padding makes a difference to, up to the MTU.
          for (const bytes of [0, 1, 3, 4, 5, 15, 16, 17, 1378, 1391, 1392])
            assert.ok(await ping(bytes), `${bytes}`);
          assert.equal((await pingFromThere(setup)).status, 0);
          assert.deepEqual(
            [device.count(MessageType.initiation), device.count(MessageType.response)],
            [1, 0],
          );
          const [received, sent] = (await go.show('transfer')).split('\t').map(Number);
          assert.deepEqual([sent, received], [peer.bytesReceived, peer.bytesSent]);
          const handshake = Number(await go.show('latest-handshakes'));
          assert.ok(Math.abs(handshake - Date.now() / 1000) < 30);
        }));

      it(`talk if wireguard-go begins: ${how}`, () =>
        withTunnel({ family, presharedKey, toldEndpoint: true }, async (setup) => {
          const { go, device, peer, ping } = setup;
          assert.equal((await pingFromThere(setup)).status, 0);
          assert.equal((await pingFromThere(setup, '-s1392', '-Mdo')).status, 0);
          assert.ok(await ping());
          assert.deepEqual(
            [device.count(MessageType.initiation), device.count(MessageType.response)],
            [0, 1],
          );
          const [received, sent] = (await go.show('transfer')).split('\t').map(Number);
          assert.deepEqual([sent, received], [peer.bytesReceived, peer.bytesSent]);
          assert.ok(peer.latestHandshake);
        }));
    }
  }

  it('do not talk with different preshared keys, and do once they are the same', () =>
    withTunnel({ presharedKey: randomBytes(32), limits: { rekeyTimeout: 300 } }, async (setup) => {
      const { go, device, peer, theirSource, ping } = setup;
      device.setEndpoint(peer, theirSource);
      const right = randomBytes(32);
      peer.setPresharedKey(right);
      assert.equal(await ping(56, 1000), false);
      assert.equal(peer.latestHandshake, undefined);
      await go.set('peer', formatKey(device.publicKey), 'preshared-key', right);
      assert.ok(await ping(56, 5000));
    }));

  it('renew keys again and again while pings go on', () =>
    withTunnel({ limits: { rekeyAfterTime: 300, rekeyTimeout: 200 } }, async (setup) => {
      const { device, peer, theirSource, ping } = setup;
      device.setEndpoint(peer, theirSource);
      for (let i = 0; i < 200; i++) {
        assert.ok(await ping(i), `ping ${i}`);
        await sleep(15);
      }
      assert.ok(device.times('handshake').length >= 8, `${device.times('handshake').length}`);
      assert.ok(device.transports.filter(({ disposed }) => !disposed).length <= 2);
      assert.equal((await pingFromThere(setup)).status, 0);
    }));

  it('follow each other to another address', () =>
    withTunnel({}, async (setup) => {
      const { go, medium, device, peer, theirSource, ping } = setup;
      device.setEndpoint(peer, theirSource);
      assert.ok(await ping());
      await medium.listen(4242);
      assert.ok(await ping());
      assert.equal(await go.show('endpoints'), `${OUTSIDE[4][0]}:4242`);
      assert.equal((await pingFromThere(setup)).status, 0);
      await go.set('listen-port', '4343');
      assert.equal((await pingFromThere(setup)).status, 0);
      assert.equal(device.endpoints.get(peer)?.port, 4343);
      assert.ok(await ping());
    }));

  it('meet again after wireguard-go has forgotten all', () =>
    withTunnel({ limits: { keepaliveTimeout: 500, rekeyTimeout: 500 } }, async (setup) => {
      const { go, device, peer, theirSource, ping } = setup;
      device.setEndpoint(peer, theirSource);
      assert.ok(await ping());
      await go.set('peer', formatKey(device.publicKey), 'remove');
      await go.set('peer', formatKey(device.publicKey), 'allowed-ips', `${OUR_ADDRESS}/32`);
      assert.equal(await ping(56, 500), false);
      await sleep(1500);
      assert.ok(await ping());
      assert.equal(device.count(MessageType.initiation), 2);
    }));

  it('talk although wireguard-go is under load: a cookie, then mac2', () =>
    withTunnel({ limits: { rekeyTimeout: 1000 } }, async (setup) => {
      const { medium, device, peer, theirSource, ping } = setup;
      device.setEndpoint(peer, theirSource);
      const cookies = { forOurs: 0, forForged: 0 };
      const receive = device.receive.bind(device);
      device.receive = (datagram, source) => {
        const isCookie = datagram[0] === MessageType.cookieReply;
        if (isCookie) cookies[datagram.readUInt32LE(4) === 0 ? 'forForged' : 'forOurs']++;
        receive(datagram, source);
      };
      // Others, with a right mac1, that fill its queue.
      const macs = new CookieStore(peer.publicKey, ENVIRONMENT);
      const flood = new PacketBatch({ capacity: 256 });
      while (flood.length < flood.capacity) {
        const forged = Buffer.concat([Buffer.of(1, 0, 0, 0, 0, 0, 0, 0), randomBytes(108), Buffer.alloc(32)]);
        macs.addMacs(forged, 0);
        flood.push(forged);
      }
      const transmit = medium.transmit.bind(medium);
      const transmitUnderLoad: typeof transmit = async (datagram, from, to) => {
        for (const before = cookies.forForged; cookies.forForged === before; await sleep(2)) {
          medium.sendBatch(flood, endpointOf(to));
        }
        // The load counts for a second; meanwhile there is room in the queue again.
        await sleep(100);
        transmit(datagram, from, to);
      };
      medium.transmit = (datagram, from, to) => {
        (datagram[0] === MessageType.initiation ? transmitUnderLoad : transmit)(datagram, from, to);
      };
      assert.ok(await ping(56, 10_000));
      assert.ok(cookies.forOurs >= 1);
      const initiations = device.sent.filter((datagram) => datagram[0] === MessageType.initiation);
      assert.ok(
        initiations
          .at(-1)
          ?.subarray(132)
          .some((byte) => byte !== 0),
      );
    }));

  it('talk although the core is under load', () =>
    withTunnel({ toldEndpoint: true }, async (setup) => {
      const { device } = setup;
      device.queued = 100;
      assert.equal((await pingFromThere(setup, '-c8', '-i1')).status, 0);
      assert.ok(device.count(MessageType.cookieReply) >= 1);
      assert.equal(device.count(MessageType.response), 1);
    }));

  it('never answer what was replayed', () =>
    withTunnel({ toldEndpoint: true }, async (setup) => {
      const { device, theirSource } = setup;
      const heard: Buffer[] = [];
      const receive = device.receive.bind(device);
      device.receive = (datagram, source) => {
        heard.push(datagram);
        receive(datagram, source);
      };
      assert.equal((await pingFromThere(setup)).status, 0);
      const sent = device.sent.length;
      const responses = device.count(MessageType.response);
      for (const datagram of heard.slice()) device.receive(datagram, theirSource);
      assert.deepEqual([device.sent.length, device.count(MessageType.response)], [sent, responses]);
    }));
});
