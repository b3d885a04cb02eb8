import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { type ConfigError, formatConfig, parseConfig } from 'tuntap-native/wireguard';

const PRIVATE = 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=';
const A = 'xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=';
const B = 'TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=';
const PSK = 'FpCyhws9cxwWoV4xELtfJvjJN+zQVRPISllRWgeopVE=';

/** What is left of a configuration without defaults. */
function settings(text: string): object {
  const entries = Object.entries(parseConfig(text));
  return Object.fromEntries(entries.filter(([, value]) => value !== false && value?.length !== 0));
}

function peerOf(lines: string): object {
  const [{ publicKey: _, ...rest }] = parseConfig(`[Peer]\nPublicKey=${A}\n${lines}`).peers;
  return rest;
}

function failure(text: string): ConfigError {
  try {
    parseConfig(text);
  } catch (error) {
    return error as ConfigError;
  }
  throw new Error(`accepted: ${text}`);
}

describe('parseConfig', () => {
  it('reads every key of wg(8) and wg-quick(8)', () => {
    const text = `# a comment
[Interface]
PrivateKey = ${PRIVATE}
ListenPort = 51820
FwMark = 0xca6c
Address = 10.0.0.1/24, fd00::1/64
Address = 10.1.0.1
DNS = 192.0.2.53, 2001:db8::53
DNS = example.org corp.example.org
MTU = 1380
Table = 1234
PreUp = echo 1
PostUp = echo 2
PostUp = echo %i # 3
PreDown = echo 4
PostDown = echo 5
SaveConfig = true

[Peer]
PublicKey = ${A}
PresharedKey = ${PSK}
Endpoint = vpn.example.org:51820
AllowedIPs = 10.0.0.2, fd00::2
AllowedIPs = 10.2.0.0/16
PersistentKeepalive = 25

[Peer]
PublicKey = ${B}
Endpoint = [2001:db8::1]:51820
`;
    assert.deepEqual(parseConfig(text), {
      privateKey: PRIVATE,
      listenPort: 51820,
      fwmark: 0xca6c,
      addresses: ['10.0.0.1/24', 'fd00::1/64', '10.1.0.1/32'],
      dns: ['192.0.2.53', '2001:db8::53'],
      searchDomains: ['example.org', 'corp.example.org'],
      mtu: 1380,
      routes: 1234,
      preUp: ['echo 1'],
      postUp: ['echo 2', 'echo %i # 3'],
      preDown: ['echo 4'],
      postDown: ['echo 5'],
      saveConfig: true,
      peers: [
        {
          publicKey: A,
          presharedKey: PSK,
          endpoint: 'vpn.example.org:51820',
          allowedIps: ['10.0.0.2/32', 'fd00::2/128', '10.2.0.0/16'],
          persistentKeepalive: 25,
        },
        { publicKey: B, endpoint: '[2001:db8::1]:51820', allowedIps: [] },
      ],
    });
  });

  const same: [what: string, text: string, expected: object][] = [
    ['an empty file', '', {}],
    ['comments and white space alone', ' \t\r\n#[Peer]\n\v\f\n  # PrivateKey = x', {}],
    ['names in any case', '[INTERFACE]\nlistenport=1\nLISTENPORT=2', { listenPort: 2 }],
    ['white space everywhere', ' [ Interface ]\r\n\tListen Port =\t5 1 \r\n', { listenPort: 51 }],
    ['a byte order mark', '\ufeff[Interface]\nMTU=1400', { mtu: 1400 }],
    ['a comment behind a value', '[Interface] # mine\nMTU = 1400 # bytes', { mtu: 1400 }],
    [
      'several sections [Interface]',
      '[Interface]\nMTU=1400\n[Interface]\nListenPort=7',
      { mtu: 1400, listenPort: 7 },
    ],
    [
      'the last of repeated keys',
      '[Interface]\nMTU=1400\nMTU=1300\nSaveConfig=true\nSaveConfig=false',
      { mtu: 1300 },
    ],
    ['fwmark off', '[Interface]\nFwMark=OFF', { fwmark: 0 }],
    ['a decimal fwmark with zeros', '[Interface]\nFwMark=0010', { fwmark: 10 }],
    ['Table auto', '[Interface]\nTable=Auto', { routes: 'auto' }],
    ['Table off', '[Interface]\nTable=off', { routes: 'off' }],
    ['Table main', '[Interface]\nTable=main', { routes: 254 }],
    ['a hexadecimal Table', '[Interface]\nTable=0x10', { routes: 16 }],
    ['empty values of lists', '[Interface]\nAddress=\nDNS=\nMTU=\nTable=\nPreUp=', {}],
    [
      'addresses with blanks between',
      '[Interface]\nAddress=10.0.0.1/8 10.1.0.1/8,,fd00::1/64',
      {
        addresses: ['10.0.0.1/8', '10.1.0.1/8', 'fd00::1/64'],
      },
    ],
    ['an address in canonical form', '[Interface]\nAddress=FD00:0:0::1/064', { addresses: ['fd00::1/64'] }],
    ['a routing domain', '[Interface]\nDNS=10.0.0.1,~.', { dns: ['10.0.0.1'], searchDomains: ['~.'] }],
    [
      'equals signs and hashes in hooks',
      '[Interface]\nPostUp = iptables -m mark --mark=1 # x=y',
      {
        postUp: ['iptables -m mark --mark=1 # x=y'],
      },
    ],
  ];
  for (const [what, text, expected] of same) {
    it(`accepts ${what}`, () => assert.deepEqual(settings(text), expected));
  }

  const peers: [what: string, lines: string, expected: object][] = [
    ['no allowed IPs', 'AllowedIPs=', { allowedIps: [] }],
    ['cleared host bits', 'AllowedIPs=10.1.2.3/8,fd00::1/16', { allowedIps: ['10.0.0.0/8', 'fd00::/16'] }],
    ['blanks inside', 'AllowedIPs = 1 0.0.0.0 / 8 , ::/0', { allowedIps: ['10.0.0.0/8', '::/0'] }],
    ['each allowed IP once', 'AllowedIPs=10.0.0.1\nAllowedIPs=10.0.0.1/32', { allowedIps: ['10.0.0.1/32'] }],
    ['signs', 'AllowedIPs=+10.0.0.0/8,+10.1.0.0/16\nAllowedIPs=-10.0.0.0/8', { allowedIps: ['10.1.0.0/16'] }],
    ['keepalive off', 'PersistentKeepalive=off', { allowedIps: [], persistentKeepalive: 0 }],
    [
      'a bare IPv6 endpoint',
      'Endpoint=2001:DB8::1:51820',
      { allowedIps: [], endpoint: '[2001:db8::1]:51820' },
    ],
    ['a zone', 'Endpoint=[fe80::1%eth0]:51820', { allowedIps: [], endpoint: '[fe80::1%eth0]:51820' }],
    ['brackets around a name', 'Endpoint=[a.example]:1', { allowedIps: [], endpoint: 'a.example:1' }],
  ];
  for (const [what, lines, expected] of peers) {
    it(`accepts a peer with ${what}`, () => assert.deepEqual(peerOf(lines), expected));
  }

  it('makes one peer of two sections about it, as wg setconf does', () => {
    const text = `[Peer]\nPublicKey=${A}\nAllowedIPs=10.0.0.1\nEndpoint=192.0.2.1:1
[Peer]\nPublicKey=${B}
[Peer]\nPublicKey=${A}\nAllowedIPs=10.0.0.2\nPersistentKeepalive=5`;
    assert.deepEqual(parseConfig(text).peers, [
      { publicKey: A, endpoint: '192.0.2.1:1', allowedIps: ['10.0.0.2/32'], persistentKeepalive: 5 },
      { publicKey: B, allowedIps: [] },
    ]);
  });

  it('warns of host bits, with the line', () => {
    const warnings: object[] = [];
    parseConfig(`[Peer]\nPublicKey=${A}\nAllowedIPs=10.0.0.1/24,10.0.0.1/32`, (warning) =>
      warnings.push(warning),
    );
    assert.deepEqual(warnings, [
      { line: 3, message: 'line 3: AllowedIPs has bits set beyond the prefix, 10.0.0.0/24 is used' },
    ]);
  });

  const wrong: [text: string, line: number, message: RegExp][] = [
    ['MTU=1', 1, /\[Interface\] or \[Peer\] must come first/],
    ['\n[Interfaces]', 2, /sections are/],
    ['[Interface]\nhello', 2, /KEY = VALUE/],
    ['[Interface]\nAdress=10.0.0.1', 2, /no key Adress/],
    ['[Interface]\n\nEndpoint=192.0.2.1:1', 3, /Endpoint belongs into the section \[Peer\]/],
    [`[Peer]\nPublicKey=${A}\nAddress=10.0.0.1`, 3, /Address belongs into the section \[Interface\]/],
    ['[Interface]\nPrivateKey=', 2, /PrivateKey must be a key/],
    [`[Interface]\nPrivateKey=${PRIVATE.slice(0, -1)}`, 2, /PrivateKey must be/],
    [`[Interface]\nPrivateKey=${PRIVATE.replace('mk=', 'ml=')}`, 2, /PrivateKey must be/],
    ['[Interface]\nListenPort=65536', 2, /ListenPort must be/],
    ['[Interface]\nListenPort=-1', 2, /ListenPort must be/],
    ['[Interface]\nListenPort=1e3', 2, /ListenPort must be/],
    ['[Interface]\nFwMark=0x100000000', 2, /FwMark must be/],
    ['[Interface]\nFwMark=0X10', 2, /FwMark must be/],
    ['[Interface]\nFwMark=0x', 2, /FwMark must be/],
    ['[Interface]\nAddress=10.0.0.1/33', 2, /Address must be/],
    ['[Interface]\nAddress=10.0.0.256', 2, /Address must be/],
    ['[Interface]\nAddress=fe80::1%eth0/64', 2, /Address must be/],
    ['[Interface]\nDNS=10.0.0', 2, /DNS must be/],
    ['[Interface]\nDNS=1:2', 2, /DNS must be/],
    ['[Interface]\nDNS=a;b', 2, /DNS must be/],
    ['[Interface]\nMTU=67', 2, /MTU must be/],
    ['[Interface]\nMTU=65536', 2, /MTU must be/],
    ['[Interface]\nTable=0', 2, /Table must be/],
    ['[Interface]\nTable=vpn', 2, /Table must be/],
    ['[Interface]\nSaveConfig=yes', 2, /SaveConfig must be/],
    ['[Interface]\nPostUp # = x', 2, /KEY = VALUE/],
    ['[Interface]\nPostUp=a\0b', 2, /PostUp must be/],
    ['[Interface]\n\u212aey=1', 2, /no such key/],
    ['[Interface]\n__proto__=1', 2, /no such key/],
    ['[Interface]\nconstructor=1', 2, /no key constructor/],
    ['[Peer]\n[Interface]\n', 1, /no PublicKey/],
    [`[Peer]\nPublicKey=${A}\n\n[Peer]\nAllowedIPs=10.0.0.1`, 4, /no PublicKey/],
    ...[
      '10.0.0.0/',
      '10.0.0.0/33',
      '10.0.0.0/a',
      'a',
      '10.0.0.0/8,',
      '1.2.3.04',
      '::1/129',
      '++1.2.3.4',
      '1.2.3.4 5.6.7.8',
    ].map((text): [string, number, RegExp] => [
      `[Peer]\nPublicKey=${A}\nAllowedIPs=${text}`,
      3,
      /AllowedIPs must be/,
    ]),
    ...[
      '',
      'a',
      'a:',
      ':1',
      'a:65536',
      'a:0',
      '127.1:5',
      '10.0.0.256:5',
      '[::1:5',
      '[::1]5',
      '[::1]',
      'a b!:5',
      'a..b:1',
      '0x7f:1',
      'a:http',
    ].map((text): [string, number, RegExp] => [
      `[Peer]\nPublicKey=${A}\nEndpoint=${text}`,
      3,
      /Endpoint must be/,
    ]),
    [`[Peer]\nPublicKey=${A}\nPersistentKeepalive=65536`, 3, /PersistentKeepalive must be/],
    [`[Peer]\nPublicKey=${A}\nPersistentKeepalive=on`, 3, /PersistentKeepalive must be/],
  ];
  for (const [text, line, message] of wrong) {
    it(`refuses ${JSON.stringify(text)}, naming the line`, () => {
      const error = failure(text);
      assert.equal(error.code, 'ERR_WG_CONFIG');
      assert.equal(error.line, line);
      assert.match(error.message, message);
      assert.ok(error.message.startsWith(`line ${line}: `));
      assert.doesNotMatch(error.message, /\n/);
    });
  }

  it('never shows a secret, wherever it stands', () => {
    const places = (secret: string) => [
      `PrivateKey = ${secret}x`,
      `PrivateKey ${secret}`,
      `${secret}`,
      `Private${secret}Key = 1`,
      `${secret} = 1`,
      `MTU = ${secret}`,
      `Address = ${secret}`,
      `DNS = ${secret}==`,
      `Table = ${secret}`,
      `ListenPort=${secret}`,
      `Bogus = ${secret}`,
      `[${secret}]`,
      `Endpoint = ${secret}`,
    ];
    for (let round = 0; round < 50; round++) {
      const secret = randomBytes(32).toString('base64');
      for (const line of places(secret)) {
        const error = failure(`[Interface]\n${line}\n`);
        for (let at = 0; at + 6 < secret.length; at++) {
          assert.ok(!`${error.message} ${error.stack}`.includes(secret.slice(at, at + 6)), line);
        }
      }
    }
  });

  it('refuses what is no text, without showing it', () => {
    assert.throws(
      () => parseConfig(Buffer.from('secret') as unknown as string),
      (error: NodeJS.ErrnoException) => {
        return error.code === 'ERR_INVALID_ARG_TYPE' && !/73 65|secret/.test(error.message);
      },
    );
  });

  it('survives any text: a result or ERR_WG_CONFIG with a line', () => {
    const words = [
      '[Interface]',
      '[Peer]',
      'PublicKey',
      'AllowedIPs',
      'Endpoint',
      'PostUp',
      '=',
      '#',
      '\n',
      ',',
      A,
      '/',
      '1',
    ];
    const text = fc
      .array(fc.oneof(fc.constantFrom(...words), fc.string()), { maxLength: 30 })
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(text, (each) => {
        try {
          const config = parseConfig(each);
          assert.deepEqual(parseConfig(formatConfig(config)), config);
        } catch (error) {
          assert.equal((error as ConfigError).code, 'ERR_WG_CONFIG');
          assert.equal(typeof (error as ConfigError).line, 'number');
        }
      }),
      { numRuns: 2000 },
    );
  });
});
