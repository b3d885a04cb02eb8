import assert from 'node:assert/strict';
import type { NetworkNamespace } from 'tuntap-native';
import { IpProtocol, ipv4Packet, udpDatagram } from 'tuntap-native/packet';
import { Endpoint, openUdp } from 'tuntap-native/tunnel';
import { PATHS } from '../../examples/flannel/backends/udp.ts';
import { type Cluster, PREFIX } from '../../examples/flannel/cluster.ts';
import { ipLink, needs } from '../support.ts';
import { allReachAll, FlannelLab, ip, PROGRAMS } from './flannel-lab.ts';
import { transfer } from './transfer.ts';
import { firstPacket, ping } from './watching.ts';

const PORT = 8285;

describe("Flannel's UDP mode (examples/flannel/backends/udp)", () => {
  let lab: FlannelLab;
  let cluster: Cluster;
  const inside = (host: number, n = 0): NetworkNamespace => cluster.containers[host - 1][n].namespace;
  async function start(path: string): Promise<void> {
    cluster = await lab.cluster({ Type: 'udp' });
    await cluster.start('--udp-path', path);
  }

  before(async function () {
    needs(this, ...PROGRAMS, 'tcpdump');
    lab = await FlannelLab.create();
  });
  after(() => lab?.close());

  for (const path of PATHS) {
    describe(`with the data path "${path}"`, () => {
      before(() => start(path));
      after(() => cluster.stop());

      it('joins the containers of three hosts: each reaches all by ping', () =>
        allReachAll(cluster.containers.flat()));

      it('carries TCP between them', async () => {
        const [sent, arrived] = await transfer(inside(1), cluster.containers[1][1]);
        assert.equal(sent.length, 64);
        assert.equal(arrived, sent);
      });

      it('tells the sender where no host has the destination', async () => {
        const { stdout } = await ping(inside(1), '10.244.9.9');
        assert.match(stdout, /From 10\.244\.1\.0 icmp_seq=1 Destination Net Unreachable/);
      });

      it('lets a host send for its own subnet alone, and a stranger not at all', async () => {
        // Host 3 is taken over.
        await cluster.daemons[2].stop();
        const { lan } = lab;
        await (await lan.link('lan')).replaceAddress('192.0.2.9/24');
        const [, , { namespace: stolen }] = lab.hosts;
        await using receiver = openUdp({
          namespace: inside(1),
          address: '10.244.1.2',
          port: 7777,
        });
        await using host3 = openUdp({ namespace: stolen, address: '192.0.2.3', port: PORT });
        await using otherPort = openUdp({ namespace: stolen, address: '192.0.2.3', port: PORT + 1 });
        await using stranger = openUdp({ namespace: lan, address: '192.0.2.9', port: PORT });
        const to = new Endpoint('192.0.2.1', PORT);
        const packet = (source: string, text: string, ttl = 64): Buffer => {
          const ends = { source, destination: '10.244.1.2' };
          const ports = { sourcePort: 7777, destinationPort: 7777 };
          const payload = udpDatagram({ ...ends, ...ports, payload: Buffer.from(text) });
          return ipv4Packet({ ...ends, protocol: IpProtocol.UDP, ttl, payload });
        };
        const otherVersion = packet('10.244.3.2', 'not IPv4');
        otherVersion[0] = 0x65;
        stranger.send(packet('10.244.3.2', 'a stranger'), to);
        stranger.send(packet('198.51.100.1', 'from outside'), to);
        otherPort.send(packet('10.244.3.2', 'another port'), to);
        host3.send(packet('10.244.2.2', "another host's subnet"), to);
        host3.send(packet('10.244.1.3', "the receiver's own subnet"), to);
        host3.send(packet('10.244.3.2', 'no TTL left', 0), to);
        host3.send(otherVersion, to);
        host3.send(Buffer.of(0x45), to);
        host3.send(packet('10.244.3.2', 'allowed'), to);
        for await (const batch of receiver.batches()) {
          assert.deepEqual([...batch].map(String), ['allowed']);
          break;
        }
      });
    });
  }

  for (const path of PATHS) {
    it(`ends with a word where flannel0 is deleted, by "${path}"`, async () => {
      await start(path);
      try {
        const [daemon] = cluster.daemons;
        await (await daemon.host.namespace.link('flannel0')).delete();
        assert.equal(await daemon.ended, 1);
        assert.match(daemon.log, /flannel0/);
      } finally {
        await cluster.stop();
      }
    });
  }

  describe('as a network', () => {
    before(() => start('offloads'));
    after(() => cluster.stop());

    it('is a TUN device with the subnet, an MTU 28 bytes below the link, and the route to the overlay', async () => {
      const [{ namespace }] = lab.hosts;
      const { linkinfo, mtu, addr_info } = (await ipLink(namespace, 'flannel0')) ?? assert.fail();
      assert.equal(linkinfo?.info_data.type, 'tun');
      assert.equal(mtu, 1500 - 28);
      const addresses = addr_info?.filter(({ family }) => family === 'inet');
      assert.deepEqual(
        addresses?.map(({ local, prefixlen }) => `${local}/${prefixlen}`),
        ['10.244.1.0/32'],
      );
      const [route] = await ip(namespace, 'route', 'show', '10.244.0.0/16');
      assert.equal(route.dev, 'flannel0');

      const whole = mtu - 20 - 8;
      const from = inside(1);
      assert.equal((await ping(from, '10.244.2.2', '-M', 'do', '-s', `${whole}`)).status, 0);
      assert.match((await ping(from, '10.244.2.2', '-M', 'do', '-s', `${whole + 1}`)).stderr, /mtu=1472/);
    });

    it('puts the bare packet into UDP on port 8285, its TTL counted down by kernel and daemon', async () => {
      // Behind the 8 bytes of UDP: IPv4 of 20 bytes, TTL 64 less two, ICMP, from 10.244.1.2 to 10.244.2.2.
      const inner =
        'udp[8] = 0x45 and udp[16] = 62 and udp[17] = 1 and udp[20:4] = 0x0af40102 and udp[24:4] = 0x0af40202';
      const packet = await firstPacket(lab.hosts[1].namespace, 'eth0', `udp port ${PORT} and ${inner}`, () =>
        ping(inside(1), '10.244.2.2'),
      );
      assert.match(packet, /192\.0\.2\.1\.8285 > 192\.0\.2\.2\.8285: UDP, length 84/);
    });

    it('is a hop between two routers, and says so when the TTL ends there', async () => {
      const namespace = inside(1);
      for (const [ttl, hop] of [
        [1, '10.244.1.1'],
        [2, '10.244.1.0'],
        [3, '10.244.2.0'],
      ] as const) {
        const { stdout } = await ping(namespace, '10.244.2.2', '-t', `${ttl}`);
        assert.ok(stdout.includes(`From ${hop} icmp_seq=1 Time to live exceeded`), stdout);
      }
      assert.match((await ping(namespace, '10.244.2.2', '-t', '4')).stdout, /ttl=61 /);
    });

    it('changes its routes while it runs, the longest prefix winning', async () => {
      const namespace = inside(1);
      const [daemon] = cluster.daemons;
      const from = daemon.log.length;
      // The reserved /32 of a container that moved to host 3, as its lease would say.
      const key = `${PREFIX}/subnets/10.244.2.3-32`;
      await lab.etcd.put(key, { PublicIP: '192.0.2.3' });
      await daemon.said(/10\.244\.2\.3\/32 is on 192\.0\.2\.3/, from);
      assert.equal((await ping(namespace, '10.244.2.2')).status, 0);
      await firstPacket(lab.hosts[2].namespace, 'eth0', `udp port ${PORT} and udp[24:4] = 0x0af40203`, () =>
        ping(namespace, '10.244.2.3', '-W0.1'),
      );
      await lab.etcd.deleteAll(key);
      await daemon.said(/10\.244\.2\.3\/32 is gone from 192\.0\.2\.3/, from);
      assert.equal((await ping(namespace, '10.244.2.3')).status, 0);
    });
  });
});
