/**
 * The text that this project comes from, command by command: each is printed, and done by TypeScript that does the same;
 * docs/seed.md explains it. The machine of the text is a network namespace of its own, so nothing here touches the host.
 *
 * Run as root: node out/examples/seed.js
 */

import { type ChildProcess, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openTap, type TapDevice } from 'tuntap-native';
import { createLab, type Lab } from 'tuntap-native/lab';
import { NetworkNamespace } from 'tuntap-native/net';
import { replyToArp, replyToEcho } from 'tuntap-native/packet';

const CONTAINERS = ['net1', 'net2', 'net3', 'net4', 'net5'] as const;
const TAP_HOST = { mac: '02:00:00:00:00:64', address: '172.16.1.100' };

function title(text: string): void {
  console.log(`\n${text}\n${'='.repeat(text.length)}`);
}

function say(command: string): void {
  console.log(`$ ${command}`);
}

/** Runs a program in a namespace; its output is shown. */
async function show(namespace: NetworkNamespace, command: string, ...args: string[]): Promise<void> {
  say([command, ...args].join(' '));
  const [status] = await once(namespace.spawn(command, args, { stdio: 'inherit' }), 'close');
  if (status !== 0) throw new Error(`${command} ended with ${status}`);
}

/** Two namespaces and a veth pair between them. */
async function twoNamespaces(): Promise<void> {
  title('Veth: two network namespaces and a cable');
  await using machine = await NetworkNamespace.create();

  // The text takes the two for granted. NetworkNamespace.create('net1') makes one that `ip netns` lists.
  say('ip netns add net1; ip netns add net2');
  await using net1 = await NetworkNamespace.create();
  await using net2 = await NetworkNamespace.create();

  say('ip link add veth1 type veth peer name veth2');
  const veth1 = await machine.addLink({ kind: 'veth', name: 'veth1', peer: { name: 'veth2' } });
  const veth2 = await machine.link('veth2');

  say('ip link set veth1 netns net1');
  await veth1.moveTo(net1);
  say('ip link set veth2 netns net2');
  await veth2.moveTo(net2);

  say('ip netns exec net1 ip link set veth1 up');
  await veth1.set({ up: true });
  say('ip netns exec net1 ip addr add 172.16.0.1/24 dev veth1');
  await veth1.addAddress('172.16.0.1/24');
  say('ip netns exec net2 ip link set veth2 up');
  await veth2.set({ up: true });
  say('ip netns exec net2 ip addr add 172.16.0.2/24 dev veth2');
  await veth2.addAddress('172.16.0.2/24');

  say('ip netns exec net1 ip route');
  for (const { destination, device, protocol, scope, src } of await net1.routes()) {
    console.log(`${destination} dev ${device} proto ${protocol} scope ${scope} src ${src}`);
  }
  await show(net1, 'ping', '-n', '-c10', '-i0.1', '172.16.0.2');
}

/** The text's last picture: what many containers need is a switch. */
async function bridge(): Promise<void> {
  title('Linux Bridge: five containers and a Node program');
  await using lab = await createLab({
    hosts: {
      node: { bridges: [{ name: 'cni0', mtu: 1450, addresses: ['172.16.1.254/24'] }] },
      ...(Object.fromEntries(CONTAINERS.map((name) => [name, {}])) as Record<
        (typeof CONTAINERS)[number],
        object
      >),
    },
    links: CONTAINERS.map((host, i) => [
      { host: 'node' as const, name: `veth${i + 1}`, master: 'cni0', mtu: 1450 },
      { host, addresses: [`172.16.1.${i + 1}/24`], mtu: 1450 },
    ]),
  });
  say('ip addr show veth1');
  await listPort(lab);

  say('ip tuntap add tap0 mode tap; ip link set tap0 master cni0 up');
  await using tap = openTap('tap0', { namespace: lab.hosts.node, mtu: 1450 });
  await (await lab.hosts.node.link('tap0')).set({ master: 'cni0', up: true });
  const serving = serve(tap);
  for (const name of CONTAINERS) {
    const others = CONTAINERS.filter((other) => other !== name).map(
      (other) => `172.16.1.${CONTAINERS.indexOf(other) + 1}`,
    );
    for (const target of [...others, TAP_HOST.address]) await reach(lab.hosts[name], name, target);
  }
  await tap.close();
  await serving;
}

/** A port of the bridge, as the text's `ip addr` shows one. */
async function listPort(lab: Lab<'node'>): Promise<void> {
  const port = await lab.hosts.node.link('veth1');
  const link = await port.get();
  const flags = `<${link.flags}> mtu ${link.mtu} qdisc ${link.qdisc} master ${link.master} state ${link.state}`;
  console.log(`${link.index}: ${link.name}@if${link.linkIndex}: ${flags} group ${link.group || 'default'}`);
  console.log(`    link/ether ${link.mac} brd ${link.broadcast} link-netnsid ${link.linkNetnsid}`);
  const lifetime = (seconds: number): string =>
    seconds === Number.POSITIVE_INFINITY ? 'forever' : `${seconds}sec`;
  for (const { address, prefixLength, scope, validLifetime, preferredLifetime } of await port.addresses()) {
    console.log(`    inet6 ${address}/${prefixLength} scope ${scope}`);
    console.log(`       valid_lft ${lifetime(validLifetime)} preferred_lft ${lifetime(preferredLifetime)}`);
  }
}

/** A host behind a TAP device: answers ARP and ping. */
async function serve(tap: TapDevice): Promise<void> {
  for await (const batch of tap.batches()) {
    for (const frame of batch) {
      const reply = replyToArp(frame, TAP_HOST) ?? echo(frame);
      if (reply) tap.write(reply);
    }
  }
}

function echo(frame: Buffer): Buffer | undefined {
  const reply = replyToEcho(frame.subarray(14));
  // The frame goes back: source and destination change places.
  return reply && Buffer.concat([frame.subarray(6, 12), frame.subarray(0, 6), frame.subarray(12, 14), reply]);
}

async function reach(namespace: NetworkNamespace, name: string, target: string): Promise<void> {
  const child = namespace.spawn('ping', ['-n', '-c1', '-W2', target], { stdio: 'ignore' });
  const [status] = await once(child, 'close');
  console.log(`${name} -> ${target}: ${status === 0 ? 'reached' : 'NOT REACHED'}`);
  if (status !== 0) process.exitCode = 1;
}

/** The same TAP device as a port of Open vSwitch's userspace datapath. */
async function openVswitch(): Promise<void> {
  title('Open vSwitch: the same device as a port of its userspace datapath');
  if (spawnSync('ovs-vsctl', ['--version']).status !== 0) {
    console.log('Open vSwitch is not installed here (Debian: apt-get install openvswitch-switch): left out.');
    return;
  }
  await using lab = await createLab({
    hosts: { node: {}, net1: {} },
    links: [
      [
        { host: 'node', name: 'veth1' },
        { host: 'net1', addresses: ['172.16.1.1/24'] },
      ],
    ],
  });
  const { node, net1 } = lab.hosts;
  const directory = mkdtempSync(join(tmpdir(), 'seed-ovs-'));
  const database = `unix:${directory}/db.sock`;
  const daemons: ChildProcess[] = [];
  const start = (command: string, ...args: string[]): void => {
    const own = [
      '--no-chdir',
      `--unixctl=${directory}/${command}.ctl`,
      `--log-file=${directory}/${command}.log`,
    ];
    daemons.push(node.spawn(command, [...args, ...own, '--verbose=off'], { stdio: 'ignore' }));
  };
  try {
    await using tap = openTap('tap0', { namespace: node, up: true });
    const serving = serve(tap);
    await show(
      node,
      'ovsdb-tool',
      'create',
      `${directory}/conf.db`,
      '/usr/share/openvswitch/vswitch.ovsschema',
    );
    start('ovsdb-server', `${directory}/conf.db`, `--remote=p${database}`);
    const vsctl = ['--retry', '--timeout=20', `--db=${database}`];
    await show(node, 'ovs-vsctl', ...vsctl, '--no-wait', 'init');
    start('ovs-vswitchd', database, `--pidfile=${directory}/ovs-vswitchd.pid`);
    const bridge = ['add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath_type=netdev'];
    await show(
      node,
      'ovs-vsctl',
      ...vsctl,
      ...bridge,
      '--',
      'add-port',
      'br0',
      'tap0',
      '--',
      'add-port',
      'br0',
      'veth1',
    );
    await reach(net1, 'net1', TAP_HOST.address);
    await tap.close();
    await serving;
  } finally {
    for (const daemon of daemons.reverse()) {
      const closed = once(daemon, 'close');
      daemon.kill();
      await closed;
    }
    rmSync(directory, { recursive: true });
  }
}

await twoNamespaces();
await bridge();
await openVswitch();
