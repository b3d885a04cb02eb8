import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { openControlSocket } from '#dist/wireguard/control-socket.js';
import { needs } from '../support.ts';
import { FakeDevice, newPeer } from '../wireguard/fake-device.ts';
import { freeName, SOCKETS } from '../wireguard/oracle.ts';
import { finish, real } from './programs.ts';

type Wrap = (command: readonly string[]) => readonly string[];

/** Runs wg and ours until no second passed between, and compares. */
async function compare(
  args: string[],
  env: NodeJS.ProcessEnv = {},
  wrap: Wrap = (command) => command,
): Promise<string> {
  for (let attempt = 0; ; attempt++) {
    const before = await finish(wrap(['wg', ...args]), { env });
    const ours = await finish(wrap(real('tuntap-native', ...args)), { env });
    const after = await finish(wrap(['wg', ...args]), { env });
    if (before.stdout !== after.stdout && attempt < 20) continue;
    assert.equal(ours.stdout, before.stdout);
    assert.equal(ours.status, before.status);
    return ours.stdout;
  }
}

/**
 * Runs a test's body with a folder for control sockets, and what runs a command for which these are all that there are:
 * other tests may have tunnels meanwhile.
 */
async function withFolder(
  body: (at: (name: string) => { path: string }, wrap: Wrap) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'tuntap-show-'));
  mkdirSync(SOCKETS, { recursive: true });
  const script = `mount --bind ${folder} ${SOCKETS} && exec "$@"`;
  try {
    await body(
      (name) => ({ path: join(folder, `${name}.sock`) }),
      (command) => ['unshare', '--mount', 'sh', '-c', script, 'sh', ...command],
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const count = fc.oneof(
  fc.constantFrom(
    0,
    1,
    1023,
    1024,
    1152,
    1408,
    1664,
    1920,
    2 ** 20 - 1,
    2 ** 20,
    2 ** 30 - 1,
    2 ** 40 + 2 ** 37,
    2 ** 52,
  ),
  fc.integer({ min: 0, max: 2 ** 50 }),
  fc.integer({ min: 0, max: 4096 }).map((n) => n * 128),
);
const ago = fc.oneof(
  fc.constantFrom(1, 59, 60, 61, 3600, 86_400, 31_536_000, 32_000_000, -500),
  fc.integer({ min: 1, max: 2e8 }),
);
const peer = fc.record({
  psk: fc.boolean(),
  endpoint: fc.option(
    fc.oneof(
      fc.constantFrom(
        '192.0.2.1:0',
        '[::1]:1',
        '[::ffff:1.2.3.4]:5',
        '[::1.2.3.4]:5',
        '[fe80::1%1]:7',
        '[fe80::1%lo]:7',
        '[::2:3]:9',
      ),
      fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 65535 })).map(([host, port]) => `${host}:${port}`),
    ),
    { nil: undefined },
  ),
  allowedIps: fc.array(
    fc.constantFrom(
      '0.0.0.0/0',
      '::/0',
      '10.0.0.0/8',
      'fd00::/64',
      '::1.2.0.0/112',
      '::5/128',
      '::ffff:10.0.0.0/104',
      '2001:db8:0:1::/64',
    ),
    { maxLength: 4 },
  ),
  rxBytes: count,
  txBytes: count,
  seconds: fc.option(ago, { nil: undefined }),
  persistentKeepalive: fc.oneof(
    fc.constantFrom(0, 1, 60, 3600, 3661, 65535),
    fc.integer({ min: 0, max: 65535 }),
  ),
});
const state = fc.record({
  hasKey: fc.boolean(),
  listenPort: fc.integer({ min: 0, max: 65535 }),
  fwmark: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffffffff })),
  peers: fc.array(peer, { maxLength: 5 }),
});

describe('tuntap-native show prints what wg show prints', function () {
  this.timeout(120_000);
  before(function () {
    needs(this, 'wg', 'unshare');
  });

  it('of any device', async () => {
    const name = freeName();
    const device = new FakeDevice();
    await using _socket = await openControlSocket(name, device);
    const styles: NodeJS.ProcessEnv[] = [
      {},
      { WG_COLOR_MODE: 'always' },
      { WG_HIDE_KEYS: 'never', WG_COLOR_MODE: 'never' },
      { WG_HIDE_KEYS: 'sometimes' },
    ];
    let round = 0;
    await fc.assert(
      fc.asyncProperty(state, async ({ hasKey, listenPort, fwmark, peers }) => {
        Object.assign(device, { listenPort, fwmark, privateKey: hasKey ? randomBytes(32) : undefined });
        device.peers.clear();
        for (const { psk, seconds, ...rest } of peers) {
          device.peers.set(String(device.peers.size), {
            ...newPeer(randomBytes(32)),
            ...rest,
            presharedKey: psk ? randomBytes(32) : undefined,
            latestHandshake: seconds && Math.max(Date.now() - seconds * 1000, 1000),
          });
        }
        await compare(['show', name], styles[round++ % styles.length]);
      }),
      { numRuns: 20 },
    );
  });

  it('of all devices, and of none', () =>
    withFolder(async (at, wrap) => {
      const names = [freeName(), freeName(), freeName()];
      const device = new FakeDevice();
      device.peers.set('x', newPeer(randomBytes(32)));
      const sockets = await Promise.all(
        names.map((each, i) => openControlSocket(each, i === 1 ? device : new FakeDevice(), at(each))),
      );
      const text = await compare(['show'], {}, wrap);
      for (const each of names) assert.match(text, new RegExp(`^interface: ${each}$`, 'm'));
      for (const socket of sockets) await socket.close();
      assert.equal(await compare(['show'], {}, wrap), '');
    }));

  it('one that can not be read is named, the others are shown', () =>
    withFolder(async (at, wrap) => {
      const [bad, good] = [freeName(), freeName()];
      await using _good = await openControlSocket(good, new FakeDevice(), at(good));
      const broken = new FakeDevice();
      broken.get = () => {
        throw Object.assign(new Error(), { errno: -13 });
      };
      await using _bad = await openControlSocket(bad, broken, at(bad));
      await compare(['show'], {}, wrap);
      const { stderr, status } = await finish(wrap(real('tuntap-native', 'show')));
      assert.equal(stderr, `Unable to access interface ${bad}: Permission denied\n`);
      assert.equal(status, 0);
      const alone = await finish(wrap(real('tuntap-native', 'show', bad)));
      assert.equal(alone.stderr, (await finish(wrap(['wg', 'show', bad]))).stderr);
      assert.equal(alone.status, 1);
    }));

  it('one that is not there: one line and status 1', async () => {
    for (const name of [freeName(), '../x', '']) {
      const { stdout, stderr, status } = await finish(real('tuntap-native', 'show', name));
      assert.deepEqual([stdout, stderr, status], ['', 'Unable to access interface: No such device\n', 1]);
    }
  });

  it('hides secrets', async () => {
    const name = freeName();
    const device = new FakeDevice();
    device.privateKey = randomBytes(32);
    device.peers.set('x', { ...newPeer(randomBytes(32)), presharedKey: randomBytes(32) });
    await using _socket = await openControlSocket(name, device);
    const { stdout } = await finish(real('tuntap-native', 'show', name));
    assert.match(stdout, /private key: \(hidden\)\n(.*\n)*.*preshared key: \(hidden\)\n/);
  });

  it('a process that answers nothing sensible is one line and status 1', async () => {
    const name = freeName();
    await (await openControlSocket(name, new FakeDevice())).close(); // makes the directory
    const server = createServer((socket) => socket.on('error', () => {}).end('nonsense\n\n'));
    server.listen(`${SOCKETS}/${name}.sock`);
    await once(server, 'listening');
    const { stderr, status } = await finish(real('tuntap-native', 'show', name));
    server.close();
    assert.match(stderr, /^Unable to access interface: .*\n$/);
    assert.equal(status, 1);
  });
});
