/** The example: what a command may reach is decided by rules. */

import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
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

  const curl = (port: number, host = '127.0.0.1') => ['curl', '-sS', '-m10', `http://${host}:${port}/`];

  it('lets through what rules allow, and refuses all else, by address and name', async () => {
    const server = createServer((_, answer) => answer.end('served')).listen(0, '127.0.0.1');
    const echo = createSocket('udp4', (bytes, from) => echo.send(bytes, from.port, from.address));
    echo.bind(0, '127.0.0.1');
    await Promise.all([once(server, 'listening'), once(echo, 'listening')]);
    const { port } = server.address() as AddressInfo;
    const firewall = (...args: string[]) => finish([process.execPath, FIREWALL, ...args]);
    try {
      // localhost.: the command asks for it, since its own hosts file has the name without the dot.
      const named = await firewall('--allow', 'tcp/localhost', '--', ...curl(port, 'localhost.'));
      assert.deepEqual([named.stdout, named.status], ['served', 0], named.stderr);
      assert.match(
        named.stderr,
        new RegExp(`^tcp to localhost port ${port}: allow \\(allow tcp/localhost\\)$`, 'm'),
      );
      const refused = await firewall(
        '--refuse',
        `tcp/localhost:${port}`,
        '--allow',
        '*',
        '--',
        ...curl(port, 'localhost.'),
      );
      assert.deepEqual([refused.stdout, refused.status], ['', 7], 'curl could not connect');
      assert.match(refused.stderr, /: refuse \(refuse tcp\/localhost:/);
      const nothing = await firewall('--', ...curl(port, '203.0.113.1'));
      assert.equal(nothing.status, 7);
      assert.match(nothing.stderr, /^tcp to 203\.0\.113\.1 port \d+: refuse \(no rule\)$/m);

      const ask = (...rules: string[]) =>
        firewall(...rules, '--', 'python3', '-c', ASK, 'localhost.', `${echo.address().port}`);
      assert.match((await ask('--allow', 'udp/localhost')).stdout, /^hello$/m);
      assert.match((await ask('--allow', 'tcp/localhost')).stdout, /^OSError 113|^PermissionError/);
    } finally {
      server.close();
      echo.close();
    }
  });

  it('passes the exit status on, and tells of wrong usage', async () => {
    assert.equal((await finish([process.execPath, FIREWALL, '--', 'sh', '-c', 'exit 7'])).status, 7);
    assert.equal((await finish([process.execPath, FIREWALL])).status, 2);
    assert.match(
      (await finish([process.execPath, FIREWALL, '--allow', 'a:b:c', '--', 'true'])).stderr,
      /'a:b:c' is no rule/,
    );
  });
});
