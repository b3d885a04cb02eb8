import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import {
  formatConfig,
  generatePrivateKey,
  type ParsedConfig,
  parseConfig,
  publicKey,
  type WireGuardConfig,
} from 'tuntap-native/wireguard';
import { inNamespace, needs } from '../support.ts';
import { wg, withFile, withWireguardGo } from './oracle.ts';

const PRIVATE = 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=';
const A = 'xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=';

const EMPTY: ParsedConfig = {
  addresses: [],
  peers: [],
  dns: [],
  searchDomains: [],
  preUp: [],
  postUp: [],
  preDown: [],
  postDown: [],
  saveConfig: false,
};

const key = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((bytes) => Buffer.from(bytes).toString('base64'));
const ipv4 = fc.ipV4();
const ipv6 = fc.ipV6();
const network = fc.oneof(
  fc.tuple(ipv4, fc.integer({ min: 0, max: 32 })).map(([address, length]) => `${address}/${length}`),
  fc.tuple(ipv6, fc.integer({ min: 0, max: 128 })).map(([address, length]) => `${address}/${length}`),
);
const port = fc.integer({ min: 1, max: 65535 });
const name = fc.stringMatching(/^[a-z]([a-z0-9-]{0,10}[a-z0-9])?(\.[a-z]{1,8}){0,3}$/);
const endpoint = fc.oneof(
  fc.tuple(ipv4, port).map(([host, number]) => `${host}:${number}`),
  fc.tuple(ipv6, port).map(([host, number]) => `[${host}]:${number}`),
  fc.tuple(name, port).map(([host, number]) => `${host}:${number}`),
);
const hook = fc
  .string({ minLength: 1 })
  .map((text) => text.replace(/[\n\0]/g, '').trim())
  .filter((text) => text !== '');
const peer = fc.record(
  {
    publicKey: key,
    presharedKey: key,
    endpoint,
    allowedIps: fc.array(network, { maxLength: 5 }),
    persistentKeepalive: fc.integer({ min: 0, max: 65535 }),
  },
  { requiredKeys: ['publicKey'] },
);
const config: fc.Arbitrary<WireGuardConfig> = fc.record(
  {
    privateKey: key,
    listenPort: fc.integer({ min: 0, max: 65535 }),
    fwmark: fc.integer({ min: 0, max: 0xffffffff }),
    addresses: fc.array(network, { maxLength: 4 }),
    mtu: fc.integer({ min: 68, max: 65535 }),
    routes: fc.oneof(
      fc.constantFrom('auto' as const, 'off' as const),
      fc.integer({ min: 1, max: 0xffffffff }),
    ),
    dns: fc.array(fc.oneof(ipv4, ipv6), { maxLength: 3 }),
    searchDomains: fc.array(name, { maxLength: 3 }),
    preUp: fc.array(hook, { maxLength: 2 }),
    postUp: fc.array(hook, { maxLength: 2 }),
    preDown: fc.array(hook, { maxLength: 2 }),
    postDown: fc.array(hook, { maxLength: 2 }),
    saveConfig: fc.boolean(),
    peers: fc.uniqueArray(peer, { selector: ({ publicKey: each }) => each, maxLength: 4 }),
  },
  { requiredKeys: [] },
);

describe('formatConfig', () => {
  it('writes what parseConfig reads back: every value but the form of addresses', () => {
    fc.assert(
      fc.property(config, (each) => {
        const once = parseConfig(formatConfig(each));
        assert.deepEqual(parseConfig(formatConfig(once)), once);
        const { addresses: _, peers, dns: __, ...rest } = each;
        const { addresses, peers: readPeers, dns, ...readRest } = once;
        assert.deepEqual(readRest, {
          ...Object.fromEntries(Object.entries(EMPTY).filter(([property]) => property in readRest)),
          ...rest,
        });
        assert.equal(addresses.length, each.addresses?.length ?? 0);
        assert.equal(dns.length, each.dns?.length ?? 0);
        assert.deepEqual(
          readPeers.map(({ allowedIps: ___, endpoint: ____, ...others }) => others),
          (peers ?? []).map(({ allowedIps: ___, endpoint: ____, ...others }) => others),
        );
      }),
      { numRuns: 500 },
    );
  });

  it('takes keys as bytes', () => {
    const bytes = Buffer.from(PRIVATE, 'base64');
    const text = formatConfig({
      privateKey: bytes,
      peers: [{ publicKey: new Uint8Array(Buffer.from(A, 'base64')) }],
    });
    assert.equal(text, `[Interface]\nPrivateKey = ${PRIVATE}\n\n[Peer]\nPublicKey = ${A}\n`);
  });

  const wrong: [what: string, config: object, code: string][] = [
    ['a hook of two lines', { postUp: ['true\nPreUp = false'] }, 'ERR_WG_CONFIG'],
    ['an endpoint of two lines', { peers: [{ publicKey: A, endpoint: 'a:1\nb:2' }] }, 'ERR_WG_CONFIG'],
    ['an endpoint with a comment', { peers: [{ publicKey: A, endpoint: 'a#b:1' }] }, 'ERR_WG_CONFIG'],
    ['a port that is too large', { listenPort: 65536 }, 'ERR_WG_CONFIG'],
    ['a port that is no number', { listenPort: NaN }, 'ERR_WG_CONFIG'],
    ['an MTU of null', { mtu: null }, 'ERR_WG_CONFIG'],
    ['addresses that are no list', { addresses: '10.0.0.1' }, 'ERR_WG_CONFIG'],
    ['hooks that are no list', { preUp: 'true' }, 'ERR_WG_CONFIG'],
    ['peers that are no list', { peers: {} }, 'ERR_WG_CONFIG'],
    ['a domain with a newline', { searchDomains: ['a\nMTU=1'] }, 'ERR_WG_CONFIG'],
    ['a signed network', { peers: [{ publicKey: A, allowedIps: ['+10.0.0.0/8'] }] }, 'ERR_WG_CONFIG'],
    ['a peer without key', { peers: [{}] }, 'ERR_WG_KEY'],
    ['a short key', { privateKey: 'abc' }, 'ERR_WG_KEY'],
    ['no object', 7 as unknown as object, 'ERR_INVALID_ARG_TYPE'],
  ];
  for (const [what, each, code] of wrong) {
    it(`refuses ${what}`, () => assert.throws(() => formatConfig(each as WireGuardConfig), { code }));
  }

  it('shows no secret in its errors', () => {
    assert.throws(
      () => formatConfig({ privateKey: `${PRIVATE}x` }),
      ({ message }: Error) => !message.includes(PRIVATE.slice(0, 6)),
    );
  });
});

describe('generatePrivateKey and publicKey', () => {
  it('agree with wg pubkey', function () {
    needs(this, 'wg');
    for (let i = 0; i < 20; i++) {
      const each = generatePrivateKey();
      const { stdout } = spawnSync('wg', ['pubkey'], { input: each, encoding: 'utf8' });
      assert.equal(`${publicKey(each)}\n`, stdout);
    }
  });
});

describe('configuration files and wg', function () {
  this.timeout(60_000);
  before(function () {
    needs(this, 'wg', 'wg-quick', 'wireguard-go');
  });

  /** The part of a file that is wg's, as wg-quick cuts it out. */
  const strip = (text: string) =>
    withFile(text, (path) => spawnSync('wg-quick', ['strip', path], { encoding: 'utf8' }).stdout, 'wg0.conf');

  it('wg-quick takes what formatConfig writes, and both say the same to wg', async () => {
    await inNamespace((namespace) =>
      withWireguardGo(namespace, (device) => {
        for (const each of fc.sample(config, 30)) {
          // wg would look the names up; it draws no line between endpoints of one host.
          const peers = (each.peers ?? []).map(({ endpoint: at, ...rest }) =>
            at !== undefined && /^[\d[]/.test(at) ? { ...rest, endpoint: at } : rest,
          );
          const ours = formatConfig({ ...each, listenPort: 0, peers });
          const { status, stderr } = withFile(strip(ours), (path) => wg('setconf', device, path));
          assert.equal(status, 0, `${stderr}\n${ours}`);
          const shown = parseConfig(wg('showconf', device).stdout);
          const mine = parseConfig(ours);
          // A prefix that two peers name is the last one's; a zero key is none; wireguard-go clamps.
          const owner = new Map(
            mine.peers.flatMap((p) => p.allowedIps.map((prefix) => [prefix, p.publicKey])),
          );
          assert.deepEqual(
            shown.peers.map((p) => ({ ...p, allowedIps: [...p.allowedIps].sort() })).sort(byKey),
            mine.peers
              .map(({ persistentKeepalive, ...p }) => ({
                ...p,
                allowedIps: p.allowedIps.filter((prefix) => owner.get(prefix) === p.publicKey).sort(),
                ...(persistentKeepalive && { persistentKeepalive }),
              }))
              .sort(byKey),
          );
          assert.equal(shown.fwmark ?? 0, mine.fwmark ?? 0);
        }
      }),
    );
  });

  const byKey = (a: { publicKey: string }, b: { publicKey: string }) => (a.publicKey < b.publicKey ? -1 : 1);

  const verdicts = [
    'ListenPort = 0',
    'ListenPort = 00051',
    'ListenPort =',
    'FwMark = 0xffffffff',
    'FwMark = 0x0000000001',
    'FwMark = 4294967296',
    'FwMark = 0X1',
    'FwMark = oFF',
    'FwMark = -1',
    `PrivateKey = ${PRIVATE}`,
    `PrivateKey = ${PRIVATE.replace('mk=', 'mk')}`,
    `PrivateKey = ${PRIVATE.replace('mk=', 'ml=')}`,
    `PrivateKey = ${PRIVATE} ${PRIVATE}`,
    'Bogus = 1',
    'ListenPort 1',
    `[Peer]`,
    `[Peers]`,
    `[Peer]\nPublicKey = ${A}\n[Peer]`,
    `[Peer]\nPublicKey = ${A} # comment`,
    `[peer]\npublickey=${A}\nallowedips=10.0.0.0/8, ::/0\nALLOWEDIPS=10.0.0.1`,
    ...[
      '10.0.0.0/33',
      '10.0.0.0/08',
      '10.0.0.0/',
      '10.0.0.0 / 8',
      '10.0.0.1/8,',
      '::ffff:1.2.3.4/120',
      '::1%lo',
      '010.0.0.1',
      'x',
    ].map((text) => `[Peer]\nPublicKey = ${A}\nAllowedIPs = ${text}`),
    ...['192.0.2.1:1', '192.0.2.1', '[::1]:65535', '::1:5', '[::1]:', '[::1', '[192.0.2.1]:5', ':5', ''].map(
      (text) => `[Peer]\nPublicKey = ${A}\nEndpoint = ${text}`,
    ),
    ...['0', '65535', '65536', 'off', 'OFF', 'on', '-1', ''].map(
      (text) => `[Peer]\nPublicKey = ${A}\nPersistentKeepalive = ${text}`,
    ),
  ];
  it('accepts and refuses what wg setconf does', async () => {
    await inNamespace((namespace) =>
      withWireguardGo(namespace, (device) => {
        for (const each of verdicts) {
          const text = `[Interface]\n${each}\n`;
          let accepted = true;
          try {
            parseConfig(text);
          } catch {
            accepted = false;
          }
          const { status, stderr } = withFile(text, (path) => wg('setconf', device, path));
          assert.equal(accepted, status === 0, `${each}: ${stderr}`);
        }
      }),
    );
  });
});
