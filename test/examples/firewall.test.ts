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
import { needs } from '../support.ts';

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
        new RegExp(`^tcp to ${name} port ${port}: allow \\(allow tcp/${name}\\)$`, 'm'),
      );
      const rules = ['--refuse', `tcp/${name}:${port}`, '--allow', '*'];
      const refused = await firewall(...rules, '--', ...curl(port, asked));
      assert.deepEqual([refused.stdout, refused.status], ['', 7], 'curl could not connect');
      assert.match(refused.stderr, new RegExp(`: refuse \\(refuse tcp/${name}:`));
      const forbidden = ['--refuse', address, '--allow', '*'];
      const away = await firewall(...forbidden, '--', ...curl(port, asked));
      assert.deepEqual([away.stdout, away.status], ['', 7], away.stderr);
      assert.match(away.stderr, new RegExp(`^tcp to ${name} at ${address} port ${port}: refuse`, 'm'));
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

  it('passes the exit status on, and tells of wrong usage', async () => {
    // Bun takes `--` away where it comes first.
    assert.equal(
      (await finish([process.execPath, FIREWALL, '--refuse', '*', '--', 'sh', '-c', 'exit 7'])).status,
      7,
    );
    assert.equal((await finish([process.execPath, FIREWALL])).status, 2);
    assert.match(
      (await finish([process.execPath, FIREWALL, '--allow', 'a:b:c', '--', 'true'])).stderr,
      /'a:b:c' is no rule/,
    );
  });
});
