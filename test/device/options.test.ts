import assert from 'node:assert/strict';
import {
  type MacvtapOptions,
  NetworkNamespace,
  openMacvtap,
  openTap,
  openTun,
  PacketBatch,
  type TapOptions,
} from 'tuntap-native';
import { code, fdsAtMost, inNamespace, ipLink, itAsRoot, needs, openFds, run } from '../support.ts';

describe('options that are wrong', () => {
  const names: [unknown, string][] = [
    ['a-name-of-16-byt', 'ERR_INVALID_ARG_VALUE'],
    ['äääääääö', 'ERR_INVALID_ARG_VALUE'],
    ['a/b', 'ERR_INVALID_ARG_VALUE'],
    ['a b', 'ERR_INVALID_ARG_VALUE'],
    ['a:b', 'ERR_INVALID_ARG_VALUE'],
    ['a\0b', 'ERR_INVALID_ARG_VALUE'],
    ['', 'ERR_INVALID_ARG_VALUE'],
    ['..', 'ERR_INVALID_ARG_VALUE'],
    ['tun%s', 'ERR_INVALID_ARG_VALUE'],
    ['tun%d%d', 'ERR_INVALID_ARG_VALUE'],
    [7, 'ERR_INVALID_ARG_TYPE'],
    [null, 'ERR_INVALID_ARG_TYPE'],
  ];
  for (const [name, expected] of names) {
    it(`refuses the name ${JSON.stringify(name)}`, () => {
      const before = openFds();
      assert.equal(
        code(() => openTun(name as string)),
        expected,
      );
      assert.equal(openFds(), before);
    });
  }

  it('refuses null for options, and a pattern for a link that exists', () => {
    const none = null as unknown as TapOptions;
    for (const act of [
      () => openTun('tun0', none),
      () => openTap('tap0', none),
      () => openMacvtap('macvtap0', none as MacvtapOptions),
      () => new PacketBatch(none),
    ]) {
      assert.equal(code(act), 'ERR_INVALID_ARG_TYPE');
    }
    assert.throws(() => openMacvtap('macvtap%d'), {
      code: 'ERR_INVALID_ARG_VALUE',
      message: /must not hold '%'/,
    });
  });

  it('names the option that is wrong', () => {
    assert.throws(() => openTun('tun0', { addresses: ['192.0.2.1/24', 'bad'] }), /"options.addresses"/);
    assert.throws(() => openTap('tap0', { mac: 'bad' }), /"options.mac"/);
  });

  const options: [TapOptions | Record<string, unknown>, string][] = [
    [{ mtu: 67 }, 'ERR_OUT_OF_RANGE'],
    [{ mtu: 65536 }, 'ERR_OUT_OF_RANGE'],
    [{ mtu: 1500.5 }, 'ERR_OUT_OF_RANGE'],
    [{ mtu: '1500' }, 'ERR_INVALID_ARG_TYPE'],
    [{ addresses: '192.0.2.1/24' }, 'ERR_INVALID_ARG_TYPE'],
    [{ addresses: ['192.0.2.1/33'] }, 'ERR_INVALID_ARG_VALUE'],
    [{ addresses: ['2001:db8::1/129'] }, 'ERR_INVALID_ARG_VALUE'],
    [{ addresses: ['192.0.2/24'] }, 'ERR_INVALID_ARG_VALUE'],
    [{ addresses: [1] }, 'ERR_INVALID_ARG_TYPE'],
    [{ mac: '01:00:00:00:00:01' }, 'ERR_INVALID_ARG_VALUE'],
    [{ mac: '00:00:00:00:00:00' }, 'ERR_INVALID_ARG_VALUE'],
    [{ mac: 'zz' }, 'ERR_INVALID_ARG_VALUE'],
    [{ mac: 7 }, 'ERR_INVALID_ARG_TYPE'],
    [{ headroom: -1 }, 'ERR_OUT_OF_RANGE'],
    [{ tailroom: 4097 }, 'ERR_OUT_OF_RANGE'],
    [{ sendBuffer: 0 }, 'ERR_OUT_OF_RANGE'],
    [{ owner: -1 }, 'ERR_OUT_OF_RANGE'],
    [{ up: 'yes' }, 'ERR_INVALID_ARG_TYPE'],
    [{ signal: {} }, 'ERR_INVALID_ARG_TYPE'],
    [{ namespace: {} }, 'ERR_INVALID_ARG_TYPE'],
    [{ namespace: 0 }, 'ERR_INVALID_ARG_VALUE'],
    [{ namespace: 'no-such-namespace' }, 'ENOENT'],
    [{ namespace: '/etc/passwd' }, 'ERR_INVALID_ARG_VALUE'],
  ];
  for (const [wrong, expected] of options) {
    it(`refuses ${JSON.stringify(wrong)} and leaves nothing behind`, () => {
      const before = openFds();
      assert.equal(
        code(() => openTap('tap0', wrong as TapOptions)),
        expected,
      );
      assert.equal(openFds(), before);
    });
  }

  it('refuses a MAC for a TUN device, and a macvtap mode that there is not', () => {
    assert.equal(
      code(() => openTun('tun0', { mac: '02:00:00:00:00:01' } as object)),
      'ERR_INVALID_ARG_VALUE',
    );
    assert.equal(
      code(() => openMacvtap('mv0', { mode: 'toString' } as unknown as MacvtapOptions)),
      'ERR_INVALID_ARG_VALUE',
    );
  });

  it('throws the abort reason of a signal that has aborted', () => {
    assert.throws(() => openTun('tun0', { signal: AbortSignal.abort() }), { name: 'AbortError' });
  });
});

describe('options, as `ip -j -d` shows them', () => {
  before(function () {
    needs(this, 'ip');
  });

  it('configures addresses, MTU, queue length and up before openTun returns', () =>
    inNamespace(async (namespace) => {
      const addresses = ['192.0.2.1/24', '198.51.100.1/32', '2001:db8::1/64'];
      await using tun = openTun('tun0', { namespace, addresses, mtu: 1420, txQueueLength: 900, up: true });
      const link = await ipLink(namespace, 'tun0');
      assert.ok(link);
      assert.equal(link.ifindex, tun.index);
      assert.equal(link.mtu, 1420);
      assert.equal(tun.mtu, 1420);
      assert.equal(link.txqlen, 900);
      assert.ok(link.flags.includes('UP') && tun.isUp);
      assert.equal(link.linkinfo?.info_data.type, 'tun');
      assert.equal(link.linkinfo?.info_data.pi, false);
      const shown = (link.addr_info ?? []).map(({ local, prefixlen }) => `${local}/${prefixlen}`);
      for (const address of addresses) assert.ok(shown.includes(address), address);
      assert.ok(!(link.addr_info ?? []).some(({ local, tentative }) => local === '2001:db8::1' && tentative));
    }));

  it('sets the MAC of a TAP device, and changes MTU and state later', () =>
    inNamespace(async (namespace) => {
      await using tap = openTap('tap0', { namespace, mac: '02:00:00:00:00:01' });
      assert.equal(tap.kind, 'tap');
      let link = await ipLink(namespace, 'tap0');
      assert.equal(link?.address, '02:00:00:00:00:01');
      assert.ok(!link?.flags.includes('UP'));
      tap.setMtu(9000);
      tap.setUp();
      link = await ipLink(namespace, 'tap0');
      assert.equal(link?.mtu, 9000);
      assert.ok(link?.flags.includes('UP'));
      tap.setCarrier(false);
      assert.ok(!(await ipLink(namespace, 'tap0'))?.flags.includes('LOWER_UP'));
      tap.setDown();
      assert.equal(tap.isUp, false);
      assert.equal(
        code(() => tap.setMtu(65535)),
        'EINVAL',
      );
    }));

  it('lets the kernel number a pattern, and tells the name after a rename', () =>
    inNamespace(async (namespace) => {
      await using first = openTun(undefined, { namespace });
      await using second = openTun('tun%d', { namespace });
      assert.deepEqual([first.name, second.name], ['tun0', 'tun1']);
      await run(namespace, 'ip', 'link', 'set', 'tun1', 'name', 'renamed');
      assert.equal(second.name, 'renamed');
      second.setMtu(1300);
      assert.equal((await ipLink(namespace, 'renamed'))?.mtu, 1300);
      await second.close();
      assert.equal(second.name, 'renamed');
    }));

  itAsRoot('keeps a persistent device with its owner and group, reopens it and removes it', () =>
    inNamespace(async (namespace) => {
      await openTun('tun0', { namespace, persist: true, owner: 1234, group: 4321 }).close();
      const data = (await ipLink(namespace, 'tun0'))?.linkinfo?.info_data;
      assert.equal(data?.persist, true);
      assert.equal(String(data?.user), '1234');
      assert.equal(String(data?.group), '4321');
      assert.equal(
        code(() => openTun('tun0', { namespace, exclusive: true })),
        'EBUSY',
      );
      const again = openTun('tun0', { namespace });
      again.setPersist(false);
      await again.close();
      assert.equal(await ipLink(namespace, 'tun0'), undefined);
    }),
  );

  it('a device without persist is gone after close, and its name is free', () =>
    inNamespace(async (namespace) => {
      const before = openFds();
      const tun = openTun('tun0', { namespace, exclusive: true });
      assert.equal(
        code(() => openTun('tun0', { namespace })),
        'EBUSY',
      );
      await tun.close();
      await tun.close();
      assert.equal(tun.fd, -1);
      assert.equal(await ipLink(namespace, 'tun0'), undefined);
      await fdsAtMost(before);
      assert.equal(
        code(() => tun.setUp()),
        'ERR_TUNTAP_CLOSED',
      );
    }));

  it('opens several queues of a multi-queue device', () =>
    inNamespace(async (namespace) => {
      await using tun = openTun('tun0', { namespace, multiQueue: true });
      await using second = tun.queue();
      assert.equal(second.name, 'tun0');
      assert.equal(second.index, tun.index);
      assert.notEqual(second.fd, tun.fd);
      assert.equal((await ipLink(namespace, 'tun0'))?.linkinfo?.info_data.multi_queue, true);
      await using single = openTun('tun1', { namespace });
      assert.equal(
        code(() => single.queue()),
        'EINVAL',
      );
    }));

  itAsRoot('opens by namespace name, path and pid', async () => {
    const name = `tuntap-${process.pid}`;
    const namespace = await NetworkNamespace.create(name);
    try {
      for (const reference of [name, `/run/netns/${name}`, namespace]) {
        await using tun = openTun('tun0', { namespace: reference });
        assert.equal((await ipLink(namespace, 'tun0'))?.ifindex, tun.index);
      }
      const child = namespace.spawn('sleep', ['20'], { stdio: 'ignore' });
      // The child is in the namespace once it has become `sleep`.
      for (let tries = 0; tries < 200 && (await readComm(child.pid)) !== 'sleep'; tries++) {
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      await using tun = openTun('tun0', { namespace: child.pid });
      assert.equal((await ipLink(namespace, 'tun0'))?.ifindex, tun.index);
      child.kill();
    } finally {
      await namespace.close();
      await NetworkNamespace.delete(name);
    }
  });

  itAsRoot('opens a macvtap link on a parent, and removes it at close', () =>
    inNamespace(async (namespace) => {
      await using tap = openTap('tap0', { namespace, up: true });
      const macvtap = openMacvtap('mv0', { namespace, parent: 'tap0', mac: '02:00:00:00:00:02', up: true });
      const link = await ipLink(namespace, 'mv0');
      assert.equal(link?.linkinfo?.info_kind, 'macvtap');
      assert.equal(link?.linkinfo?.info_data.mode, 'bridge');
      assert.equal(link?.address, '02:00:00:00:00:02');
      const frame = Buffer.concat([
        Buffer.alloc(6, 0xff),
        Buffer.from('02000000000288b5', 'hex'),
        Buffer.alloc(50, 7),
      ]);
      const arrived = new Promise<Buffer>((resolve) => {
        tap.on('data', (data: Buffer) => data.readUInt16BE(12) === 0x88b5 && resolve(data));
      });
      macvtap.write(frame);
      assert.deepEqual(await arrived, frame);
      await macvtap.close();
      assert.equal(await ipLink(namespace, 'mv0'), undefined);
    }),
  );
});

async function readComm(pid: number | undefined): Promise<string> {
  const { readFile } = await import('node:fs/promises');
  return (await readFile(`/proc/${pid}/comm`, 'utf8')).trim();
}
