import assert from 'node:assert/strict';
import { type NetworkNamespace, openMacvtap, openTap, openTun } from 'tuntap-native';
import { fdsAtMost, inNamespace, ipLink, itAsRoot, needs, nodeProgram, openFds, run } from '../support.ts';
import { shell } from './traffic.ts';

const IFF_UP = 1;

describe("a device's link", () => {
  before(function () {
    needs(this, 'ip', 'setpriv', 'strace');
  });

  it('has mtu, flags and isUp that follow it to another name and namespace, and leave no fd', () =>
    inNamespace((namespace) =>
      inNamespace(async (other) => {
        await shell(namespace, 'ip link'); // the first child process opens fds of Node.js for good
        const fds = openFds();
        const tun = openTun('tun0', { namespace, up: true });
        const agrees = async (where: NetworkNamespace, name: string): Promise<void> => {
          const link = await ipLink(where, name);
          const up = link?.flags.includes('UP');
          assert.deepEqual([tun.mtu, tun.isUp, (tun.flags & IFF_UP) !== 0], [link?.mtu, up, up]);
        };
        await agrees(namespace, 'tun0');
        await shell(namespace, 'ip link set tun0 down mtu 1400 name wan0');
        await agrees(namespace, 'wan0');
        // One of the old name must not be taken for it.
        await shell(namespace, 'ip tuntap add mode tun tun0; ip link set tun0 up mtu 1234');
        await agrees(namespace, 'wan0');
        await shell(namespace, 'ip link set wan0 netns $OTHER', other);
        await shell(namespace, 'ip tuntap add mode tun wan0; ip link set wan0 up mtu 4321');
        await shell(other, 'ip link set wan0 mtu 1300 up');
        await agrees(other, 'wan0');
        tun.setMtu(1280);
        tun.setDown();
        await agrees(other, 'wan0');
        assert.equal((await ipLink(other, 'wan0'))?.mtu, 1280);
        await tun.close();
        await fdsAtMost(fds);
        for (const read of [() => tun.mtu, () => tun.flags, () => tun.isUp]) {
          assert.throws(read, { code: 'ERR_TUNTAP_CLOSED' });
        }
      }),
    ));

  it('has properties that cost a few system calls, none of which waits', () =>
    inNamespace(async (namespace) => {
      const [command, ...args] = nodeProgram(`
        const tun = openTun('tun0', { up: true });
        tun.mtu;
        process.stderr.write('begin');
        for (let i = 0; i < 100; i++) if (tun.mtu !== 1500 || !tun.isUp) process.exit(1);
        process.stderr.write('end');
        await tun.close();`);
      const { stderr, status } = await run(namespace, 'strace', command, ...args);
      assert.equal(status, 0, stderr);
      const calls =
        stderr.slice(stderr.indexOf('"begin"'), stderr.indexOf('"end"')).match(/^\w+(?=\()/gm) ?? [];
      calls.pop(); // the one that writes "end"
      assert.ok(calls.length > 200 && calls.length < 1500, `${calls.length}`);
      assert.deepEqual(
        calls.filter((call) => /^(socket|send|recv|poll$|ppoll|clone|setns)/.test(call)),
        [],
      );
    }));

  it("can be read in one's own namespace with CAP_NET_ADMIN alone", () =>
    inNamespace(async (namespace) => {
      const [command, ...args] = nodeProgram(`
        const tun = openTun('tun0', { up: true });
        const link = await tun.link();
        console.log(tun.mtu, tun.isUp, (await link.get()).mtu);
        tun.on('link', () => undefined);
        await tun.close();`);
      const without = ['--bounding-set=-sys_admin', '--inh-caps=-sys_admin'];
      const { stdout, stderr } = await run(namespace, 'setpriv', ...without, command, ...args);
      assert.equal(stdout, '1500 true 1500\n', stderr);
    }));

  it('is a Link where the device is; closing the device closes its namespace', () =>
    inNamespace((namespace) =>
      inNamespace(async (other) => {
        const fds = openFds();
        const tun = openTun('tun0', { namespace });
        const [link, again] = await Promise.all([tun.link(), tun.link()]);
        await link.set({ up: true, mtu: 1400 });
        await link.addAddress('192.0.2.1/24');
        assert.deepEqual([link.name, link.index, (await again.get()).mtu], ['tun0', tun.index, 1400]);
        assert.equal((await ipLink(namespace, 'tun0'))?.addr_info?.[0]?.local, '192.0.2.1');
        assert.equal((await tun.link()).namespace, link.namespace);
        await link.namespace.close();
        assert.equal((await (await tun.link()).get()).mtu, 1400);
        await shell(namespace, 'ip link set tun0 name wan0 netns $OTHER', other);
        const moved = await tun.link();
        assert.deepEqual([moved.name, moved.namespace.fd >= 0], ['wan0', true]);
        await moved.set({ mtu: 1300 });
        assert.equal((await ipLink(other, 'wan0'))?.mtu, 1300);
        await tun.close();
        assert.equal(moved.namespace.fd, -1);
        await assert.rejects(moved.get(), { code: 'ERR_TUNTAP_CLOSED' });
        await assert.rejects(tun.link(), { code: 'ERR_TUNTAP_CLOSED' });
        await fdsAtMost(fds);
      }),
    ));

  itAsRoot('is a Link of a TAP and of a macvtap, too, and none while the device closes', () =>
    inNamespace(async (namespace) => {
      const fds = openFds();
      const tap = openTap('tap0', { namespace, up: true });
      const macvtap = openMacvtap('mv0', { namespace, parent: 'tap0', up: true });
      assert.equal((await (await tap.link()).get()).kind, 'tun');
      assert.equal((await (await macvtap.link()).get()).kind, 'macvtap');
      assert.deepEqual([macvtap.mtu, macvtap.isUp, macvtap.flags & IFF_UP], [1500, true, IFF_UP]);
      const opening = assert.rejects(macvtap.link(), { code: 'ERR_TUNTAP_CLOSED' });
      await Promise.all([macvtap.close(), opening]);
      await tap.close();
      await fdsAtMost(fds);
    }),
  );
});
