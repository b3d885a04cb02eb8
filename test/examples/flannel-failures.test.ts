import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Cluster, type Daemon, PREFIX } from '../../examples/flannel/cluster.ts';
import { ipLink, needs, run } from '../support.ts';
import {
  allReachAll,
  eventually,
  FlannelLab,
  leaseKey as key,
  overlayRoutes,
  PROGRAMS,
  SUBNETS,
} from './flannel-lab.ts';

const BACKENDS = ['udp', 'vxlan', 'host-gw', 'wireguard'] as const;

describe('what a cluster survives (examples/flannel)', () => {
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

  /** Replaces the daemon of a host that has ended. */
  async function again(i: number, ...args: readonly string[]): Promise<Daemon> {
    const daemon = cluster.daemon(lab.hosts[i], ...args);
    cluster.daemons[i] = daemon;
    await daemon.ready;
    return daemon;
  }

  it('carries traffic while etcd is away, and follows it again when it is back', async () => {
    await start('vxlan', '--lease-seconds', '2');
    await lab.etcd.stop();
    await new Promise((resolve) => setTimeout(resolve, 3000)); // longer than the leases
    await allReachAll(cluster.containers.flat());
    await lab.etcd.start();
    assert.deepEqual(await keys(), all);
    await Promise.all(cluster.daemons.map((daemon) => daemon.said(/lists all leases again/)));
    await lab.etcd.put(key('10.244.77.0/24'), {
      PublicIP: '192.0.2.77',
      BackendType: 'vxlan',
      BackendData: { VNI: 1, VtepMAC: '02:00:00:00:00:77' },
    });
    await Promise.all(cluster.daemons.map((daemon) => daemon.said(/10\.244\.77\.0\/24 is on 192\.0\.2\.77/)));
    await new Promise((resolve) => setTimeout(resolve, 3000));
    assert.deepEqual(await keys(), [...all, key('10.244.77.0/24')]);
    assert.ok((await overlayRoutes(lab.hosts[0])).includes('10.244.77.0/24'));
    await allReachAll(cluster.containers.flat());
  });

  it('writes the leases again if etcd comes back without them', async () => {
    await start('host-gw');
    await lab.etcd.stop();
    lab.etcd.forget();
    await lab.etcd.start();
    await Promise.all(cluster.daemons.map((daemon) => daemon.said(/took 10\.244\.\d\.0\/24 again/)));
    assert.deepEqual(await keys(), all);
    // Each daemon hears of the others one by one.
    await eventually(() => allReachAll(cluster.containers.flat()));
  });

  it('lists afresh if etcd has compacted what happened while a watch was down', async () => {
    await start('host-gw');
    const [daemon] = cluster.daemons;
    const from = daemon.log.length;
    await lab.etcd.put(key('10.244.51.0/24'), { PublicIP: '192.0.2.51', BackendType: 'host-gw' });
    await daemon.said(/10\.244\.51\.0\/24 is on 192\.0\.2\.51/, from);
    process.kill(daemon.pid, 'SIGSTOP');
    await lab.etcd.stop();
    await lab.etcd.start();
    await lab.etcd.put(key('10.244.50.0/24'), { PublicIP: '192.0.2.50', BackendType: 'host-gw' });
    await lab.etcd.deleteAll(key('10.244.51.0/24'));
    const { header } = await lab.etcd.put('/another', 'key');
    await lab.etcd.request('kv/compaction', { revision: header.revision, physical: true });
    process.kill(daemon.pid, 'SIGCONT');
    await daemon.said(/10\.244\.50\.0\/24 is on 192\.0\.2\.50/, from);
    assert.deepEqual(await overlayRoutes(lab.hosts[0]), ['10.244.2.0/24', '10.244.3.0/24', '10.244.50.0/24']);
    await lab.etcd.deleteAll(key('10.244.50.0/24'));
    await daemon.said(/10\.244\.50\.0\/24 is gone/, from);
  });

  it('drops the routes to a host that was killed, when its short lease ends', async () => {
    await start('host-gw', '--lease-seconds', '2');
    const [first, , third] = cluster.daemons;
    await third.stop('SIGKILL');
    await first.said(/10\.244\.3\.0\/24 is gone from 192\.0\.2\.3/);
    assert.deepEqual(await overlayRoutes(lab.hosts[0]), ['10.244.2.0/24']);
    assert.deepEqual(await keys(), all.slice(0, 2));
  });

  for (const type of BACKENDS) {
    it(`gives a host that was killed its own subnet back, by ${type}`, async () => {
      await start(type);
      await cluster.daemons[2].stop('SIGKILL');
      // The lease is found by the host's address.
      rmSync(join(cluster.run(lab.hosts[2]), 'subnet.env'));
      await again(2);
      assert.equal((await cluster.daemons[2].subnetEnv()).gateway, '10.244.3.1/24');
      assert.deepEqual(await keys(), all);
      await eventually(() => allReachAll(cluster.containers.flat()));
      // Its lease is gone, and subnet.env tells the subnet.
      await cluster.daemons[2].stop('SIGKILL');
      await lab.etcd.deleteAll(key('10.244.3.0/24'));
      await again(2);
      assert.equal((await cluster.daemons[2].subnetEnv()).gateway, '10.244.3.1/24');
      await eventually(() => allReachAll(cluster.containers.flat()));
    });

    it(`follows a host whose address changes, by ${type}`, async () => {
      await start(type);
      const [first, second] = cluster.daemons;
      const from = [first.log.length, second.log.length];
      const eth0 = await lab.hosts[1].namespace.link('eth0');
      await eth0.deleteAddress('192.0.2.2/24');
      await second.said(/eth0 has lost 192\.0\.2\.2\nwaits for eth0/, from[1]);
      await eth0.addAddress('192.0.2.22/24');
      try {
        await second.said(/has 10\.244\.2\.0\/24 by .* from 192\.0\.2\.22\n/, from[1]);
        await first.said(/10\.244\.2\.0\/24 is on 192\.0\.2\.22\n/, from[0]);
        assert.deepEqual(await keys(), all);
        await eventually(() => allReachAll(cluster.containers.flat()));
      } finally {
        await second.stop();
        await eth0.deleteAddress('192.0.2.22/24');
        await eth0.addAddress('192.0.2.2/24');
      }
    });

    it(`passes over leases that make no sense, by ${type}, and tells of them`, async () => {
      await start(type);
      const [daemon] = cluster.daemons;
      const routes = await overlayRoutes(lab.hosts[0]);
      const lease = (publicIp: string, data?: object): string =>
        JSON.stringify({ PublicIP: publicIp, BackendType: type, BackendData: data });
      for (const [where, value] of [
        ['10.244.60.0-24', '{'],
        ['10.244.61.0-24', '"text"'],
        ['10.244.62.0-24', lease('somewhere')],
        ['10.244.63.0-33', lease('192.0.2.63')],
        ['here', lease('192.0.2.64')],
        ['10.0.0.0-8', lease('192.0.2.65')],
        ['198.51.100.0-24', lease('192.0.2.66')],
        ['10.244.1.128-25', lease('192.0.2.67')],
        ['10.244.68.0-24', lease('192.0.2.1')],
        ...(type === 'vxlan' ? [['10.244.69.0-24', lease('192.0.2.69', { VtepMAC: 'none' })]] : []),
        ...(type === 'wireguard' ? [['10.244.69.0-24', lease('192.0.2.69', { PublicKey: 'none' })]] : []),
        ...(type === 'host-gw' ? [['10.244.69.0-24', lease('198.51.100.69')]] : []),
      ]) {
        const from = daemon.log.length;
        await lab.etcd.put(SUBNETS + where, value);
        await daemon.said(new RegExp(`passes over ${SUBNETS}${where}: \\S`), from);
        await lab.etcd.deleteAll(SUBNETS + where);
      }
      assert.deepEqual(await overlayRoutes(lab.hosts[0]), routes);
      await allReachAll(cluster.containers.flat());
    });
  }

  it('gives two hosts that want the same subnet at once two different ones', async () => {
    cluster = await lab.cluster({ Type: 'host-gw' });
    for (const host of lab.hosts) cluster.prefer(host, '10.244.9.1/24');
    await cluster.start();
    const gateways = await Promise.all(cluster.daemons.map((daemon) => daemon.subnetEnv()));
    assert.equal(new Set(gateways.map(({ gateway }) => gateway)).size, 3);
    assert.equal(gateways.filter(({ gateway }) => gateway === '10.244.9.1/24').length, 1);
    await allReachAll(cluster.containers.flat());
  });

  it('says that a network is full', async () => {
    cluster = await lab.cluster({ Type: 'host-gw' }, { SubnetMin: '10.244.4.0', SubnetMax: '10.244.5.0' });
    const daemons = lab.hosts.map((host) => cluster.daemon(host));
    const outcomes = await Promise.allSettled(daemons.map(({ ready }) => ready));
    const full = daemons[outcomes.findIndex(({ status }) => status === 'rejected')];
    assert.equal(outcomes.filter(({ status }) => status === 'rejected').length, 1);
    assert.equal(await full.ended, 1);
    const message = 'The network 10.244.0.0/16 is full: each /24 from 10.244.4.0 to 10.244.5.0 is taken';
    assert.ok(full.log.includes(message), full.log);
    cluster.daemons = daemons.filter((daemon) => daemon !== full);
  });

  // The waits of examples/flannel are timers, which the wall clock does not move. A renewal that waited by Date would come a
  // day late: etcd would end the lease, and the daemon would write the key again.
  it('renews its lease without the wall clock, which may be set back', async () => {
    const preload = `const Real = Date; let set = false;
      globalThis.Date = class extends Real {
        constructor(...args) { super(...(args.length > 0 ? args : [Date.now()])); }
        static now() { return Real.now() - (set ? 864e5 : 0); }
      };
      process.on('SIGUSR2', () => {
        const [wall, steady] = [new Date().getTime(), performance.now()];
        set = true;
        const moved = [new Date().getTime() - wall, performance.now() - steady];
        console.error('set back', ...moved.map((ms) => Math.round(ms / 1000)));
      });`;
    process.env.NODE_OPTIONS = `--import=data:text/javascript,${encodeURIComponent(preload)}`;
    try {
      await start('wireguard', '--lease-seconds', '2');
    } finally {
      delete process.env.NODE_OPTIONS;
    }
    const [daemon] = cluster.daemons;
    const before = await lab.etcd.revision(all[0]);
    process.kill(daemon.pid, 'SIGUSR2');
    await daemon.said(/set back -86400 -?0\n/);
    await new Promise((resolve) => setTimeout(resolve, 4000)); // two leases
    assert.equal(await lab.etcd.revision(all[0]), before);
    await cluster.daemons[2].stop();
    await again(2);
    await eventually(() => allReachAll(cluster.containers.flat()));
  });

  it('ends with a word if its lease is taken over or its link is deleted, and leaves nothing', async () => {
    await start('vxlan');
    const [first, second, third] = cluster.daemons;
    await lab.etcd.deleteAll(key('10.244.1.0/24'));
    await first.said(/took 10\.244\.1\.0\/24 again/);
    await first.stop();
    await lab.etcd.put(key('10.244.3.0/24'), { PublicIP: '192.0.2.99', BackendType: 'vxlan' });
    assert.equal(await third.ended, 1);
    assert.match(third.log, /Another host has taken 10\.244\.3\.0\/24: .*192\.0\.2\.99.*\n$/);
    await run(lab.hosts[1].namespace, 'ip', 'link', 'del', 'flannel.1');
    assert.equal(await second.ended, 1);
    assert.match(second.log, /Somebody has deleted flannel\.1\n$/);
    for (const host of lab.hosts) {
      assert.equal(await ipLink(host.namespace, 'flannel.1'), undefined);
      assert.deepEqual(await overlayRoutes(host), []);
    }
  });

  it('waits for etcd and the configuration, and says so; SIGTERM ends the wait', async () => {
    cluster = await lab.cluster({ Type: 'vxlan' });
    await lab.etcd.deleteAll(`${PREFIX}/config`);
    await lab.etcd.stop();
    const waiting = cluster.daemon(lab.hosts[0]);
    cluster.daemons = [waiting];
    await waiting.said(
      /can't read the configuration now, and tries again: etcd at http:\/\/192\.0\.2\.254:2379: /,
    );
    await lab.etcd.start();
    await waiting.said(/waits for the configuration: etcd has no key \/coreos\.com\/network\/config/);
    assert.equal(await waiting.stop(), 0, waiting.log);
    const second = cluster.daemon(lab.hosts[0]);
    cluster.daemons = [second];
    await second.said(/waits for the configuration/);
    await cluster.configure({ Type: 'vxlan' });
    await second.ready;
  });

  it('refuses a lease of one and a half seconds', async () => {
    cluster = await lab.cluster({ Type: 'udp' });
    const daemon = cluster.daemon(lab.hosts[0], '--lease-seconds', '1.5');
    assert.equal(await daemon.ended, 1);
    assert.match(daemon.log, /--lease-seconds is an integer/);
  });

  for (const [config, message] of [
    ['{', /config is no JSON/],
    ['{"Network":"10.244.0.0/29"}', /config\.Network is too small/],
    ['{"Network":"10.244.0.0/16","Backend":{"Type":"ipsec"}}', /no backend 'ipsec'/],
    [
      '{"Network":"10.244.0.0/16","Backend":{"Type":"udp","Port":"8285"}}',
      /config\.Backend\.Port must be an integer/,
    ],
  ] as const) {
    it(`refuses the configuration ${config}`, async () => {
      cluster = await lab.cluster({ Type: 'udp' });
      await lab.etcd.put(`${PREFIX}/config`, config);
      const daemon = cluster.daemon(lab.hosts[0]);
      assert.equal(await daemon.ended, 1);
      assert.match(daemon.log, message);
    });
  }
});
