import assert from 'node:assert/strict';
import type { NetworkNamespace } from 'tuntap-native';
import { inNamespace, itAsRoot, needs, nodeProgram, run } from '../support.ts';
import { otherProgram } from './other-program.ts';
import { shell } from './traffic.ts';

/** What comes of a program's attempts to adopt fd 3, each in words that say whether the fd is as it was. */
async function attempts(
  namespace: NetworkNamespace,
  device: readonly string[],
  program: string,
  as: readonly string[] = [],
): Promise<Record<string, string>> {
  const [command, ...args] = nodeProgram(`
    import { execFileSync } from 'node:child_process';
    import { readFileSync, statSync } from 'node:fs';
    const state = () => {
      const read = (command, ...args) => execFileSync(command, args, { stdio: ['ignore', 'pipe', 'inherit', 3] });
      const { ino, rdev } = statSync('/proc/self/fd/3');
      return [readFileSync('/proc/self/fdinfo/3'), ino, rdev, read('${otherProgram()}', 'status'),
        String(read('ethtool', '-k', 'dev0')).replaceAll(' [requested on]', '')].join();
    };
    const results = {};
    const attempt = (name, adopt) => {
      const before = state();
      let code = 'adopted';
      try {
        adopt();
      } catch (error) {
        code = error.code ?? error.name;
      }
      globalThis.gc?.();
      results[name] = code + (state() === before ? ', as it was' : ', changed');
    };
    ${program}
    console.log(JSON.stringify(results));
    process.exit();`);
  const { stdout, stderr } = await run(
    namespace,
    otherProgram(),
    'dev0',
    ...device,
    '--',
    ...as,
    command,
    '--expose-gc',
    ...args,
  );
  assert.notEqual(stdout, '', stderr);
  return JSON.parse(stdout);
}

const ADOPTS = `
    const tun = openTun(undefined, { fd: 3 });
    results.adopts = tun.fd + ' ' + tun.name;
    await tun.close();
    try { statSync('/proc/self/fd/3'); } catch ({ code }) { results.closed = code; }`;
const ADOPTED = { adopts: '3 dev0', closed: 'ENOENT' };

describe('an fd whose adoption is refused', () => {
  before(function () {
    needs(this, 'ip', 'ethtool', 'cc', 'setpriv');
  });

  const wrong: [string, string][] = [
    [`openTun(undefined, { fd: 3, mtu: 1 })`, 'ERR_OUT_OF_RANGE'],
    [`openTun(undefined, { fd: 3, addresses: ['bad'] })`, 'ERR_INVALID_ARG_VALUE'],
    [`openTun(undefined, { fd: 3, owner: -1 })`, 'ERR_OUT_OF_RANGE'],
    [`openTun(undefined, { fd: 3, offload: 'x' })`, 'ERR_INVALID_ARG_TYPE'],
    [`openTun(undefined, { fd: 3, signal: {} })`, 'ERR_INVALID_ARG_TYPE'],
    [`openTun(undefined, { fd: 3, signal: AbortSignal.abort() })`, 'ABORT_ERR'],
    [`openTun(undefined, { fd: 3, namespace: 'no-such-namespace' })`, 'ENOENT'],
    [`openTun(undefined, { fd: 3, namespace: '/etc/passwd' })`, 'ERR_INVALID_ARG_VALUE'],
    [`openTun(undefined, { fd: 3, mac: '02:00:00:00:00:01' })`, 'ERR_INVALID_ARG_VALUE'],
    [`openTun('other', { fd: 3 })`, 'ERR_INVALID_ARG_VALUE'],
    [`openTap(undefined, { fd: 3 })`, 'ERR_INVALID_ARG_VALUE'],
    // What the kernel refuses after the offloads were set.
    [`openTun(undefined, { fd: 3, addresses: ['192.0.2.1/24'] })`, 'EEXIST'],
    [`openTun(undefined, { fd: 3, offload: false, addresses: ['192.0.2.1/24'] })`, 'EEXIST'],
    [`openTun(undefined, { fd: 3, offload: { tcp: false }, addresses: ['192.0.2.1/24'] })`, 'EEXIST'],
  ];
  const flavours: [string[], [string, string][]][] = [
    [
      ['vnet=10', 'offload=3'],
      [[`openTun(undefined, { fd: 3, offload: 'raw', addresses: ['192.0.2.1/24'] })`, 'EEXIST']],
    ],
    [
      ['vnet=12', 'offload=3'],
      [[`openTun(undefined, { fd: 3, offload: 'raw', addresses: ['192.0.2.1/24'] })`, 'EEXIST']],
    ],
    [['vnet=100'], []],
    [['vnet=12', 'multi', 'offload=1'], []],
    [[], [[`openTun(undefined, { fd: 3, offload: 'raw' })`, 'ERR_INVALID_ARG_VALUE']]],
  ];
  for (const [device, more] of flavours) {
    it(`is as it was, and can be adopted then: ${device.join(' ') || 'a plain device'}`, () =>
      inNamespace(async (namespace) => {
        await shell(
          namespace,
          `ip tuntap add dev0 mode tun ${device.includes('multi') ? 'multi_queue' : ''}
          ip addr add 192.0.2.1 peer 192.0.2.2/24 dev dev0`,
        );
        const table = [...wrong, ...more];
        const program = table.map(([call]) => `attempt(${JSON.stringify(call)}, () => ${call});`).join('\n');
        const expected = table.map(([call, code]) => [call, `${code}, as it was`]);
        assert.deepEqual(await attempts(namespace, device, program + ADOPTS), {
          ...Object.fromEntries(expected),
          ...ADOPTED,
        });
      }));
  }

  it('without CAP_NET_ADMIN for what it asks beside is as it was', () =>
    inNamespace(async (namespace) => {
      const without = ['setpriv', '--bounding-set=-net_admin', '--inh-caps=-net_admin'];
      const program = `attempt('mtu', () => openTun(undefined, { fd: 3, offload: false, mtu: 1400 }));${ADOPTS}`;
      assert.deepEqual(await attempts(namespace, ['vnet=12', 'offload=7'], program, without), {
        mtu: 'EPERM, as it was',
        ...ADOPTED,
      });
    }));

  it('belongs to a device of this process already, which goes on', () =>
    inNamespace(async (namespace) => {
      const program = `
        import { Worker } from 'node:worker_threads';
        import { once } from 'node:events';
        const tun = openTun(undefined, { fd: 3 });
        const again = () => openTun(undefined, { fd: 3 });
        attempt('idle', again);
        tun.resume();
        attempt('reading', again);
        const code = \`const { openTun } = await import('${import.meta.resolve('tuntap-native')}');
          try { openTun(undefined, { fd: 3 }); } catch ({ code }) { postMessage(code); }\`;
        const worker = new Worker(new URL('data:text/javascript,import { parentPort } from "node:worker_threads";' +
          encodeURIComponent('const postMessage = (value) => parentPort.postMessage(value);' + code)));
        results.worker = (await once(worker, 'message'))[0];
        await worker.terminate();
        results.goes = String(tun.destroyed) + ' ' + tun.fd;
        await tun.close();
        try { statSync('/proc/self/fd/3'); } catch ({ code }) { results.closed = code; }`;
      assert.deepEqual(await attempts(namespace, ['vnet=10'], program), {
        idle: 'ERR_INVALID_ARG_VALUE, as it was',
        reading: 'ERR_INVALID_ARG_VALUE, as it was',
        worker: 'ERR_INVALID_ARG_VALUE',
        goes: 'false 3',
        closed: 'ENOENT',
      });
    }));

  it('is watched by the event loop for somebody else', () =>
    inNamespace(async (namespace) => {
      const program = `
        const { Pipe, constants } = process.binding('pipe_wrap');
        const pipe = new Pipe(constants.SOCKET);
        pipe.open(3);
        pipe.readStart();
        attempt('watched', () => openTun(undefined, { fd: 3 }));
        attempt('watched, without offload', () => openTun(undefined, { fd: 3, offload: false }));`;
      assert.deepEqual(await attempts(namespace, ['vnet=12', 'offload=3'], program), {
        watched: 'EEXIST, as it was',
        'watched, without offload': 'EEXIST, as it was',
      });
    }));

  itAsRoot('is of something else', () =>
    inNamespace(async (namespace) => {
      const program = `
        import { openSync } from 'node:fs';
        import { createSocket } from 'node:dgram';
        await openTap('tap0', { persist: true, up: true }).close();
        const macvtap = openMacvtap('m0', { parent: 'tap0' });
        const fds = {
          macvtap: macvtap.fd,
          file: openSync('${otherProgram()}'),
          unattached: openSync('/dev/net/tun', 'r+'),
          null: openSync('/dev/null'),
          pipe: 1,
          none: 999,
        };
        for (const [name, fd] of Object.entries(fds)) {
          for (const open of [openTun, openTap]) attempt(name + ' ' + open.name, () => open(undefined, { fd }));
          if (name !== 'none') statSync('/proc/self/fd/' + fd);
        }
        await macvtap.close();`;
      const results = await attempts(namespace, [], program);
      const expected: [string, string, string?][] = [
        ['macvtap', 'ERR_INVALID_ARG_VALUE'],
        ['file', 'ENOTTY'],
        ['unattached', 'EBADFD'],
        ['null', 'ENOTTY'],
        ['pipe', 'ENOTTY'],
        ['none', 'EBADF'],
      ];
      assert.deepEqual(
        results,
        Object.fromEntries(
          expected.flatMap(([name, code]) =>
            ['openTun', 'openTap'].map((open) => [`${name} ${open}`, `${code}, as it was`]),
          ),
        ),
      );
    }),
  );
});
