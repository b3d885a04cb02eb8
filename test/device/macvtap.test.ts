import assert from 'node:assert/strict';
import { type MacvtapDevice, NetworkNamespace, openMacvtap, openTap, type TapDevice } from 'tuntap-native';
import {
  code,
  fdsAtMost,
  inNamespace,
  ipLink,
  itAsRoot,
  needs,
  nodeProgram,
  openFds,
  run,
} from '../support.ts';
import { silence } from './super-packets.ts';

/** An Ethernet frame of the type for local experiments, with a number in it. */
function frame(number: number): Buffer {
  const header = Buffer.from(`ffffffffffff0200000000${number.toString(16).padStart(2, '0')}88b5`, 'hex');
  return Buffer.concat([header, Buffer.alloc(46, number)]);
}

/** Resolves with the next such frame that a device reads. */
function nextFrame(device: TapDevice | MacvtapDevice): Promise<Buffer> {
  return new Promise((resolve) => {
    device.on('data', (packet: Buffer) => packet.readUInt16BE(12) === 0x88b5 && resolve(packet));
  });
}

/** Runs a body with a list of what is closed after it, the last one first. */
async function disposing(
  body: (use: <T extends AsyncDisposable>(opened: T) => T) => Promise<void>,
): Promise<void> {
  const list: AsyncDisposable[] = [];
  try {
    await body((opened) => {
      list.push(opened);
      return opened;
    });
  } finally {
    for (const opened of list.reverse()) await opened[Symbol.asyncDispose]();
  }
}

describe('macvtap links in several namespaces', () => {
  before(function () {
    needs(this, 'ip', 'setpriv');
  });

  itAsRoot(
    'open at the first call, though all have the same index, and each moves its own frames',
    async () => {
      await openTap('p0').close();
      const before = openFds();
      await disposing(async (use) => {
        const links: { index: number; parent: TapDevice; macvtap: MacvtapDevice }[] = [];
        for (let i = 0; i < 4; i++) {
          const namespace = use(await NetworkNamespace.create());
          await silence(namespace);
          const parent = use(openTap('p0', { namespace, up: true }));
          const macvtap = use(openMacvtap('m0', { namespace, parent: 'p0', up: true }));
          links.push({ index: macvtap.index, parent, macvtap });
        }
        assert.deepEqual(new Set(links.map(({ index }) => index)).size, 1);
        for (const [i, { parent, macvtap }] of links.entries()) {
          const out = nextFrame(parent);
          macvtap.write(frame(i));
          assert.deepEqual(await out, frame(i));
          const into = nextFrame(macvtap);
          parent.write(frame(0x80 + i));
          assert.deepEqual(await into, frame(0x80 + i));
        }
      });
      await fdsAtMost(before);
    },
  );

  itAsRoot('that exist open again and again, also after the node in /dev went with another link', () =>
    disposing(async (use) => {
      const namespaces = [await NetworkNamespace.create(), await NetworkNamespace.create()];
      for (const namespace of namespaces) {
        use(namespace);
        use(openTap('p0', { namespace, up: true }));
        await run(namespace, 'ip', 'link', 'add', 'm0', 'link', 'p0', 'type', 'macvtap');
      }
      for (let i = 0; i < 3; i++) {
        for (const namespace of namespaces) await openMacvtap('m0', { namespace }).close();
      }
      await run(namespaces[0], 'ip', 'link', 'del', 'm0');
      await openMacvtap('m0', { namespace: namespaces[1] }).close();
    }),
  );

  itAsRoot('without CAP_MKNOD the node in /dev opens if it is the link’s, else EPERM', () =>
    inNamespace(async (first) => {
      await using second = await NetworkNamespace.create();
      const program = nodeProgram(`
        try {
          await openMacvtap('m0').close();
          console.log('opened');
        } catch ({ code }) {
          console.log(code);
        }`);
      const results: string[] = [];
      for (const namespace of [first, second]) {
        await openTap('p0', { namespace, persist: true }).close();
        const link = ['link', 'add', 'm0', 'link', 'p0', 'index', '70708', 'type', 'macvtap'];
        assert.equal((await run(namespace, 'ip', ...link)).status, 0);
        const without = ['--bounding-set=-mknod', '--inh-caps=-mknod', ...program];
        results.push((await run(namespace, 'setpriv', ...without)).stdout.trim());
      }
      assert.deepEqual(results, ['opened', 'EPERM']);
    }),
  );

  itAsRoot(
    'with a parent: a link that a killed process left is used, and removed at close; another one is EEXIST',
    () =>
      inNamespace(async (namespace) => {
        await using _ = openTap('p0', { namespace, up: true });
        for (let i = 0; i < 2; i++) {
          await run(namespace, 'ip', 'link', 'add', 'm0', 'link', 'p0', 'type', 'macvtap', 'mode', 'bridge');
          assert.equal(
            code(() => openMacvtap('m0', { namespace, parent: 'p0', mode: 'vepa' })),
            'EEXIST',
          );
          const index = (await ipLink(namespace, 'm0'))?.ifindex;
          const macvtap = openMacvtap('m0', { namespace, parent: 'p0', mac: '02:00:00:00:00:02', up: true });
          assert.equal(macvtap.index, index);
          assert.equal((await ipLink(namespace, 'm0'))?.address, '02:00:00:00:00:02');
          await macvtap.close();
          assert.equal(await ipLink(namespace, 'm0'), undefined);
        }
        await using _other = openTap('m0', { namespace });
        assert.equal(
          code(() => openMacvtap('m0', { namespace, parent: 'p0' })),
          'EEXIST',
        );
        assert.ok(await ipLink(namespace, 'm0'));
      }),
  );

  itAsRoot('a link of another kind is no macvtap link', () =>
    inNamespace(async (namespace) => {
      await using _ = openTap('tap0', { namespace });
      assert.equal(
        code(() => openMacvtap('tap0', { namespace })),
        'ERR_INVALID_ARG_VALUE',
      );
    }),
  );
});
