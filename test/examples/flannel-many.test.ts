import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { NetworkNamespace } from 'tuntap-native';
import { Cluster, PREFIX } from '../../examples/flannel/cluster.ts';
import { needs } from '../support.ts';
import { allReachAll, eventually, FlannelLab, overlayRoutes, PROGRAMS } from './flannel-lab.ts';

const LEASES = 60;
const subnet = (i: number): string => `10.244.${100 + i}.0`;

/** The lease of a host that is not there. */
function lease(type: string, i: number): object {
  const data = { VNI: 1, VtepMAC: `02:00:00:00:00:${(10 + i).toString(16).padStart(2, '0')}` };
  return { PublicIP: `192.0.2.${10 + i}`, BackendType: type, ...(type === 'vxlan' && { BackendData: data }) };
}

/** What `ip monitor` tells of the overlay's routes and neighbours while something happens, until a line fits. */
async function monitored(
  namespace: NetworkNamespace,
  until: string,
  action: () => Promise<unknown>,
): Promise<string[]> {
  const child = namespace.spawn('ip', ['monitor', 'route', 'neigh'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: 20_000,
  });
  let text = '';
  child.stdout?.on('data', (data) => {
    text += data;
  });
  const closed = once(child, 'close');
  try {
    // It prints nothing when it begins to listen: a route of another network shows that it does.
    const probe = { destination: '198.51.100.0/24', device: 'lo' };
    await eventually(async () => {
      await namespace.replaceRoute(probe);
      await namespace.deleteRoute(probe);
      assert.match(text, /198\.51\.100\.0\/24/);
    });
    await action();
    await eventually(() => assert.ok(text.includes(until), text));
    // What comes after, if anything, is there before the next probe.
    const marker = { destination: '198.51.101.0/24', device: 'lo' };
    await namespace.addRoute(marker);
    await eventually(() => assert.match(text, /198\.51\.101\.0\/24/));
    await namespace.deleteRoute(marker);
  } finally {
    child.kill();
    await closed;
  }
  return text.split('\n').filter((line) => line.includes('10.244.'));
}

describe('a cluster of many hosts (examples/flannel)', () => {
  it('gives eight hosts that join an empty network at once eight subnets, and all reach all', async function () {
    needs(this, ...PROGRAMS);
    const lab = await FlannelLab.create(8);
    const cluster = new Cluster(lab.hosts, lab.etcd);
    try {
      // Few to choose from, so that some lose the race for one.
      await cluster.configure({ Type: 'vxlan' }, { SubnetMin: '10.244.1.0', SubnetMax: '10.244.9.0' });
      await cluster.start();
      const leases = await lab.etcd.list(`${PREFIX}/subnets/`);
      assert.equal(leases.size, 8);
      assert.equal(new Set([...leases.values()].map((value) => JSON.parse(value).PublicIP)).size, 8);
      await allReachAll(cluster.containers.map(([container]) => container));
    } finally {
      await cluster.stop();
      await lab.close();
    }
  });

  for (const [type, change] of [
    ['host-gw', `${subnet(7)}/24 via 192.0.2.18 `],
    ['vxlan', `${subnet(7)} dev flannel.1 lladdr 02:00:00:00:00:12 PERMANENT`],
  ] as const) {
    it(`has the routes of many leases, and touches one if one changes, by ${type}`, async function () {
      needs(this, ...PROGRAMS);
      const lab = await FlannelLab.create(1);
      const cluster = await lab.cluster({ Type: type });
      try {
        await cluster.start();
        const [host] = lab.hosts;
        const key = (i: number): string => `${PREFIX}/subnets/${subnet(i)}-24`;
        for (let i = 0; i < LEASES; i++) await lab.etcd.put(key(i), lease(type, i));
        const all = Array.from({ length: LEASES }, (_, i) => `${subnet(i)}/24`).sort();
        await eventually(async () => assert.deepEqual(await overlayRoutes(host), all));

        // Written again, as Flannel renews a lease: nothing happens. Then one moves.
        const lines = await monitored(host.namespace, change, async () => {
          for (let i = 0; i < LEASES; i++) await lab.etcd.put(key(i), lease(type, i));
          await lab.etcd.put(key(7), lease(type, 8));
        });
        assert.deepEqual(
          lines.filter((line) => !line.includes(subnet(7))),
          [],
        );
        await lab.etcd.deleteAll(key(7));
        const others = all.filter((destination) => destination !== `${subnet(7)}/24`);
        await eventually(async () => assert.deepEqual(await overlayRoutes(host), others));
      } finally {
        await cluster.stop();
        await lab.close();
      }
    });
  }
});
