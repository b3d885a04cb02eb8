import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { NetworkNamespace } from 'tuntap-native/net';
import { generatePrivateKey, openWireGuard, publicKey } from 'tuntap-native/wireguard';
import { inNamespace, needs } from '../support.ts';
import { ask, KEY, OTHER, run, withFake } from './control-support.ts';
import { freeName, SOCKETS, withFolder, withWireguardGo } from './oracle.ts';

/** Runs `body` while a whole tunnel of ours has an interface in the namespace. */
async function withTunnel(
  namespace: NetworkNamespace,
  body: (name: string, path: string) => Promise<void>,
): Promise<void> {
  const name = freeName();
  const options = { namespace, socketNamespace: namespace, up: false };
  await using _tunnel = await openWireGuard(name, options);
  await body(name, `${SOCKETS}/${name}.sock`);
}

describe('a tunnel and wireguard-go answer wg alike', function () {
  this.timeout(60_000);
  before(function () {
    needs(this, 'wg', 'wireguard-go');
  });

  const keys = Array.from({ length: 4 }, () => publicKey(generatePrivateKey()));
  const own = generatePrivateKey();
  const psk = randomBytes(32).toString('base64');

  /** Peers come in any order from wireguard-go. */
  function sorted(text: string): string {
    const parts = text.split(/(?=\[Peer\]|^peer: |^public_key=)/m).map((part) => part.trim());
    return parts.sort().join('\n\n');
  }

  /** A raw answer without what differs by nature: the random port. */
  const canonical = (text: string) =>
    sorted(text.replace(/listen_port=\d+\n/, '').replace(/errno=0\n\n$/, ''));

  const steps: [what: string, run: (name: string) => ReturnType<typeof run>][] = [
    ['show of a fresh device', (name) => run('show', name)],
    ['set private-key', (name) => withFileAsync(own, (path) => run('set', name, 'private-key', path))],
    ['set listen-port and fwmark', (name) => run('set', name, 'fwmark', '0x1234')],
    [
      'set of two peers',
      (name) =>
        withFileAsync(psk, (path) =>
          run(
            ...['set', name, 'peer', keys[0], 'preshared-key', path, 'endpoint', '192.0.2.1:51820'],
            ...['allowed-ips', '10.0.0.0/24, fd00::/64', 'persistent-keepalive', '25'],
            ...['peer', keys[1], 'allowed-ips', '10.0.0.128/25,0.0.0.0/0', 'endpoint', '[2001:db8::1]:7'],
          ),
        ),
    ],
    ['a prefix that moves', (name) => run('set', name, 'peer', keys[1], 'allowed-ips', '10.0.0.0/24')],
    ['no preshared key', (name) => run('set', name, 'peer', keys[0], 'preshared-key', '/dev/null')],
    ['no allowed IPs', (name) => run('set', name, 'peer', keys[1], 'allowed-ips', '')],
    ['a third peer', (name) => run('set', name, 'peer', keys[2])],
    ['remove', (name) => run('set', name, 'peer', keys[1], 'remove')],
    ['remove of nobody', (name) => run('set', name, 'peer', keys[3], 'remove')],
    ['oneself as peer', (name) => run('set', name, 'peer', publicKey(own), 'allowed-ips', '10.9.0.0/24')],
    [
      'addconf',
      (name) =>
        withFileAsync(`[Peer]\nPublicKey=${keys[3]}\nAllowedIPs=::/0\n`, (path) =>
          run('addconf', name, path),
        ),
    ],
    [
      'syncconf',
      (name) =>
        withFileAsync(
          `[Interface]\nPrivateKey=${own}\n[Peer]\nPublicKey=${keys[3]}\nPersistentKeepalive=3\n[Peer]\nPublicKey=${keys[0]}\n`,
          (path) => run('syncconf', name, path),
        ),
    ],
    ['fwmark off', (name) => run('set', name, 'fwmark', 'off')],
    ['no private key', (name) => run('set', name, 'private-key', '/dev/null')],
    [
      'setconf',
      (name) =>
        withFileAsync(
          `[Interface]\nPrivateKey=${own}\nFwMark=3\n[Peer]\nPublicKey=${keys[1]}\nAllowedIPs=10.0.0.0/8\nEndpoint=192.0.2.9:9\n`,
          (path) => run('setconf', name, path),
        ),
    ],
    ['setconf of nothing', (name) => withFileAsync('', (path) => run('setconf', name, path))],
  ];

  async function withFileAsync<T>(content: string, use: (path: string) => Promise<T>): Promise<T> {
    let result: Promise<T> | undefined;
    await withFolder(async (folder) => {
      const path = join(folder, 'file');
      writeFileSync(path, content);
      result = use(path);
      await result;
    });
    return result as Promise<T>;
  }

  it('show, showconf, set, setconf, addconf, syncconf', () =>
    inNamespace((namespace) =>
      withWireguardGo(namespace, (real) =>
        withTunnel(namespace, async (name, path) => {
          for (const [what, step] of steps) {
            const [expected, actual] = [await step(real), await step(name)];
            assert.equal(actual.status, expected.status, `${what}: ${actual.stderr}`);
            for (const view of [['show'], ['showconf']]) {
              const [theirs, ours] = [await run(view[0], real), await run(view[0], name)];
              const plain = (text: string, device: string) =>
                sorted(
                  text.replaceAll(device, 'NAME').replace(/^( *listening port: |ListenPort = )\d+\n/m, ''),
                );
              assert.equal(plain(ours.stdout, name), plain(theirs.stdout, real), what);
            }
            const raw = await ask(path, 'get=1\n\n');
            const theirs = await ask(`${SOCKETS}/${real}.sock`, 'get=1\n\n');
            assert.equal(canonical(raw.text), canonical(theirs.text), what);
          }
        }),
      ),
    ));

  const transcripts = [
    'get=1\n\n',
    'set=1\n\n',
    'set=1\n\n\n',
    'set=1\nfoo\n\n',
    'set=1\n=\n\n',
    'set=1\nfoo=1\n\n',
    'bogus\n',
    'set=1\r\n\r\n',
    'set=1\nfwmark=3\r\n\r\n',
    'set=1\nlisten_port=\n\n',
    'set=1\nreplace_peers=false\n\n',
    'set=1\nfwmark=00000000000000000000003\n\n',
    'get=1\n\nset=1\nfwmark=1\nreplace_peers=true\n\nget=1\n\n',
    `set=1\nprivate_key=${'00'.repeat(32)}\n\nget=1\n\n`,
    `set=1\nprivate_key=${'ff'.repeat(32)}\n\nget=1\n\n`,
    ...[
      '',
      'allowed_ip=10.1.2.3/08\n',
      'allowed_ip=10.0.0.0\n',
      'allowed_ip=10.0.0.0/33\n',
      'allowed_ip=::1%lo/128\n',
      'allowed_ip=::ffff:1.2.3.4/120\n',
      'allowed_ip=::/0\nreplace_allowed_ips=true\nallowed_ip=0.0.0.0/0\n',
      'replace_allowed_ips=yes\n',
      'endpoint=[1.2.3.4]:80\n',
      'endpoint=1.2.3.4:+80\n',
      'endpoint=1.2.3.4:0\n',
      'endpoint=localhost:1\n',
      'endpoint=\n',
      'persistent_keepalive_interval=65535\n',
      'persistent_keepalive_interval=65536\n',
      'protocol_version=1\n',
      'protocol_version=2\n',
      'update_only=true\nallowed_ip=10.7.0.0/16\n',
      'update_only=false\n',
      'remove=true\nallowed_ip=10.0.0.0/8\n',
      'remove=false\n',
      `public_key=${OTHER}\nupdate_only=true\n`,
      'private_key=00\n',
    ].map((lines) => `set=1\nreplace_peers=true\npublic_key=${KEY.toUpperCase()}\n${lines}\nget=1\n\n`),
  ];
  for (const transcript of transcripts) {
    it(JSON.stringify(transcript.replaceAll(KEY.toUpperCase(), 'KEY')), () =>
      inNamespace((namespace) =>
        withWireguardGo(namespace, (real) =>
          withTunnel(namespace, async (_name, path) => {
            // One at a time: wireguard-go throws away what came with a set request.
            for (const request of transcript.split(/(?<=\n\n)(?=[gs]et=1)/)) {
              const plain = ({ text }: { text: string }) => text.replace(/listen_port=\d+\n/g, '');
              const theirs = plain(await ask(`${SOCKETS}/${real}.sock`, request));
              assert.equal(plain(await ask(path, request)), theirs);
              // Then wireguard-go has applied a part, we nothing.
              if (/errno=-/.test(theirs)) break;
            }
          }),
        ),
      ),
    );
  }

  it('the IPv4-mapped form of an endpoint is shown as the IPv4 endpoint that it is', () =>
    inNamespace((namespace) =>
      withTunnel(namespace, async (_name, path) => {
        const { text } = await ask(path, `set=1\npublic_key=${KEY}\nendpoint=[::ffff:1.2.3.4]:0080\n\n`);
        assert.equal(text, 'errno=0\n\n');
        assert.match((await ask(path, 'get=1\n\n')).text, /^endpoint=1\.2\.3\.4:80$/m);
      }),
    ));

  it('wg set tells the errno of a refused change', () =>
    withFake(async (name, device) => {
      device.failure = Object.assign(new Error(), { code: 'EADDRINUSE', errno: -98 });
      const { status, stderr } = await run('set', name, 'listen-port', '7');
      assert.equal(status, 1);
      assert.match(stderr, /Address already in use/);
    }));

  it('wg show tells the errno of a failed get', () =>
    withFake(async (name, device) => {
      device.failure = Object.assign(new Error(), { code: 'EACCES', errno: -13 });
      const { status, stderr } = await run('show', name);
      assert.equal(status, 1);
      assert.match(stderr, /Permission denied/);
    }));

  it('+ and - of an allowed IP, which newer wg sends', () =>
    withFake(async (_name, device, { path }) => {
      const set = (lines: string) => ask(path, `set=1\npublic_key=${KEY}\n${lines}\n`);
      await set('allowed_ip=10.0.0.0/8\nallowed_ip=10.1.0.0/16\n');
      assert.equal(
        (await set('allowed_ip=-10.0.0.0/8\nallowed_ip=-10.9.0.0/16\nallowed_ip=::/0\n')).text,
        'errno=0\n\n',
      );
      assert.deepEqual(device.peers.get(KEY)?.allowedIps, ['10.1.0.0/16', '::/0']);
      assert.equal((await set('allowed_ip=--10.0.0.0/8\n')).text, 'errno=-22\n\n');
    }));
});
