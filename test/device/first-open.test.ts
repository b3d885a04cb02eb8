import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inNamespace, needs, nodeProgram, run } from '../support.ts';

// Opens a device while connections are open whose addresses only a name server that never answers could name.
const OPEN_AMONG_CONNECTIONS = nodeProgram(`
  import { once } from 'node:events';
  import { createSocket } from 'node:dgram';
  import { connect, createServer } from 'node:net';
  const silent = createSocket('udp4').bind(53, '127.0.0.1');
  await once(silent, 'listening');
  const server = createServer().listen(7000, '127.1.2.3');
  await once(server, 'listening');
  for (let i = 0; i < 3; i++) await once(connect(7000, '127.1.2.3'), 'connect');
  const started = performance.now();
  openTun('tun0');
  console.log(performance.now() - started);
  process.exit();`);

describe('the first device of a process', () => {
  before(function () {
    needs(this, 'ip', 'unshare');
  });

  it('opens at once though the names of open connections cannot be resolved', () =>
    inNamespace(async (namespace) => {
      await run(namespace, 'ip', 'link', 'set', 'lo', 'up');
      const folder = mkdtempSync(join(tmpdir(), 'tuntap-test-'));
      try {
        const file = join(folder, 'resolv.conf');
        writeFileSync(file, 'nameserver 127.0.0.1\n');
        // A machine without that file asks 127.0.0.1, too.
        const script = `{ test ! -e /etc/resolv.conf || mount --bind ${file} /etc/resolv.conf; } && exec "$@"`;
        const command = ['--mount', 'sh', '-c', script, 'sh', ...OPEN_AMONG_CONNECTIONS];
        const { stdout, stderr } = await run(namespace, 'unshare', ...command);
        assert.match(stdout, /^[\d.]+\n$/, stderr);
        assert.ok(Number(stdout) < 500, `${stdout.trim()} ms`);
      } finally {
        rmSync(folder, { recursive: true });
      }
    }));
});
