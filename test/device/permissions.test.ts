import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { type NetworkNamespace, openTun, type TunOptions } from 'tuntap-native';
import { inNamespace, ipLink, nodeProgram, run } from '../support.ts';
import {
  AS_USER,
  NO_DRIVER,
  NO_TUN,
  needsReadable,
  TUN_FOR_ALL,
  TUN_FOR_ROOT,
  USER,
  withDevNet,
} from '../unprivileged.ts';

const ANSWER_PING = nodeProgram(`
  const tun = openTun('tun0');
  tun.on('data', (packet) => { const reply = replyToEcho(packet); if (reply) tun.write(reply); });
  process.on('disconnect', () => tun.close());
  process.send({ uid: process.getuid(), index: tun.index, name: tun.name });`);

/** All that a program does in the namespace that it is in already. */
const USE_OWN_NAMESPACE = nodeProgram(`
  const { generatePrivateKey, openWireGuard } = await import('${import.meta.resolve('tuntap-native/wireguard')}');
  const { once } = await import('node:events');
  const own = await NetworkNamespace.current();
  for (const namespace of [undefined, own, process.pid, '/proc/self/ns/net']) {
    await openTun('tun0', { namespace, addresses: ['192.0.2.1/24'], up: true }).close();
  }
  const link = await NetworkNamespace.open(process.pid);
  await (await link.addLink({ name: 'bridge0', kind: 'bridge' })).set({ up: true });
  await link.setSysctl('net.ipv4.ip_forward', 1);
  const [status] = await once(link.spawn('true', [], { stdio: 'inherit' }), 'close');
  const peers = [{ publicKey: generatePrivateKey(), allowedIps: ['198.51.100.0/24'] }];
  const wg = await openWireGuard('wg0', {
    privateKey: generatePrivateKey(), addresses: ['10.9.0.1/24'], control: false, peers,
  });
  const routes = (await own.routes({ device: 'wg0' })).map(({ destination }) => destination);
  await wg.close();
  console.log(JSON.stringify({ status, routes }));`);

const TRY_TO_OPEN = nodeProgram(`
  try {
    const tun = openTun('tun0');
    console.log(JSON.stringify({ opened: tun.name }));
    await tun.close();
  } catch ({ code, errno, syscall, device, message }) {
    console.log(JSON.stringify({ code, errno, syscall, device, message }));
  }`);

interface Attempt {
  readonly opened?: string;
  readonly code?: string;
  readonly errno?: number;
  readonly syscall?: string;
  readonly device?: string;
  readonly message: string;
}

/** What comes of opening tun0 with that /dev/net, by a command such as setpriv. */
async function attempt(
  namespace: NetworkNamespace,
  prepare: string,
  as: readonly string[],
): Promise<Attempt> {
  const [command, ...args] = withDevNet(prepare, [...as, ...TRY_TO_OPEN]);
  const { stdout, stderr } = await run(namespace, command, ...args);
  assert.notEqual(stdout, '', stderr);
  return JSON.parse(stdout);
}

/** Makes a persistent tun0 in a namespace; it goes with the namespace. */
async function persistent(namespace: NetworkNamespace, options: TunOptions): Promise<void> {
  const addresses = ['192.0.2.1/24'];
  await openTun('tun0', { namespace, addresses, up: true, persist: true, ...options }).close();
}

/** Shows that a process, started by a command such as setpriv, opens tun0 and answers a ping through it. */
async function answersPing(namespace: NetworkNamespace, as: readonly string[], uid: number): Promise<void> {
  const [command, ...args] = withDevNet(TUN_FOR_ALL, [...as, ...ANSWER_PING]);
  const child: ChildProcess = namespace.spawn(command, args, {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const exited = once(child, 'exit'); // 'close' does not come after disconnect()
  try {
    const [report] = await Promise.race([once(child, 'message'), exited]);
    const index = (await ipLink(namespace, 'tun0'))?.ifindex;
    assert.deepEqual(report, { uid, index, name: 'tun0' });
    const { status, stdout } = await run(namespace, 'ping', '-c1', '-w5', '-i0.2', '192.0.2.2');
    assert.equal(status, 0, stdout);
    child.disconnect();
    assert.deepEqual(await exited, [0, null]);
  } finally {
    child.kill('SIGKILL');
  }
}

describe('permissions', () => {
  before(async function () {
    await needsReadable(this);
  });

  it('the owner of a persistent device opens it without a capability and exchanges packets', () =>
    inNamespace(async (namespace) => {
      await persistent(namespace, { owner: USER });
      await answersPing(namespace, AS_USER, USER);
      assert.ok(await ipLink(namespace, 'tun0'));
    }));

  it('a member of the group of a persistent device does so too, by a supplementary group or its own', () =>
    inNamespace(async (namespace) => {
      await persistent(namespace, { group: 4321 });
      await answersPing(namespace, ['setpriv', '--reuid=1234', `--regid=${USER}`, '--groups=4321'], 1234);
      await answersPing(namespace, ['setpriv', '--reuid=1234', '--regid=4321', '--clear-groups'], 1234);
    }));

  for (const [whose, options] of [
    ["another owner's", { owner: 1234 }],
    ["another group's", { group: 1234 }],
    ["another owner's and another group's", { owner: 1234, group: 1234 }],
  ] as const) {
    it(`${whose} device gives EPERM, and the message names CAP_NET_ADMIN`, () =>
      inNamespace(async (namespace) => {
        await persistent(namespace, options);
        const { message, ...rest } = await attempt(namespace, TUN_FOR_ALL, AS_USER);
        assert.deepEqual(rest, { code: 'EPERM', errno: -1, syscall: 'ioctl TUNSETIFF', device: 'tun0' });
        assert.match(message, /CAP_NET_ADMIN/);
      }));
  }

  it('a persistent device without owner and group is open to everybody who may open /dev/net/tun', () =>
    inNamespace(async (namespace) => {
      await persistent(namespace, {});
      assert.equal((await attempt(namespace, TUN_FOR_ALL, AS_USER)).opened, 'tun0');
    }));

  it('with owner and group both are asked for', () =>
    inNamespace(async (namespace) => {
      await persistent(namespace, { owner: USER, group: 4321 });
      const { code } = await attempt(namespace, TUN_FOR_ALL, AS_USER);
      assert.equal(code, 'EPERM');
      const member = ['setpriv', `--reuid=${USER}`, `--regid=${USER}`, '--groups=4321'];
      assert.equal((await attempt(namespace, TUN_FOR_ALL, member)).opened, 'tun0');
    }));

  it('a user can make no device: EPERM', () =>
    inNamespace(async (namespace) => {
      const { code, message } = await attempt(namespace, TUN_FOR_ALL, AS_USER);
      assert.equal(code, 'EPERM');
      assert.match(message, /CAP_NET_ADMIN/);
    }));

  it('a user with CAP_NET_ADMIN alone needs no more in the namespace that the program is in', () =>
    inNamespace(async (namespace) => {
      const as = [...AS_USER, '--inh-caps=+net_admin', '--ambient-caps=+net_admin'];
      const [command, ...args] = withDevNet(TUN_FOR_ALL, [...as, ...USE_OWN_NAMESPACE]);
      const { stdout, stderr } = await run(namespace, command, ...args);
      assert.notEqual(stdout, '', stderr);
      assert.deepEqual(JSON.parse(stdout), { status: 0, routes: ['10.9.0.0/24', '198.51.100.0/24'] });
    }));

  it('root without CAP_NET_ADMIN can make no device: EPERM', () =>
    inNamespace(async (namespace) => {
      const without = ['setpriv', '--bounding-set=-net_admin', '--inh-caps=-net_admin'];
      const { code, syscall, message } = await attempt(namespace, TUN_FOR_ALL, without);
      assert.deepEqual([code, syscall], ['EPERM', 'ioctl TUNSETIFF']);
      assert.match(message, /CAP_NET_ADMIN/);
    }));

  it('a user who may not open /dev/net/tun gets EACCES, and where to read on', () =>
    inNamespace(async (namespace) => {
      await persistent(namespace, { owner: USER });
      const { message, ...rest } = await attempt(namespace, TUN_FOR_ROOT, AS_USER);
      assert.deepEqual(rest, { code: 'EACCES', errno: -13, syscall: 'open', device: '/dev/net/tun' });
      assert.match(message, /docs\/permissions\.md/);
    }));

  it('a missing /dev/net/tun gives ENOENT, and says how to get it', () =>
    inNamespace(async (namespace) => {
      const { message, ...rest } = await attempt(namespace, NO_TUN, []);
      assert.deepEqual(rest, { code: 'ENOENT', errno: -2, syscall: 'open', device: '/dev/net/tun' });
      assert.match(message, /modprobe tun.*--device \/dev\/net\/tun/);
    }));

  it('a /dev/net/tun without its driver gives ENXIO, and says how to load it', () =>
    inNamespace(async (namespace) => {
      const { code, message } = await attempt(namespace, NO_DRIVER, []);
      assert.equal(code, 'ENXIO');
      assert.match(message, /modprobe tun/);
    }));
});
