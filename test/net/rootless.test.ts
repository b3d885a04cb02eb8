/** Network namespaces that belong to a user namespace. Root makes them with `user: true`, other users by themselves. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import { NetworkNamespace, openTun } from 'tuntap-native';
import { createVethPair } from 'tuntap-native/net';
import { Endpoint, openUdp } from 'tuntap-native/tunnel';
import { fdsAtMost, moduleArguments, needs, openFds, run } from '../support.ts';
import { AS_USER, needsReadable, TUN_FOR_ALL, withDevNet } from '../unprivileged.ts';

const rootless = () => NetworkNamespace.create(undefined, { user: true });

describe('a network namespace in a user namespace', () => {
  before(function () {
    needs(this, 'ip', 'ping');
  });

  it('can be made by a process that gave up being root', async () => {
    if (process.getuid?.() !== 0) return;
    const program = `
      import { NetworkNamespace } from ${JSON.stringify(import.meta.resolve('tuntap-native/net'))};
      await NetworkNamespace.current(); // reads the addon
      process.setgroups?.([]); // not in Deno
      process.setgid(65534);
      process.setuid(65534);
      const namespace = await NetworkNamespace.create();
      await (await namespace.link('lo')).set({ up: true });
      console.log(namespace.rootless);
      await namespace.close();`;
    const { stdout } = await promisify(execFile)(process.execPath, moduleArguments(program));
    assert.equal(stdout, 'true\n');
  });

  it('says so, and another one does not', async () => {
    await using ours = await rootless();
    await using current = await NetworkNamespace.current();
    await using again = await NetworkNamespace.open(`/proc/self/fd/${ours.fd}`);
    assert.deepEqual([ours.rootless, again.rootless, current.rootless], [true, true, false]);
    if (process.getuid?.() !== 0) return;
    await using byRoot = await NetworkNamespace.create();
    assert.equal(byRoot.rootless, false);
  });

  it('has links, settings, devices, sockets, commands and monitors as any other', async () => {
    await using one = await rootless();
    await using two = await rootless();
    const monitor = one.monitor({ types: ['link'] });
    await createVethPair(
      { namespace: one, name: 'v1', addresses: ['192.0.2.1/24'], up: true },
      { namespace: two, name: 'v2', addresses: ['192.0.2.2/24'], up: true },
    );
    for await (const event of monitor) if (event.type === 'link' && event.link.name === 'v1') break;
    const { stdout } = await run(one, 'sh', '-c', 'id -u; ping -c1 -W5 192.0.2.2');
    assert.match(stdout, /^0\n.* 1 received/s);
    await one.setSysctl('net.ipv4.ip_forward', true);
    assert.deepEqual(
      [await one.sysctl('net.ipv4.ip_forward'), await two.sysctl('net.ipv4.ip_forward')],
      ['1', '0'],
    );
    await using tun = openTun('tun0', { namespace: one, addresses: ['198.51.100.1/24'], up: true });
    await using socket = openUdp({ namespace: one, remote: new Endpoint('198.51.100.2', 7), mark: 5 });
    const packet = new Promise<Buffer>((resolve) => {
      tun.on('data', (bytes: Buffer) => bytes[9] === 17 && resolve(bytes));
    });
    socket.send(Buffer.from('through'));
    assert.equal((await packet).subarray(28).toString(), 'through');
    assert.equal((await (await tun.link()).get()).name, 'tun0');
  });

  it('leaves neither processes nor fds, and the process its own memory to look at', async () => {
    await (await rootless()).close();
    const before = openFds();
    for (let i = 0; i < 20; i++) {
      const namespace = await rootless();
      await openTun('tun0', { namespace }).close();
      await namespace.close();
    }
    await fdsAtMost(before);
    const children = readFileSync('/proc/thread-self/children', 'utf8');
    assert.equal(children, '');
    // A process whose credentials change becomes another user's, in /proc, until it says otherwise.
    assert.ok(readdirSync('/proc/self/fd').length > 0);
  });

  it('can be made by many threads at once, and veth links connect them', async () => {
    const program = `
      const { NetworkNamespace, openTun } = await import(${JSON.stringify(import.meta.resolve('tuntap-native'))});
      for (let i = 0; i < 10; i++) {
        const namespace = await NetworkNamespace.create(undefined, { user: true });
        await openTun('tun0', { namespace, up: true }).close();
        await namespace.close();
      }`;
    const workers = Array.from(
      { length: 4 },
      () => new Worker(`(async () => {${program}})()`, { eval: true }),
    );
    const codes = await Promise.all(
      workers.map(
        (worker) => new Promise((resolve, reject) => worker.on('exit', resolve).on('error', reject)),
      ),
    );
    assert.deepEqual(codes, [0, 0, 0, 0]);
  });

  it('has no name', async () => {
    await assert.rejects(NetworkNamespace.create('tuntap-rootless', { user: true }), {
      code: 'ERR_INVALID_ARG_VALUE',
    });
    await assert.rejects(NetworkNamespace.create(undefined, { user: 1 as unknown as boolean }), {
      code: 'ERR_INVALID_ARG_TYPE',
    });
  });
});

describe('a user who is not root', () => {
  before(async function () {
    needs(this, 'unshare', 'setpriv');
    if (process.getuid?.() === 0) await needsReadable(this);
  });

  async function program(text: string, prefix: readonly string[]): Promise<string> {
    const imports = `
      const { NetworkNamespace, openTun } = await import(${JSON.stringify(import.meta.resolve('tuntap-native'))});
      const { once } = await import('node:events');
      const { createLab } = await import(${JSON.stringify(import.meta.resolve('tuntap-native/lab'))});`;
    const command = [...prefix, process.execPath, ...moduleArguments(imports + text)];
    const { stdout } = await promisify(execFile)(command[0], command.slice(1), { timeout: 20_000 });
    return stdout;
  }

  const asUser = (text: string) =>
    program(text, process.getuid?.() === 0 ? withDevNet(TUN_FOR_ALL, AS_USER) : []);

  it('gets such a namespace where nothing else is said, and a lab', async () => {
    const output = await asUser(`
      const namespace = await NetworkNamespace.create();
      await openTun('tun0', { namespace, up: true }).close();
      const lab = await createLab({
        hosts: { left: {}, right: {} },
        links: [[{ host: 'left', addresses: ['192.0.2.1/24'] }, { host: 'right', addresses: ['192.0.2.2/24'] }]],
      });
      const ping = lab.hosts.left.spawn('ping', ['-c1', '-W5', '192.0.2.2'], { stdio: 'ignore' });
      const [status] = await once(ping, 'close');
      console.log(namespace.rootless, status);
      await lab.close();
      await namespace.close();`);
    assert.equal(output, 'true 0\n');
  });

  it('is refused with `user: false`, and a name', async () => {
    const output = await asUser(`
      const codes = [];
      await NetworkNamespace.create(undefined, { user: false }).catch((error) => codes.push(error.code, error.syscall));
      await NetworkNamespace.create('tuntap-user').catch((error) => codes.push(error.code));
      console.log(codes.join());`);
    assert.match(output, /^EPERM,unshare,(EPERM|EACCES)\n$/);
  });

  it('is told which setting forbids user namespaces', async () => {
    // The setting is that of the user namespace in which it is made.
    const forbid = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"';
    const output = await program(
      `await NetworkNamespace.create(undefined, { user: true }).catch((error) => console.log(error.message));`,
      ['unshare', '--user', '--map-root-user', 'sh', '-c', forbid, 'sh'],
    );
    assert.match(
      output,
      /^ENOSPC: .*, clone CLONE_NEWUSER: .*max_user_namespaces is 0: set user\.max_user_namespaces to/,
    );
  });
});
