import assert from 'node:assert/strict';
import type { NetworkNamespace } from 'tuntap-native';
import { IpProtocol, ipv4Packet, udpDatagram } from 'tuntap-native/packet';
import { Endpoint, openUdp } from 'tuntap-native/tunnel';
import type { ControlledProcess } from '../../examples/controlled-process.ts';
import { startDaemons, stopDaemons } from '../../examples/flannel-udp/cluster.ts';
import { type Container, createHosts, type Host } from '../../examples/flannel-udp/lab.ts';
import { PATHS } from '../../examples/flannel-udp/overlay.ts';
import { inNamespace, ipLink, needs, run } from '../support.ts';
import { transfer } from './transfer.ts';
import { example, firstPacket, ping } from './watching.ts';

const PORT = 8285;

/** `ip -j`, the independent oracle. */
async function ip(namespace: NetworkNamespace, ...args: string[]): Promise<Record<string, unknown>[]> {
  return JSON.parse((await run(namespace, 'ip', '-j', ...args)).stdout);
}

describe("Flannel's UDP mode (examples/flannel-udp)", () => {
  let lab: Awaited<ReturnType<typeof createHosts>>['lab'] | undefined;
  let hosts: readonly Host[] = [];
  let daemons: readonly ControlledProcess[] = [];
  const container = (host: number, n = 0): Container => hosts[host - 1].containers[n];

  before(async function () {
    needs(this, 'ip', 'ping', 'tcpdump');
    ({ lab, hosts } = await createHosts());
  });
  after(() => lab?.close());

  for (const path of PATHS) {
    describe(`with the data path "${path}"`, () => {
      before(async () => {
        daemons = await startDaemons(hosts, path);
      });
      after(() => stopDaemons(daemons));

      it('joins the containers of three hosts: each reaches all by ping', async () => {
        const all = hosts.flatMap(({ containers }) => containers);
        await Promise.all(
          all.flatMap((from) =>
            all.map(async ({ address }) => {
              const { status, stdout } = await ping(from.namespace, address);
              assert.equal(status, 0, `${from.address} to ${address}: ${stdout}`);
            }),
          ),
        );
      });

      it('carries TCP between them', async () => {
        for (const [from, to] of [
          [1, 2],
          [2, 3],
          [3, 1],
        ]) {
          const [sent, arrived] = await transfer(container(from).namespace, container(to, 1));
          assert.equal(sent.length, 64);
          assert.equal(arrived, sent, `host ${from} to ${to}`);
        }
      });

      it('tells the sender where no host has the destination', async () => {
        const { stdout } = await ping(container(1).namespace, '10.244.9.9');
        assert.match(stdout, /From 10\.244\.1\.0 icmp_seq=1 Destination Net Unreachable/);
      });

      it('lets a host send for its own subnet alone, and a stranger not at all', async () => {
        // Host 3 is taken over.
        await daemons[2].stop();
        const lan = lab?.hosts.lan as NetworkNamespace;
        await (await lan.link('lan')).replaceAddress('192.0.2.9/24');
        const [{ namespace: stolen }] = hosts.slice(2);
        await using receiver = openUdp({
          namespace: container(1).namespace,
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
      const [host] = hosts;
      const [daemon] = await startDaemons([host], path);
      await (await host.namespace.link('flannel0')).delete();
      assert.equal(await daemon.ended, 1);
      await assert.rejects(daemon.command('show'), /daemon\.js .* ended/);
    });
  }

  describe('as a network', () => {
    before(async () => {
      daemons = await startDaemons(hosts);
    });
    after(() => stopDaemons(daemons));

    it('is a TUN device with the subnet, an MTU 28 bytes below the link, and the route to the overlay', async () => {
      const [{ namespace }] = hosts;
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
      const { namespace: from } = container(1);
      assert.equal((await ping(from, '10.244.2.2', '-M', 'do', '-s', `${whole}`)).status, 0);
      assert.match((await ping(from, '10.244.2.2', '-M', 'do', '-s', `${whole + 1}`)).stderr, /mtu=1472/);
    });

    it('puts the bare packet into UDP on port 8285, its TTL counted down by kernel and daemon', async () => {
      // Behind the 8 bytes of UDP: IPv4 of 20 bytes, TTL 64 less two, ICMP, from 10.244.1.2 to 10.244.2.2.
      const inner =
        'udp[8] = 0x45 and udp[16] = 62 and udp[17] = 1 and udp[20:4] = 0x0af40102 and udp[24:4] = 0x0af40202';
      const packet = await firstPacket(hosts[1].namespace, 'eth0', `udp port ${PORT} and ${inner}`, () =>
        ping(container(1).namespace, '10.244.2.2'),
      );
      assert.match(packet, /192\.0\.2\.1\.8285 > 192\.0\.2\.2\.8285: UDP, length 84/);
    });

    it('is a hop between two routers, and says so when the TTL ends there', async () => {
      const { namespace } = container(1);
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
      const { namespace } = container(1);
      const [daemon] = daemons;
      assert.deepEqual(await daemon.command('show'), [
        '10.244.2.0/24 192.0.2.2:8285',
        '10.244.3.0/24 192.0.2.3:8285',
      ]);
      await daemon.command('delete 10.244.2.0/24');
      assert.match((await ping(namespace, '10.244.2.2')).stdout, /Destination Net Unreachable/);
      await daemon.command('set 10.244.0.0/16 192.0.2.3');
      await daemon.command('set 10.244.2.2/32 192.0.2.2');
      assert.equal((await ping(namespace, '10.244.2.2')).status, 0);
      // Its neighbour now goes to host 3.
      await firstPacket(hosts[2].namespace, 'eth0', `udp port ${PORT} and udp[24:4] = 0x0af40203`, () =>
        ping(namespace, '10.244.2.3', '-W0.1'),
      );
      for (const [command, message] of [
        ['delete 10.244.2.0/24', /no route to 10\.244\.2\.0\/24/],
        ['set 10.244.2.1/24 192.0.2.2', /no IPv4 network/],
        ['set 10.244.2.0/24 nowhere', /must be an IP address/],
        ['flush', /'flush' is none of set, delete, show/],
      ] as const) {
        await assert.rejects(daemon.command(command), message);
      }
    });

    it('stops at SIGTERM and leaves neither device nor route', async () => {
      process.kill(daemons[0].pid, 'SIGTERM');
      await daemons[0].ended;
      assert.equal(await ipLink(hosts[0].namespace, 'flannel0'), undefined);
      assert.deepEqual(await ip(hosts[0].namespace, 'route', 'show', '10.244.0.0/16'), []);
    });
  });
});

describe("Flannel's UDP mode beside batches and offloads (examples/flannel-udp/main)", () => {
  it('shows that all reach all, measures each data path, and leaves nothing behind', async function () {
    needs(this, 'ip', 'ping', 'iperf3');
    await inNamespace(async (namespace) => {
      const { status, stdout, stderr } = await example(namespace, 'flannel-udp/main', '--seconds=1');
      assert.equal(status, 0, stderr);
      for (const address of ['10.244.1.2', '10.244.2.3', '10.244.3.3']) {
        assert.match(stdout, new RegExp(`^${address}( +[\\d.]+| +-){6}$`, 'm'));
      }
      for (const row of [
        'by batches, with offloads',
        'by batches, without offloads',
        'one packet at a time',
      ]) {
        assert.match(stdout, new RegExp(`^${row}.* \\d+\\.\\d\\d +\\d+\\.\\d$`, 'm'));
      }
    });
  });
});
