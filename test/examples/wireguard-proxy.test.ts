/** The example: curl goes by a WireGuard tunnel of a user without root, through SOCKS5 and HTTP. */

import assert from 'node:assert/strict';
import { chownSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { finish, Running } from '../cli/programs.ts';
import { needs, run } from '../support.ts';
import { needsReadable, USER } from '../unprivileged.ts';
import { withWebPeer } from '../wireguard/web-peer.ts';

const PROXY = fileURLToPath(new URL('../../examples/wireguard-proxy/main.js', import.meta.url));

describe('examples/wireguard-proxy', function () {
  this.timeout(60_000);
  before(async function () {
    needs(this, 'curl', 'ip', 'wg', 'wireguard-go', 'setpriv', 'unshare');
    await needsReadable(this);
  });

  it('says in a line what is wrong with its arguments', async () => {
    const file = '/nonexistent.conf';
    for (const [args, status, message] of [
      [[], 2, /^which file\?\nusage: .*\n$/],
      [[file, '--listen', ':1080'], 2, /^--listen :1080: no address and port\nusage: .*\n$/],
      [[file, '--no-such'], 2, /^Unknown option '--no-such'.*\nusage: .*\n$/],
      [[file], 1, /^ENOENT: .*nonexistent\.conf'\n$/],
    ] as const) {
      const ended = await finish([process.execPath, PROXY, ...args]);
      assert.equal(ended.status, status);
      assert.match(ended.stderr, message);
    }
  });

  it('is a way into the tunnel for SOCKS5 and HTTP, and says what fails', () =>
    withWebPeer(async ({ a, file, asUser }) => {
      chownSync(file, USER, USER);
      await (await a.link('lo')).set({ up: true });
      const proxy = new Running(asUser([process.execPath, PROXY, file]), { namespace: a });
      try {
        await proxy.printed(/proxy on 127\.0\.0\.1:1080/);
        const curl = async (...args: string[]) => {
          const { stdout, status } = await run(
            a,
            'curl',
            '-sS',
            '--max-time',
            '10',
            '--noproxy',
            '',
            ...args,
          );
          return `${status} ${stdout.trim()}`;
        };
        const through = '0 through the tunnel';
        for (const kind of ['socks5', 'socks5h', 'http']) {
          assert.equal(await curl('--proxy', `${kind}://127.0.0.1:1080`, 'http://10.9.0.2/'), through, kind);
        }
        const tunneled = ['--proxytunnel', '--proxy', 'http://127.0.0.1:1080'];
        assert.equal(await curl(...tunneled, 'http://10.9.0.2/'), through);
        // Nobody listens on that port: 97 is curl's "SOCKS5 proxy says no".
        assert.match(await curl('--proxy', 'socks5://127.0.0.1:1080', 'http://10.9.0.2:81/'), /^97 /);
        assert.match(
          await curl('--proxy', 'http://127.0.0.1:1080', 'http://10.9.0.2:81/'),
          /^0 connect ECONNREFUSED 10\.9\.0\.2:81$/,
        );
        assert.match(proxy.stdout, /handshake with 192\.0\.2\.2:51820/);
        // Without it there is no way.
        assert.notEqual(await curl('http://10.9.0.2/'), through);
      } finally {
        await proxy.stop('SIGTERM');
      }
      assert.deepEqual([proxy.status, proxy.stderr], [0, '']);
    }));
});
