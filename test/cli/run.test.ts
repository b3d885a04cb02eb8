/** `tuntap-native run`, as root and as a user without capabilities, with wireguard-go at the other end. */

import assert from 'node:assert/strict';
import { chmodSync, chownSync, existsSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { generatePrivateKey, publicKey } from 'tuntap-native/wireguard';
import { needs, run } from '../support.ts';
import { AS_USER, needsReadable, TUN_FOR_ALL, USER, withDevNet } from '../unprivileged.ts';
import { type Hosts, withHosts } from '../wireguard/hosts.ts';
import { WireGuardGo } from '../wireguard/wireguard-go.ts';
import { finish, Running, real } from './programs.ts';

const OURS = generatePrivateKey();
const THEIRS = generatePrivateKey();
const PORT = 51820;

const content = (more = '') => `[Interface]
PrivateKey = ${OURS}
Address = 10.9.0.1/24, fd00::1/64
DNS = 10.9.0.2, example.test
${more}
[Peer]
PublicKey = ${publicKey(THEIRS)}
Endpoint = 192.0.2.2:${PORT}
AllowedIPs = 0.0.0.0/0, ::/0
`;

/** wireguard-go on host `b`, which is 10.9.0.2, and answers names and HTTP there. */
async function withPeer(
  body: (
    setup: Hosts & { readonly file: string; readonly asUser: (command: string[]) => [string, ...string[]] },
  ) => Promise<void>,
): Promise<void> {
  await withHosts(async (hosts) => {
    const { b, folder } = hosts;
    await using go = await WireGuardGo.start(b);
    await go.set('private-key', Buffer.from(THEIRS, 'base64'), 'listen-port', `${PORT}`);
    await go.set('peer', publicKey(OURS), 'allowed-ips', '10.9.0.1/32,fd00::1/128');
    for (const command of [`address add 10.9.0.2/24 dev ${go.name}`, `link set ${go.name} up mtu 1420`]) {
      assert.equal((await run(b, 'ip', ...command.split(' '))).status, 0);
    }
    const site = createServer((_, response) => response.end('through the tunnel'));
    const server = await b.listen({ host: '10.9.0.2', port: 80 });
    server.on('connection', (socket) => site.emit('connection', socket));
    const file = join(folder, 'home.conf');
    writeFileSync(file, content(), { mode: 0o600 });
    chmodSync(folder, 0o755);
    try {
      await body({ ...hosts, file, asUser: (command) => withDevNet(TUN_FOR_ALL, [...AS_USER, ...command]) });
    } finally {
      site.closeAllConnections();
      server.close();
    }
  });
}

const FETCH = "fetch('http://10.9.0.2/').then((r) => r.text()).then((t) => console.log(t))";

describe('tuntap-native run', function () {
  this.timeout(60_000);
  before(function () {
    needs(this, 'ping', 'ip', 'wg', 'wireguard-go', 'setpriv', 'unshare');
  });

  for (const user of ['root', 'a user without capabilities']) {
    it(`gives a command the tunnel as its only network, and its name servers: ${user}`, async function () {
      if (user !== 'root') await needsReadable(this);
      await withPeer(async ({ a, file, asUser }) => {
        if (user !== 'root') chownSync(file, USER, USER);
        const script = `id -u; cat /etc/resolv.conf; ip -br link; ${process.execPath} -e "${FETCH}"`;
        const command = real('tuntap-native', 'run', file, '--', 'sh', '-c', script);
        const { stdout, stderr, status } = await finish(user === 'root' ? command : asUser(command), {
          namespace: a,
          env: { PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin' },
        });
        assert.equal(stderr, '');
        assert.equal(status, 0);
        assert.match(
          stdout,
          /^0\nnameserver 10\.9\.0\.2\nsearch example\.test\nlo +.*\nhome +.*\nthrough the tunnel\n$/,
        );
        assert.deepEqual((await a.links()).map(({ name }) => name).sort(), ['eth0', 'lo']);
      });
    });
  }

  it("ends as the command does: with its status, or by its signal; signals are the command's", () =>
    withPeer(async ({ a, file }) => {
      const status = async (...command: string[]) =>
        (await finish(real('tuntap-native', 'run', file, '--', ...command), { namespace: a })).status;
      assert.equal(await status('sh', '-c', 'exit 7'), 7);
      assert.equal(await status('no-such-command'), 127);
      assert.equal(await status('sh', '-c', 'kill -KILL $$'), 'SIGKILL');
      const running = new Running(
        real(
          'tuntap-native',
          'run',
          file,
          '--',
          'sh',
          '-c',
          'trap "echo got it; exit 3" TERM; echo ready; while :; do sleep 0.1; done',
        ),
        { namespace: a },
      );
      await running.printed(/ready/);
      await running.stop('SIGTERM');
      assert.deepEqual([running.status, running.stdout], [3, 'ready\ngot it\n']);
    }));

  it('takes the command with it if it is killed', () =>
    withPeer(async ({ a, file }) => {
      const running = new Running(
        real('tuntap-native', 'run', file, '--', 'sh', '-c', 'echo $$; exec sleep 60'),
        { namespace: a },
      );
      await running.printed(/^\d+\n/);
      const pid = Number(running.stdout);
      running.child.kill('SIGKILL');
      await running.ended;
      assert.ok(
        !existsSync(`/proc/${pid}`) || (await run(a, 'ps', '-o', 'stat=', `${pid}`)).stdout.startsWith('Z'),
      );
    }));

  it('says what it leaves out, and what is wrong, with status 2 and 1', () =>
    withPeer(async ({ a, file, folder }) => {
      writeFileSync(file, content('PostUp = false'));
      const { stderr } = await finish(real('tuntap-native', 'run', file, '--', 'true'), { namespace: a });
      assert.match(stderr, /^Warning: PostUp of .* do not run: there is no other network to guard$/m);
      const missing = await finish(real('tuntap-native', 'run', file), { namespace: a });
      assert.equal(missing.status, 2);
      const wrong = join(folder, 'wrong.conf');
      writeFileSync(wrong, '[Interface]\nPrivateKey = x\n', { mode: 0o600 });
      const refused = await finish(real('tuntap-native', 'run', wrong, '--', 'true'), { namespace: a });
      assert.deepEqual([refused.status, refused.stderr.split('\n').length], [1, 2]);
    }));
});
