import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { NetworkNamespace as DeviceNamespace, openTun } from 'tuntap-native';
import {
  createBridge,
  createVethPair,
  type NetworkEvent,
  type NetworkMonitor,
  NetworkNamespace,
} from 'tuntap-native/net';
import { needs, openFds, run, threadNamespaces } from '../support.ts';
import { sh } from './oracle.ts';

async function until(
  monitor: NetworkMonitor,
  wanted: (event: NetworkEvent) => boolean,
): Promise<NetworkEvent> {
  for await (const event of { [Symbol.asyncIterator]: () => ({ next: () => monitor.next() }) }) {
    if (wanted(event)) return event;
  }
  throw new Error('the monitor ended');
}

/** In pairs: their removal waits once for all. */
async function makeLinks(namespace: NetworkNamespace, count: number): Promise<void> {
  await Promise.all(
    Array.from({ length: count / 2 }, (_, i) =>
      namespace.addLink({ kind: 'veth', name: `a${i}`, peer: { name: `b${i}` } }),
    ),
  );
}

describe('pitfalls of rtnetlink', () => {
  before(function () {
    needs(this, 'ip');
  });

  it('the same NetworkNamespace is exported from both entry points', () => {
    assert.equal(NetworkNamespace, DeviceNamespace);
  });

  it('EINTR: in a storm of signals every request is carried out once', async () => {
    await using namespace = await NetworkNamespace.create();
    let signals = 0;
    const onSignal = (): void => {
      signals++;
    };
    process.on('SIGUSR2', onSignal);
    await delay(50); // Deno begins to listen a little later, and hears the last ones later
    const storm = spawn('sh', ['-c', `while kill -USR2 ${process.pid}; do :; done`], { stdio: 'ignore' });
    try {
      for (let i = 0; i < 40; i++) {
        const tun = openTun('tun%d', { namespace, addresses: ['192.0.2.1/24'], up: true });
        const link = await namespace.addLink({ kind: 'bridge', name: `b${i}`, up: true });
        await link.addAddress(`10.0.${i}.1/24`);
        assert.equal((await link.addresses()).filter(({ family }) => family === 4).length, 1);
        await tun.close();
      }
    } finally {
      storm.kill();
      await once(storm, 'close');
      await delay(50);
      process.off('SIGUSR2', onSignal);
    }
    assert.ok(signals > 100, `only ${signals} signals came`);
    assert.equal((await namespace.links({ kind: 'bridge' })).length, 40);
  });

  it('NLM_F_DUMP_INTR: a list of a thousand links is whole while others come and go', async function () {
    this.timeout(60_000);
    await using namespace = await NetworkNamespace.create();
    await makeLinks(namespace, 1000);
    const churn = namespace.spawn(
      'sh',
      ['-c', 'while :; do ip link add churn type bridge; sleep 0.05; ip link del churn; sleep 0.05; done'],
      { stdio: 'ignore' },
    );
    try {
      await once(churn, 'spawn');
      for (let i = 0; i < 20; i++) {
        const names = (await namespace.links({ kind: 'veth' })).map(({ name }) => name);
        assert.equal(names.length, 1000);
        assert.equal(new Set(names).size, 1000);
      }
    } finally {
      churn.kill();
      await once(churn, 'close');
    }
  });

  it('ENOBUFS: a monitor that was too slow says so and gives a snapshot', async () => {
    await using namespace = await NetworkNamespace.create();
    const monitor = namespace.monitor({ types: ['link'], receiveBuffer: 4096 });
    await makeLinks(namespace, 500);
    await until(monitor, ({ type }) => type === 'overflow');
    const snapshot = await until(monitor, () => true);
    assert.equal(snapshot.type, 'snapshot');
    assert.equal(snapshot.type === 'snapshot' && snapshot.links?.length, 501);
    // And goes on.
    await (await namespace.link('b7')).set({ mtu: 1400 });
    const event = await until(monitor, ({ type }) => type === 'link');
    assert.equal(event.type === 'link' && event.link.name, 'b7');
  });

  it('namespaces: after a thousand mixed operations every thread is where it was', async () => {
    const before = threadNamespaces();
    const outer = await NetworkNamespace.create();
    for (let i = 0; i < 100; i++) {
      const inner = await NetworkNamespace.create();
      const [near, far] = await createVethPair(
        { name: `v${i}`, namespace: outer, up: true },
        { name: 'eth0', namespace: inner, addresses: ['192.0.2.1/24'], up: true },
      );
      await Promise.all([near.get(), far.addresses(), inner.routes(), inner.rules(), inner.qdiscs()]);
      await inner.setSysctl('net.ipv4.ip_forward', true);
      await inner.neighbors();
      await inner.close();
    }
    await outer.close();
    assert.deepEqual(threadNamespaces(), before);
    assert.equal(before.size, 1);
  });

  it("veth: when one end's namespace goes, the other end goes, and a monitor tells when", async () => {
    await using near = await NetworkNamespace.create();
    const far = await NetworkNamespace.create();
    await createVethPair({ name: 'v1', namespace: near }, { name: 'v2', namespace: far });
    await using monitor = near.monitor({ types: ['link'] });
    await far.close();
    await until(
      monitor,
      (event) => event.type === 'link' && event.change === 'deleted' && event.link.name === 'v1',
    );
    await assert.rejects(near.link('v1'), { code: 'ENODEV' });
  });

  it('veth: a move takes the addresses and the state away, and the handle follows', async () => {
    await using a = await NetworkNamespace.create();
    await using b = await NetworkNamespace.create();
    const [link] = await createVethPair(
      { name: 'v1', namespace: a, addresses: ['192.0.2.1/24'], up: true },
      { name: 'v2', namespace: a, up: true },
    );
    await b.addLink({ kind: 'bridge', name: 'taken', index: link.index });
    await assert.rejects(link.moveTo(b, { name: 'taken' }), { code: 'EEXIST' });
    assert.equal((await link.get()).up, true);
    await link.moveTo(b, { name: 'moved' });
    const { name, up, linkNetnsid } = await link.get();
    assert.deepEqual({ name, up, linkNetnsid }, { name: 'moved', up: false, linkNetnsid: await b.nsid(a) });
    assert.deepEqual(await link.addresses(), []);
    assert.equal(link.namespace, b);
    const peer = await link.peer();
    assert.equal(peer?.name, 'v2');
    await peer?.namespace.close();
  });

  it('veth: a pair whose second end fails leaves nothing', async () => {
    await using a = await NetworkNamespace.create();
    await using b = await NetworkNamespace.create();
    await b.addLink({ kind: 'bridge', name: 'eth0' });
    const first = { name: 'v1', namespace: a };
    await assert.rejects(createVethPair(first, { name: 'eth0', namespace: b }), { code: 'EEXIST' });
    await assert.rejects(
      createVethPair(first, {
        name: 'v2',
        namespace: b,
        addresses: ['224.0.0.1/24', '2001:db8::1/64', '2001:db8::1/64'],
      }),
    );
    assert.deepEqual(
      (await a.links()).map(({ name }) => name),
      ['lo'],
    );
    assert.deepEqual(
      (await b.links()).map(({ name }) => name),
      ['lo', 'eth0'],
    );
  });

  it('bridge: one whose port is missing, or fails, is not left behind', async () => {
    await using namespace = await NetworkNamespace.create();
    await assert.rejects(createBridge({ name: 'br0', namespace, ports: ['nope'] }), { code: 'ENODEV' });
    await assert.rejects(createBridge({ name: 'br0', namespace, ports: ['lo'] }), { code: 'EINVAL' });
    assert.deepEqual(
      (await namespace.links()).map(({ name }) => name),
      ['lo'],
    );
  });

  it('IPv6: addresses of a new veth pair or bridge can be used at once, unless they are to be checked', async () => {
    await using a = await NetworkNamespace.create();
    await using b = await NetworkNamespace.create();
    const [, far] = await createVethPair(
      { name: 'v1', namespace: a, addresses: ['192.0.2.1/24', '2001:db8::1/64'], up: true },
      { name: 'v2', namespace: b, addresses: ['2001:db8::2/64'], up: true },
    );
    const ping = await run(a, 'ping', '-n', '-c1', '-W9', '2001:db8::2');
    assert.equal(ping.status, 0, ping.stdout + ping.stderr);
    const flags = async (namespace: NetworkNamespace, device: string) =>
      (await namespace.addresses({ device, scope: 'global' })).map(({ address, flags: list }) => [
        address,
        ...list,
      ]);
    assert.deepEqual(await flags(a, 'v1'), [
      ['192.0.2.1', 'permanent'],
      ['2001:db8::1', 'nodad', 'permanent'],
    ]);
    await createBridge({
      name: 'br0',
      namespace: b,
      ports: [far],
      addresses: ['2001:db8:1::1/64'],
      up: true,
    });
    assert.deepEqual(await flags(b, 'br0'), [['2001:db8:1::1', 'nodad', 'permanent']]);
    await createBridge({
      name: 'br1',
      namespace: b,
      addresses: ['2001:db8:2::1/64'],
      noDad: false,
      up: true,
    });
    assert.deepEqual(await flags(b, 'br1'), [['2001:db8:2::1', 'tentative', 'permanent']]);
    const ends = [a, b].map((namespace) => ({
      name: 'v3',
      namespace,
      addresses: ['2001:db8:3::1/64'],
      up: true,
    }));
    await createVethPair({ ...ends[0], noDad: false }, { ...ends[1], noDad: true });
    assert.deepEqual((await flags(a, 'v3'))[0].includes('nodad'), false);
    assert.deepEqual((await flags(b, 'v3'))[0].includes('nodad'), true);
  });

  it('IPv6: the link-local address of a link is its MAC as EUI-64', async () => {
    await using namespace = await NetworkNamespace.create();
    await createVethPair(
      { name: 'v1', namespace, mac: '02:42:ac:11:00:02', up: true },
      { name: 'v2', namespace, up: true },
    );
    await using monitor = namespace.monitor({ types: ['address'], snapshot: true });
    const found = (event: NetworkEvent): string[] =>
      (event.type === 'snapshot' ? (event.addresses ?? []) : event.type === 'address' ? [event.address] : [])
        .filter(({ device, scope }) => device === 'v1' && scope === 'link')
        .map(({ address, prefixLength }) => `${address}/${prefixLength}`);
    const event = await until(monitor, (each) => found(each).length > 0);
    assert.deepEqual(found(event), ['fe80::42:acff:fe11:2/64']);
  });

  it('workers: one that is terminated in the middle of its requests leaves nothing', async () => {
    let fds = 0;
    for (let i = 0; i < 6; i++) {
      const worker = new Worker(new URL('./request-worker.js', import.meta.url));
      await once(worker, 'message');
      for (let turn = 0; turn < i * 3; turn++) await new Promise(setImmediate);
      await worker.terminate();
      if (i === 0) fds = openFds(); // a runtime keeps fds of its first worker
    }
    // Deno's thread ends a little later.
    while (openFds() > fds || threadNamespaces().size > 1) await new Promise(setImmediate);
  });

  it('ids: nsid() is what `ip netns list-id` and link-netnsid say', async () => {
    await using a = await NetworkNamespace.create();
    await using b = await NetworkNamespace.create();
    assert.equal(await a.nsid(b), undefined);
    const [link] = await createVethPair({ name: 'v1', namespace: a }, { name: 'v2', namespace: b });
    const nsid = await a.nsid(b);
    assert.equal((await link.get()).linkNetnsid, nsid);
    assert.match(await sh(a, 'ip netns list-id'), new RegExp(`^nsid ${nsid}\\b`));
  });

  it('sysctl: a setting belongs to its namespace', async () => {
    await using a = await NetworkNamespace.create();
    await using b = await NetworkNamespace.create();
    await a.setSysctl('net.ipv4.ip_forward', true);
    assert.equal(await a.sysctl('net.ipv4.ip_forward'), '1');
    assert.equal(await b.sysctl('net.ipv4.ip_forward'), '0');
    assert.equal((await run(a, 'cat', '/proc/sys/net/ipv4/ip_forward')).stdout, '1\n');
    await assert.rejects(a.sysctl('net.ipv4.nope'), { code: 'ENOENT' });
    await assert.rejects(a.setSysctl('net.ipv4.conf.lo.rp_filter', 'x'), { code: 'EINVAL' });
    for (const name of ['kernel.hostname', 'net', 'net/../kernel/hostname', 'net..x']) {
      await assert.rejects(a.sysctl(name), { code: 'ERR_INVALID_ARG_VALUE' }, name);
    }
  });
});
