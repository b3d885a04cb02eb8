/**
 * One test for each row of the table in DESIGN.md, "the seed says | the package gives", under the row's own words. The
 * rows of the VPN (figure 3-20) and of Flannel's UDP mode are those of the demo and of its example: test/examples.
 */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readlinkSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { openMacvtap, openTap, openTun } from 'tuntap-native';
import { createLab } from 'tuntap-native/lab';
import { NetworkNamespace } from 'tuntap-native/net';
import { EthernetFrame, replyToArp, replyToEcho } from 'tuntap-native/packet';
import { sh } from './net/oracle.ts';
import { inNamespace, ipLink, needs, openFds, run, sleeper } from './support.ts';

const PEER = { mac: '02:00:00:00:00:02', address: '192.0.2.2' };

function ping(namespace: NetworkNamespace, target: string, ...more: string[]) {
  return run(namespace, 'ping', '-n', '-c2', '-i0.1', '-W2', ...more, target);
}

describe('the seed', () => {
  before(function () {
    needs(this, 'ip', 'ping');
  });

  it('TUN: layer 3, /dev/net/tun, IP packets in and out', () =>
    inNamespace(async (namespace) => {
      await using tun = openTun('tun0', { namespace, addresses: ['192.0.2.1/24'], up: true });
      assert.equal(readlinkSync(`/proc/self/fd/${tun.fd}`), '/dev/net/tun');
      const versions = new Set<number>();
      tun.on('data', (packet) => {
        versions.add(packet[0] >> 4);
        const reply = replyToEcho(packet);
        if (reply) tun.write(reply);
      });
      assert.equal((await ping(namespace, '192.0.2.2')).status, 0);
      assert.ok(versions.has(4) && [...versions].every((version) => version === 4 || version === 6));
    }));

  it('TAP: layer 2, Ethernet frames; the classic device and macvtap’s character device /dev/tapN', () =>
    inNamespace(async (namespace) => {
      await using tap = openTap('tap0', { namespace, addresses: ['192.0.2.1/24'], up: true });
      await using macvtap = openMacvtap('macvtap0', { namespace, parent: 'tap0', up: true });
      const { rdev } = statSync(`/proc/self/fd/${macvtap.fd}`);
      const numbers = await sh(namespace, `cat /sys/class/net/macvtap0/tap${macvtap.index}/dev`);
      assert.equal(`${rdev >> 8}:${rdev & 0xff}\n`, numbers);
      tap.on('data', (frame) => {
        const arp = replyToArp(frame, PEER);
        const echo = replyToEcho(frame.subarray(14));
        const back = () => [frame.subarray(6, 12), frame.subarray(0, 6), frame.subarray(12, 14)];
        if (arp) tap.write(arp);
        else if (echo) tap.write(Buffer.concat([...back(), echo]));
      });
      assert.equal((await ping(namespace, PEER.address)).status, 0);
      const broadcast = once(macvtap, 'data');
      const frame = Buffer.alloc(60);
      frame.write('ffffffffffff02000000000288b5', 'hex');
      tap.write(frame);
      assert.equal(EthernetFrame.parse((await broadcast)[0])?.etherType, 0x88b5);
    }));

  it('open() returns an fd, the driver registers tunX or tapX, one read or write is one whole packet', () =>
    inNamespace(async (namespace) => {
      const addresses = ['192.0.2.1/24'];
      await using tun = openTun(undefined, { namespace, addresses, up: true });
      await using tap = openTap(undefined, { namespace });
      assert.deepEqual([tun.name, tap.name], ['tun0', 'tap0']);
      for (const { name, index, fd } of [tun, tap]) {
        assert.equal((await ipLink(namespace, name))?.ifindex, index);
        assert.ok(fd > 2);
      }
      const sizes: number[] = [];
      tun.on('data', (packet) => {
        const reply = replyToEcho(packet);
        if (reply) sizes.push(packet.length);
        if (reply) tun.write(reply);
      });
      assert.equal((await ping(namespace, '192.0.2.2', '-s1000')).status, 0);
      // A header of IPv4 and one of ICMP before the 1,000 bytes.
      assert.deepEqual(sizes, [1028, 1028]);
      assert.equal(tun.counters.packetsWritten, 2);
    }));

  it('network namespaces', async () => {
    const name = `seed-${process.pid}`;
    await using namespace = await NetworkNamespace.create(name);
    try {
      const listed = spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' }).stdout;
      assert.match(listed, new RegExp(`^${name}\\b`, 'm'));
      await using tun = openTun('tun0', { namespace });
      const { stdout } = spawnSync('ip', ['-n', name, '-o', 'link'], { encoding: 'utf8' });
      assert.match(stdout, /^1: lo.*\n2: tun0/);
      assert.equal(tun.index, 2);
    } finally {
      await NetworkNamespace.delete(name);
    }
  });

  it('veth pair, moved into net1 and net2, addresses, up, the automatic route, ping: as ip makes it', () =>
    inNamespace((net1) =>
      inNamespace(async (net2) => {
        /** What `ip` shows of one end, but for what differs from pair to pair. */
        const seen = async (namespace: NetworkNamespace) => [
          await sh(namespace, 'ip route'),
          (await sh(namespace, 'ip -4 addr show up')).replace(/^\d+: /gm, '').replace(/@if\d+/, '@if'),
        ];
        const both = async () => [await seen(net1), await seen(net2)];
        const veth1 = await net1.addLink({ kind: 'veth', name: 'veth1', peer: { name: 'veth2' } });
        const veth2 = await net1.link('veth2');
        await veth2.moveTo(net2);
        await veth1.set({ up: true });
        await veth1.addAddress('172.16.0.1/24');
        await veth2.set({ up: true });
        await veth2.addAddress('172.16.0.2/24');
        // Asking for a link makes the kernel look whether the other end is up.
        await Promise.all([veth1.get(), veth2.get()]);
        const ours = await both();
        assert.equal(ours[0][0].trim(), '172.16.0.0/24 dev veth1 proto kernel scope link src 172.16.0.1');
        const { status, stdout } = await ping(net1, '172.16.0.2');
        assert.equal(status, 0);
        assert.match(stdout, /ttl=64/);
        await veth1.delete();

        const process = await sleeper(net2);
        try {
          const steps = [
            'ip link add veth1 type veth peer name veth2',
            `ip link set veth2 netns ${process.pid}`,
            'ip link set veth1 up; ip addr add 172.16.0.1/24 dev veth1',
          ];
          for (const step of steps) await sh(net1, step);
          await sh(net2, 'ip link set veth2 up; ip addr add 172.16.0.2/24 dev veth2');
          await Promise.all([sh(net1, 'ip link show veth1'), sh(net2, 'ip link show veth2')]);
          assert.deepEqual(ours, await both());
        } finally {
          process.kill();
        }
      }),
    ));

  it('the `ip addr` listing: veth…@if2, mtu, master cni0, link-netnsid, link-local inet6, lifetimes', async () => {
    await using lab = await createLab({
      hosts: { node: { bridges: [{ name: 'cni0', mtu: 1450 }] }, pod0: {}, pod1: {}, pod2: {} },
      links: [0, 1, 2].map((i) => [
        { host: 'node' as const, name: `veth${i}c0be5b3`, master: 'cni0', mtu: 1450 },
        { host: `pod${i}` as 'pod0' | 'pod1' | 'pod2', mtu: 1450 },
      ]),
    });
    const { node } = lab.hosts;
    const port = await node.link('veth2c0be5b3');
    const listing = () => sh(node, `ip addr show dev ${port.name}`);
    let theirs = await listing();
    // Until the kernel has asked whether another host has the address.
    while (/ tentative/.test(theirs)) theirs = await listing();
    const link = await port.get();
    const seconds = (value: number) => (value === Number.POSITIVE_INFINITY ? 'forever' : `${value}sec`);
    const addresses = (await port.addresses()).flatMap((address) => [
      `    inet6 ${address.address}/${address.prefixLength} scope ${address.scope}`,
      `       valid_lft ${seconds(address.validLifetime)} preferred_lft ${seconds(address.preferredLifetime)}`,
    ]);
    const { index, name, flags, mtu, qdisc, master, state, group, txQueueLength } = link;
    const ours = [
      `${index}: ${name}@if${link.linkIndex}: <${flags}> mtu ${mtu} qdisc ${qdisc} master ${master} state ${state} group ${group === 0 ? 'default' : group} qlen ${txQueueLength}`,
      `    link/ether ${link.mac} brd ${link.broadcast} link-netnsid ${link.linkNetnsid}`,
      ...addresses,
    ];
    const lines = theirs.trimEnd().split('\n');
    assert.deepEqual(
      ours,
      lines.map((line) => line.trimEnd().replace(/ proto kernel_ll$/, '')),
    );
    // What the seed's own listing shows.
    assert.match(
      lines[0],
      /@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue master cni0 state UP/,
    );
    assert.match(lines[1], /link-netnsid 2$/);
    const peer = await port.peer();
    assert.equal(peer?.name, 'eth0');
    await peer?.namespace.close();
    const [lladdr] = await port.addresses();
    // The MAC's EUI-64 (RFC 4291, appendix A), computed here.
    const mac = Buffer.from((link.mac ?? '').replaceAll(':', ''), 'hex');
    const eui = Buffer.of(mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]).toString('hex');
    assert.equal(
      lladdr.address,
      new URL(`http://[fe80::${eui.match(/.{4}/g)?.join(':')}]`).hostname.slice(1, -1),
    );
  });

  it('Linux Bridge joins many containers; Open vSwitch; a TAP of ours is a port of both: examples/seed.ts', async function () {
    this.timeout(60_000);
    const state = () => [
      readdirSync('/sys/class/net'),
      readdirSync(tmpdir()).filter((name) => name.startsWith('seed-ovs-')),
      openFds(),
    ];
    await delay(300); // what the tests before this one closed is gone then
    const before = state();
    const named = await NetworkNamespace.list();
    const program = fileURLToPath(new URL('../examples/seed.js', import.meta.url));
    await inNamespace(async (namespace) => {
      const { status, stdout, stderr } = await run(namespace, process.execPath, program);
      assert.equal(status, 0, stderr);
      assert.match(stdout, /^172.16.0.0\/24 dev veth1 proto kernel scope link src 172.16.0.1$/m);
      assert.match(stdout, /10 packets transmitted, 10 received, 0% packet loss/);
      assert.match(
        stdout,
        /^\d+: veth1@if2: <.*> mtu 1450 qdisc noqueue master cni0 state UP group default$/m,
      );
      const reached = [...stdout.matchAll(/^net(\d) -> 172\.16\.1\.(\d+): reached$/gm)].map(
        ([, from, to]) => `${from} ${to}`,
      );
      const ends = [1, 2, 3, 4, 5];
      const all = ends.flatMap((from) =>
        [...ends, 100].filter((to) => to !== from).map((to) => `${from} ${to}`),
      );
      const hasOvs = spawnSync('which', ['ovs-vsctl']).status === 0;
      // The last one is through Open vSwitch.
      assert.deepEqual(reached, hasOvs ? [...all, '1 100'] : all);
      if (!hasOvs) assert.match(stdout, /Open vSwitch is not installed here/);
      assert.match(await sh(namespace, 'ip -o link'), /^1: lo.*\n$/);
    });
    assert.deepEqual(state(), before);
    const added = (await NetworkNamespace.list()).filter((name) => !named.includes(name));
    assert.deepEqual(
      added.filter((name) => /^net\d$/.test(name)),
      [],
    );
  });
});
