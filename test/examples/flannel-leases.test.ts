import assert from 'node:assert/strict';
import { type Cluster, PREFIX } from '../../examples/flannel/cluster.ts';
import { needs, run } from '../support.ts';
import {
  allReachAll,
  eventually,
  FlannelLab,
  ip,
  leaseKey as key,
  overlayRoutes,
  PROGRAMS,
} from './flannel-lab.ts';

describe('the leases of a cluster (examples/flannel)', () => {
  let lab: FlannelLab;
  let cluster: Cluster;

  before(async function () {
    needs(this, ...PROGRAMS);
    lab = await FlannelLab.create();
  });
  after(() => lab?.close());
  afterEach(() => cluster.stop());

  async function start(type: string, ...args: readonly string[]): Promise<void> {
    cluster = await lab.cluster({ Type: type });
    await cluster.start(...args);
  }
  const keys = () => lab.leases();
  const all = [1, 2, 3].map((n) => key(`10.244.${n}.0/24`));

  it('takes its lease again if it ended while the daemon did not run', async () => {
    await start('host-gw', '--lease-seconds', '2');
    const [, , third] = cluster.daemons;
    process.kill(third.pid, 'SIGSTOP');
    await eventually(async () => assert.deepEqual(await keys(), all.slice(0, 2)));
    process.kill(third.pid, 'SIGCONT');
    await third.said(/took 10\.244\.3\.0\/24 again/);
    await eventually(() => allReachAll(cluster.containers.flat()));
    assert.deepEqual(await keys(), all);
  });

  it('drops a host whose lease is rewritten for another backend', async () => {
    await start('host-gw');
    const [first] = cluster.daemons;
    const where = key('10.244.80.0/24');
    await lab.etcd.put(where, { PublicIP: '192.0.2.80', BackendType: 'host-gw' });
    await first.said(/10\.244\.80\.0\/24 is on 192\.0\.2\.80/);
    for (const value of [{ PublicIP: '192.0.2.80', BackendType: 'vxlan' }, 'garbage']) {
      await lab.etcd.put(where, { PublicIP: '192.0.2.80', BackendType: 'host-gw' });
      await eventually(async () => assert.ok((await overlayRoutes(lab.hosts[0])).includes('10.244.80.0/24')));
      await lab.etcd.put(where, value);
      await eventually(async () =>
        assert.ok(!(await overlayRoutes(lab.hosts[0])).includes('10.244.80.0/24')),
      );
    }
  });

  it('prefers the subnet that it holds to another one with its new address', async () => {
    await start('host-gw');
    await lab.etcd.put(key('10.244.100.0/24'), { PublicIP: '192.0.2.22', BackendType: 'host-gw' });
    const [, second] = cluster.daemons;
    const from = second.log.length;
    const eth0 = await lab.hosts[1].namespace.link('eth0');
    await eth0.deleteAddress('192.0.2.2/24');
    await eth0.addAddress('192.0.2.22/24');
    try {
      await second.said(/has 10\.244\.\d+\.0\/24 by .* from 192\.0\.2\.22\n/, from);
      assert.match(second.log.slice(from), /has 10\.244\.2\.0\/24 by/);
    } finally {
      await second.stop();
      await eth0.deleteAddress('192.0.2.22/24');
      await eth0.addAddress('192.0.2.2/24');
    }
  });

  it('does not write over the key of a daemon that knows IPv6', async () => {
    cluster = await lab.cluster({ Type: 'host-gw' });
    const dual = `${key('10.244.1.0/24')}&fd00::-64`;
    await lab.etcd.put(dual, { PublicIP: '192.0.2.1', BackendType: 'host-gw' });
    cluster.daemons = [cluster.daemon(lab.hosts[0])];
    await cluster.daemons[0].ready;
    const [taken, ...others] = (await keys()).filter((other) => other !== dual);
    assert.deepEqual(others, []);
    assert.notEqual(taken, key('10.244.1.0/24'));
  });

  for (const type of ['vxlan', 'wireguard']) {
    it(`keeps a host whose second lease goes, by ${type}`, async () => {
      await start(type);
      const [first, second] = cluster.daemons;
      const value = (await lab.etcd.list(all[2])).get(all[2]) ?? '';
      const where = key('10.244.90.0/24');
      for (const end of [
        () => lab.etcd.deleteAll(where),
        () => lab.etcd.put(where, value.replace(/"(VtepMAC|PublicKey)":"[^"]*"/, '"$1":"none"')),
      ]) {
        const from = [first.log.length, second.log.length];
        await lab.etcd.put(where, value);
        const told = (pattern: RegExp) =>
          Promise.all([first.said(pattern, from[0]), second.said(pattern, from[1])]);
        await told(/10\.244\.90\.0\/24 is on 192\.0\.2\.3\n/);
        await end();
        await told(/10\.244\.90\.0\/24 is gone from 192\.0\.2\.3\n/);
        await told(/10\.244\.3\.0\/24 is on 192\.0\.2\.3\n/);
        await eventually(() => allReachAll(cluster.containers.flat()));
        await lab.etcd.deleteAll(where);
      }
    });
  }

  it('removes all else if somebody removed the route first, by vxlan', async () => {
    await start('vxlan');
    const [first] = cluster.daemons;
    const { namespace } = lab.hosts[0];
    await lab.etcd.put(key('10.244.91.0/24'), {
      PublicIP: '192.0.2.91',
      BackendType: 'vxlan',
      BackendData: { VNI: 1, VtepMAC: '02:00:00:00:00:91' },
    });
    await first.said(/10\.244\.91\.0\/24 is on/);
    const neighbors = async () =>
      (await ip(namespace, 'neigh', 'show', 'dev', 'flannel.1')).map(({ dst }) => dst);
    assert.ok((await neighbors()).includes('10.244.91.0'));
    await run(namespace, 'ip', 'route', 'del', '10.244.91.0/24');
    await lab.etcd.deleteAll(key('10.244.91.0/24'));
    await first.said(/can't remove 10\.244\.91\.0\/24: /);
    assert.ok(!(await neighbors()).includes('10.244.91.0'));
    await allReachAll(cluster.containers.flat());
  });

  it('tries a lease again that the backend could not use', async () => {
    await start('Host-GW', '--prefix', `${PREFIX}/`);
    const [first] = cluster.daemons;
    await lab.etcd.put(key('10.244.69.0/24'), { PublicIP: '198.51.100.69', BackendType: 'host-gw' });
    await first.said(/passes over .*10\.244\.69\.0-24: /);
    const eth0 = await lab.hosts[0].namespace.link('eth0');
    await eth0.addAddress('198.51.100.1/24');
    try {
      await first.said(/10\.244\.69\.0\/24 is on 198\.51\.100\.69/);
      assert.equal(first.log.match(/passes over/g)?.length, 1);
    } finally {
      await eth0.deleteAddress('198.51.100.1/24');
    }
  });
});
