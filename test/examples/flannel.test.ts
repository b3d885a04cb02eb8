import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Cluster, PREFIX } from '../../examples/flannel/cluster.ts';
import { inNamespace, ipLink, needs, run } from '../support.ts';
import { allReachAll, eventually, FlannelLab, ip, overlayRoutes, PROGRAMS, reaches } from './flannel-lab.ts';
import { transfer } from './transfer.ts';
import { example, ping } from './watching.ts';

/** What each backend makes. */
const BACKENDS = [
  { type: 'udp', mtu: 1500 - 28, link: 'flannel0', routes: ['10.244.0.0/16'] },
  { type: 'vxlan', mtu: 1500 - 50, link: 'flannel.1', routes: ['10.244.2.0/24', '10.244.3.0/24'] },
  { type: 'host-gw', mtu: 1500, link: undefined, routes: ['10.244.2.0/24', '10.244.3.0/24'] },
  { type: 'wireguard', mtu: 1500 - 80, link: 'flannel-wg', routes: ['10.244.0.0/16'] },
] as const;

describe('a cluster as with Flannel (examples/flannel)', () => {
  let lab: FlannelLab;
  let cluster: Cluster;

  before(async function () {
    needs(this, ...PROGRAMS);
    lab = await FlannelLab.create();
  });
  after(() => lab?.close());

  for (const { type, mtu, link, routes } of BACKENDS) {
    describe(`with the backend ${type}`, () => {
      before(async () => {
        cluster = await lab.cluster({ Type: type });
        await cluster.start();
      });
      after(() => cluster.stop());

      it('joins the containers of three hosts: each reaches all by ping', () =>
        allReachAll(cluster.containers.flat()));

      it('carries TCP between them', async () => {
        for (const [from, to] of [
          [0, 1],
          [1, 2],
          [2, 0],
        ]) {
          const [sent, arrived] = await transfer(
            cluster.containers[from][0].namespace,
            cluster.containers[to][1],
          );
          assert.equal(sent.length, 64);
          assert.equal(arrived, sent, `host ${from + 1} to ${to + 1}`);
        }
      });

      it('reaches the containers from the host itself too', async () => {
        const { stdout, status } = await ping(lab.hosts[0].namespace, '10.244.2.2');
        assert.equal(status, 0, stdout);
      });

      it('tells in subnet.env the MTU that fits, and the largest packet passes', async () => {
        const text = readFileSync(join(cluster.run(lab.hosts[0]), 'subnet.env'), 'utf8');
        const variables = [
          'FLANNEL_NETWORK=10.244.0.0/16',
          'FLANNEL_SUBNET=10.244.1.1/24',
          `FLANNEL_MTU=${mtu}`,
          'FLANNEL_IPMASQ=false',
        ];
        assert.equal(text, `${variables.join('\n')}\n`);
        const [{ namespace }] = cluster.containers[0];
        const size = `${mtu - 20 - 8}`;
        const { status, stdout } = await ping(namespace, '10.244.2.2', '-M', 'do', '-s', size);
        assert.equal(status, 0, stdout);
      });

      it("writes Flannel's key and value into etcd", async () => {
        const leases = await lab.etcd.list(`${PREFIX}/subnets/`);
        assert.deepEqual(
          [...leases.keys()].sort(),
          [1, 2, 3].map((n) => `${PREFIX}/subnets/10.244.${n}.0-24`),
        );
        const value = leases.get(`${PREFIX}/subnets/10.244.1.0-24`) ?? '';
        const attributes = { PublicIP: '192.0.2.1', PublicIPv6: null };
        if (type === 'udp') assert.deepEqual(JSON.parse(value), attributes);
        if (type === 'host-gw') assert.deepEqual(JSON.parse(value), { ...attributes, BackendType: type });
        if (type === 'vxlan') {
          const { address } = (await ipLink(lab.hosts[0].namespace, 'flannel.1')) ?? assert.fail();
          const data = { VNI: 1, VtepMAC: address };
          assert.deepEqual(JSON.parse(value), { ...attributes, BackendType: type, BackendData: data });
        }
        if (type === 'wireguard') {
          const { BackendData: data, ...rest } = JSON.parse(value);
          assert.deepEqual(rest, { ...attributes, BackendType: type });
          assert.match(data.PublicKey, /^[\w+/]{43}=$/);
          assert.deepEqual(Object.keys(data), ['PublicKey', 'Port']);
          assert.equal(data.Port, 51820);
        }
      });

      it('tells of a host with another backend, and leaves it out', async () => {
        const [daemon] = cluster.daemons;
        const key = `${PREFIX}/subnets/10.244.77.0-24`;
        await lab.etcd.put(key, { PublicIP: '192.0.2.77', BackendType: 'ipsec' });
        await daemon.said(/passes over .*10\.244\.77\.0-24: its backend is ipsec, not /);
        assert.deepEqual(await overlayRoutes(lab.hosts[0]), routes);
        await lab.etcd.deleteAll(key);
      });

      it('follows a host that gets another subnet', async () => {
        const [daemon] = cluster.daemons;
        const leases = await lab.etcd.list(`${PREFIX}/subnets/`);
        const key = `${PREFIX}/subnets/10.244.88.0-24`;
        const value = (leases.get(`${PREFIX}/subnets/10.244.3.0-24`) ?? '').replace(
          '192.0.2.3',
          '192.0.2.88',
        );
        const from = daemon.log.length;
        await lab.etcd.put(key, value);
        await daemon.said(/10\.244\.88\.0\/24 is on 192\.0\.2\.88/, from);
        await lab.etcd.deleteAll(key);
        await daemon.said(/10\.244\.88\.0\/24 is gone from 192\.0\.2\.88/, from);
        assert.deepEqual(await overlayRoutes(lab.hosts[0]), routes);
        // A real host with that key would not have left with it.
        await lab.etcd.put(
          `${PREFIX}/subnets/10.244.3.0-24`,
          leases.get(`${PREFIX}/subnets/10.244.3.0-24`) ?? '',
        );
      });

      it('leaves neither link nor route after SIGTERM, but the lease', async () => {
        const [daemon] = cluster.daemons;
        assert.equal(await daemon.stop(), 0, daemon.log);
        if (link !== undefined) assert.equal(await ipLink(lab.hosts[0].namespace, link), undefined);
        assert.deepEqual(await overlayRoutes(lab.hosts[0]), []);
        const leases = await lab.etcd.list(`${PREFIX}/subnets/`);
        assert.ok(leases.has(`${PREFIX}/subnets/10.244.1.0-24`));
      });
    });
  }

  describe('with VXLAN', () => {
    beforeEach(async () => {
      cluster = await lab.cluster({ Type: 'vxlan', VNI: 7, port: 8473, DirectRouting: false });
      await cluster.start();
    });
    afterEach(() => cluster.stop());

    it("makes the kernel's device as configured, and for each host a route, a neighbour and an entry", async () => {
      const [{ namespace }] = lab.hosts;
      const { linkinfo, mtu } = (await ipLink(namespace, 'flannel.7')) ?? assert.fail();
      const { id, port, local, learning, link } = linkinfo?.info_data ?? {};
      assert.deepEqual(
        { id, port, local, learning, link, mtu },
        {
          id: 7,
          port: 8473,
          local: '192.0.2.1',
          learning: false,
          link: 'eth0',
          mtu: 1450,
        },
      );
      const other = (await ipLink(lab.hosts[1].namespace, 'flannel.7')) ?? assert.fail();
      const [route] = await ip(namespace, 'route', 'show', '10.244.2.0/24');
      assert.deepEqual([route.gateway, route.dev, route.flags], ['10.244.2.0', 'flannel.7', ['onlink']]);
      const [neighbor] = await ip(namespace, 'neigh', 'show', '10.244.2.0');
      assert.deepEqual([neighbor.lladdr, neighbor.state], [other.address, ['PERMANENT']]);
      const { stdout } = await run(namespace, 'bridge', '-j', 'fdb', 'show', 'dev', 'flannel.7');
      const entries = JSON.parse(stdout).map(({ mac, dst }: Record<string, string>) => `${mac} ${dst}`);
      assert.ok(entries.includes(`${other.address} 192.0.2.2`), stdout);
    });

    it('follows a host whose device has another MAC, and forgets the old one', async () => {
      const [first, second] = cluster.daemons;
      const before = (await ipLink(lab.hosts[1].namespace, 'flannel.7')) ?? assert.fail();
      const from = first.log.length;
      await second.stop();
      const again = cluster.daemon(lab.hosts[1]);
      await again.ready;
      await first.said(/10\.244\.2\.0\/24 is on 192\.0\.2\.2/, from);
      cluster.daemons[1] = again;
      const after = (await ipLink(lab.hosts[1].namespace, 'flannel.7')) ?? assert.fail();
      assert.notEqual(after.address, before.address);
      const { stdout } = await run(lab.hosts[0].namespace, 'bridge', 'fdb', 'show', 'dev', 'flannel.7');
      assert.ok(stdout.includes(`${after.address} dst 192.0.2.2`), stdout);
      assert.ok(!stdout.includes(`${before.address}`), stdout);
      await again.said(/is on 192\.0\.2\.1\n/);
      await reaches(cluster.containers[0][0], cluster.containers[1][0]);
    });
  });

  it('routes VXLAN hosts on the same link directly, if DirectRouting says so', async () => {
    cluster = await lab.cluster({ Type: 'vxlan', DirectRouting: true });
    try {
      await cluster.start();
      const [route] = await ip(lab.hosts[0].namespace, 'route', 'show', '10.244.2.0/24');
      assert.deepEqual([route.gateway, route.dev], ['192.0.2.2', 'eth0']);
      await reaches(cluster.containers[0][0], cluster.containers[1][0]);
      const { log, host } = cluster.daemons[2];
      assert.equal(await cluster.daemons[2].stop(), 0, log);
      await lab.etcd.deleteAll(`${PREFIX}/subnets/10.244.3.0-24`);
      await cluster.daemons[0].said(/10\.244\.3\.0\/24 is gone/);
      assert.deepEqual(await overlayRoutes(lab.hosts[0]), ['10.244.2.0/24']);
      cluster.daemons[2] = cluster.daemon(host);
      await cluster.daemons[2].ready;

      // A host that moves to another link is reached by the tunnel, and directly when it is back.
      const key = `${PREFIX}/subnets/10.244.77.0-24`;
      const data = { VNI: 1, VtepMAC: '02:00:00:00:00:77' };
      for (const [publicIp, way] of [
        ['192.0.2.77', 'eth0'],
        ['198.51.100.77', 'flannel.1'],
        ['192.0.2.77', 'eth0'],
      ]) {
        await lab.etcd.put(key, { PublicIP: publicIp, BackendType: 'vxlan', BackendData: data });
        await eventually(async () => {
          const [{ dev }] = await ip(lab.hosts[0].namespace, 'route', 'show', '10.244.77.0/24');
          assert.equal(dev, way);
        });
      }
      const [{ namespace }] = lab.hosts;
      await eventually(async () => assert.deepEqual(await ip(namespace, 'neigh', 'show', '10.244.77.0'), []));
      await cluster.daemons[0].stop();
      assert.deepEqual(await overlayRoutes(lab.hosts[0]), []);
    } finally {
      await cluster.stop();
    }
  });

  it('puts the routes of host-gw back if somebody deletes one, or the link goes down for a while', async () => {
    cluster = await lab.cluster({ Type: 'host-gw' });
    try {
      await cluster.start();
      const [host] = lab.hosts;
      const all = ['10.244.2.0/24', '10.244.3.0/24'];
      await run(host.namespace, 'ip', 'route', 'del', '10.244.2.0/24');
      await eventually(async () => assert.deepEqual(await overlayRoutes(host), all));
      const link = await host.namespace.link('eth0');
      await link.set({ up: false });
      await eventually(async () => assert.deepEqual(await overlayRoutes(host), []));
      await link.set({ up: true });
      await eventually(async () => assert.deepEqual(await overlayRoutes(host), all));
      await eventually(() => reaches(cluster.containers[0][0], cluster.containers[1][0]));
    } finally {
      await cluster.stop();
    }
  });
});

describe('the demo of a cluster (examples/flannel/main)', () => {
  it('shows for each backend that all reach all, measures them, and leaves nothing behind', async function () {
    this.timeout(120_000);
    needs(this, ...PROGRAMS, 'iperf3');
    await inNamespace(async (namespace) => {
      const { status, stdout, stderr } = await example(namespace, 'flannel/main', '--seconds=1');
      assert.equal(status, 0, stderr);
      assert.equal(stdout.match(/^10\.244\.\d+\.\d+( +[\d.]+| +-){6}$/gm)?.length, 5 * 6, stdout);
      for (const row of ['the hosts', 'host-gw', 'vxlan', 'udp', 'wireguard', 'udp, one packet at a time']) {
        assert.match(
          stdout,
          new RegExp(`^${row}.* \\d+\\.\\d\\d +\\d+\\.\\d{3} +\\d+\\.\\d\\d +\\d+\\.\\d{3}$`, 'm'),
        );
      }
      assert.match(stderr, /^round 1\/1 vxlan +\d+\.\d{3} Gbit\/s/m);
      assert.match(stdout, /Why Flannel gave up its UDP mode/);
    });
  });
});
