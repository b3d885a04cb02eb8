/** The example: what a command may reach is decided by rules. */

import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { hostname } from 'node:os';
import { fileURLToPath } from 'node:url';
import { decide, parseRule } from '../../examples/firewall/rules.ts';
import { finish } from '../cli/programs.ts';
import { literally, needs } from '../support.ts';

const FIREWALL = fileURLToPath(new URL('../../examples/firewall/main.js', import.meta.url));
// Sends a datagram, and prints the answer or the error's name.
const ASK = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(10)
try:
    s.connect((sys.argv[1], int(sys.argv[2])))
    s.send(b'hello')
    print(s.recv(100).decode())
except OSError as e:
    print(type(e).__name__, e.errno)
`;

describe('examples/firewall', function () {
  this.timeout(60_000);
  before(function () {
    needs(this, 'curl', 'python3');
  });

  const curl = (port: number, host: string) => ['curl', '-sS', '-m10', `http://${host}:${port}/`];

  it('lets through what rules allow, and refuses all else, by address and name', async () => {
    const server = createServer((_, answer) => answer.end('served')).listen(0, '0.0.0.0');
    const echo = createSocket('udp4', (bytes, from) => echo.send(bytes, from.port, from.address));
    echo.bind(0, '0.0.0.0');
    await Promise.all([once(server, 'listening'), once(echo, 'listening')]);
    const { port } = server.address() as AddressInfo;
    const firewall = (...args: string[]) => finish([process.execPath, FIREWALL, ...args]);
    const name = hostname().toLowerCase();
    const { address } = await lookup(name, 4);
    // With a dot the command asks for it, since its own hosts file has the name without.
    const asked = `${name}.`;
    try {
      const here = ['--allow', `tcp/${address}`];
      const named = await firewall('--allow', `tcp/${name}`, ...here, '--', ...curl(port, asked));
      assert.deepEqual([named.stdout, named.status], ['served', 0], named.stderr);
      assert.match(
        named.stderr,
        new RegExp(`^tcp to ${literally(name)} port ${port}: allow \\(allow tcp/${literally(name)}\\)$`, 'm'),
      );
      const rules = ['--refuse', `tcp/${name}:${port}`, '--allow', '*'];
      const refused = await firewall(...rules, '--', ...curl(port, asked));
      assert.deepEqual([refused.stdout, refused.status], ['', 7], 'curl could not connect');
      assert.match(refused.stderr, new RegExp(`: refuse \\(refuse tcp/${literally(name)}:`));
      const forbidden = ['--refuse', address, '--allow', '*'];
      const away = await firewall(...forbidden, '--', ...curl(port, asked));
      assert.deepEqual([away.stdout, away.status], ['', 7], away.stderr);
      assert.match(
        away.stderr,
        new RegExp(`^tcp to ${literally(name)} at ${literally(address)} port ${port}: refuse`, 'm'),
      );
      const nothing = await firewall('--', ...curl(port, '203.0.113.1'));
      assert.equal(nothing.status, 7);
      assert.match(nothing.stderr, /^tcp to 203\.0\.113\.1 port \d+: refuse \(no rule\)$/m);

      const ask = (...given: string[]) =>
        firewall(...given, '--', 'python3', '-c', ASK, asked, `${echo.address().port}`);
      assert.match((await ask('--allow', `udp/${name}`, '--allow', `udp/${address}`)).stdout, /^hello$/m);
      assert.match((await ask('--allow', `tcp/${name}`)).stdout, /^OSError 113|^PermissionError/);
      assert.match((await ask(...forbidden)).stdout, /^OSError 113|^PermissionError/);
    } finally {
      server.close();
      echo.close();
    }
  });

  it('lets names lead to this machine only by rules for its addresses', () => {
    const to = { protocol: 'tcp', name: 'own.example', port: 80, resolved: true } as const;
    const verdict = (address: string, family: 4 | 6, ...rules: string[]) =>
      decide(
        rules.map((rule) => parseRule('allow', rule)),
        { ...to, address, family },
      ).verdict;
    for (const [address, family] of [
      ['127.0.0.1', 4],
      ['0.0.0.0', 4],
      ['::1', 6],
      ['::ffff:127.0.0.1', 6],
    ] as const) {
      assert.equal(verdict(address, family, '*', 'own.example', '*.example'), 'refuse', address);
    }
    assert.equal(verdict('127.0.0.1', 4, '127.0.0.0/8'), 'allow');
    assert.equal(verdict('192.0.2.1', 4, '*.example'), 'allow');
  });

  it('takes no rule that it does not understand, and above all not as one that matches more', () => {
    for (const rule of [
      ...['', ':80', 'a:b:c', 'tcp/', 'icmp/192.0.2.1', '*.', '*x.example', 'a*', 'a b', 'a..b'],
      ...['192.0.2.0/', '192.0.2.0/33', '192.0.2.0/ 8', '192.0.2.0/-1', '192.0.2.0/0x8', '192.0.2.0/8/8'],
      ...[
        '192.0.2.300',
        '192.0.2',
        '192.0.2.1/255.255.255.0',
        '[2001:db8::]/',
        '[2001:db8::]/129',
        '[x]',
        '[]',
      ],
      ...['192.0.2.1:', '192.0.2.1:0', '192.0.2.1:65536', '2001:db8::1', 'example.org/8', '*/8'],
    ]) {
      assert.throws(() => parseRule('allow', rule), /^Error: '.*' is no rule such as /, rule);
    }
    const matches = (rule: string, address: string, family: 4 | 6, name?: string) =>
      parseRule('allow', rule).matches({ protocol: 'tcp', port: 80, address, family, name });
    assert.ok(matches('192.0.2.0/24', '192.0.2.255', 4) && !matches('192.0.2.0/24', '192.0.3.0', 4));
    assert.ok(matches('0.0.0.0/0', '203.0.113.1', 4) && !matches('0.0.0.0/0', '2001:db8::1', 6));
    assert.ok(matches('tcp/[2001:db8::]/32:80', '2001:db8:1::1', 6));
    assert.ok(matches('192.0.2.1', '192.0.2.1', 4) && !matches('192.0.2.1', '192.0.2.2', 4));
    for (const name of ['localhost', 'a-b.x_y.example', 'xn--bcher-kva.example', '1and1.example'])
      assert.ok(matches(name, '198.18.0.1', 4, name) && !matches(`*.${name}`, '198.18.0.1', 4, name), name);
    assert.ok(matches('*.example', '198.18.0.1', 4, 'www.example'));
  });

  it('passes the exit status on, has a loopback device, and tells of wrong usage in a line, with status 2', async () => {
    const firewall = (...args: string[]) => finish([process.execPath, FIREWALL, ...args]);
    // Bun takes `--` away where it comes first.
    assert.equal((await firewall('--refuse', '*', '--', 'sh', '-c', 'exit 7')).status, 7);
    const link = await firewall(
      '--refuse',
      '*',
      '--',
      'cat',
      '/sys/class/net/lo/operstate',
      '/sys/class/net/lo/carrier',
    );
    assert.deepEqual([link.stdout, link.status], ['unknown\n1\n', 0], link.stderr);
    for (const [message, ...args] of [
      ["'192.0.2.0/' is no rule such as ", '--allow', '192.0.2.0/', '--', 'true'],
      ["Unknown option '--permit'", '--permit', '*', '--', 'true'],
      ['which command?'],
    ]) {
      const { stderr, status } = await firewall(...args);
      assert.equal(status, 2);
      const [error, usage, ...more] = stderr.split('\n');
      assert.ok(error.startsWith(message), stderr);
      assert.match(usage, /^usage: main\.js /);
      assert.deepEqual(more, ['']);
    }
  });
});
