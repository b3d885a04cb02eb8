import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { generatePrivateKey, publicKey } from 'tuntap-native/wireguard';
import { withFolder } from '../wireguard/oracle.ts';
import { finish, real } from './programs.ts';

const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'));

describe('tuntap-native', () => {
  it('genkey prints a private key, pubkey its public key, genpsk 32 bytes', async () => {
    const { stdout, status, stderr } = await finish(real('tuntap-native', 'genkey'));
    assert.deepEqual([status, stderr], [0, '']);
    const bytes = Buffer.from(stdout, 'base64');
    assert.equal(`${bytes.toString('base64')}\n`, stdout);
    assert.deepEqual([bytes.length, bytes[0] & 7, bytes[31] >> 6], [32, 0, 1]);
    const pub = await finish(real('tuntap-native', 'pubkey'), { input: stdout });
    assert.equal(pub.stdout, `${publicKey(stdout.trim())}\n`);
    const psk = await finish(real('tuntap-native', 'genpsk'));
    assert.match(psk.stdout, /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=\n$/);
  });

  for (const input of [
    '',
    'x',
    `${generatePrivateKey()}x`,
    generatePrivateKey().slice(1),
    '\0'.repeat(100),
  ]) {
    it(`pubkey refuses ${JSON.stringify(input)} without showing it`, async () => {
      const { status, stdout, stderr } = await finish(real('tuntap-native', 'pubkey'), { input });
      assert.deepEqual([status, stdout], [1, '']);
      assert.match(stderr, /^tuntap-native: .* key.*\n$/);
      if (input.length > 8) assert.ok(!stderr.includes(input.slice(0, 8)));
    });
  }

  it('genkey warns if everybody can read the file that the key goes to', () =>
    withFolder((folder) => {
      for (const [mode, expected] of [
        [0o644, /^Warning: everybody can read/],
        [0o600, /^$/],
      ] as const) {
        const fd = openSync(join(folder, String(mode)), 'w', mode);
        const [program, ...args] = real('tuntap-native', 'genkey');
        const { stderr, status } = spawnSync(program, args, {
          stdio: ['ignore', fd, 'pipe'],
          encoding: 'utf8',
        });
        closeSync(fd);
        assert.equal(status, 0);
        assert.match(stderr, expected);
        assert.match(readFileSync(join(folder, String(mode)), 'utf8'), /^.{44}\n$/);
      }
    }));

  for (const program of ['tuntap-native', 'tuntap-wireguard']) {
    it(`${program} --version prints the package's, --help what there is`, async () => {
      assert.match((await finish(real(program, '--version'))).stdout, new RegExp(`v?${version}\n$`));
      for (const flag of ['--help', '-h']) {
        const { stdout, status, stderr } = await finish(real(program, flag));
        assert.deepEqual([status, stderr], [0, '']);
        assert.match(stdout, new RegExp(`^Usage: ${program} `));
      }
    });
  }

  it('--help names every command, and each has a help of its own', async () => {
    const { stdout } = await finish(real('tuntap-native', '--help'));
    for (const command of ['up', 'show', 'genkey', 'pubkey', 'genpsk']) {
      assert.match(stdout, new RegExp(`^  ${command} `, 'm'));
      const help = await finish(real('tuntap-native', command, '--help'));
      assert.match(help.stdout, new RegExp(`^Usage: tuntap-native ${command}.*\n\n[A-Z].*\\.\n$`));
      assert.equal(help.status, 0);
    }
  });

  const misuses: string[][] = [
    ['tuntap-native'],
    ['tuntap-native', 'down'],
    ['tuntap-native', 'constructor'],
    ['tuntap-native', '--hooks'],
    ['tuntap-native', 'genkey', 'x'],
    ['tuntap-native', 'genkey', '--x'],
    ['tuntap-native', 'up'],
    ['tuntap-native', 'up', 'a.conf', 'b.conf'],
    ['tuntap-native', 'up', 'a.conf', '--hooks=yes'],
    ['tuntap-native', 'show', 'a', 'b'],
    ['tuntap-wireguard'],
    ['tuntap-wireguard', 'a', 'b'],
    ['tuntap-wireguard', '--bogus', 'a'],
    ['tuntap-wireguard', '-x'],
  ];
  for (const [program, ...args] of misuses) {
    it(`${[program, ...args].join(' ')}: one line and status 2`, async () => {
      const { status, stdout, stderr } = await finish(real(program, ...args));
      assert.deepEqual([status, stdout], [2, '']);
      assert.match(stderr, new RegExp(`^${program}: .*; see ${program} --help\n$`));
    });
  }

  it('a reader that goes away is no error', () => {
    const [program, ...args] = real('tuntap-native', '--help');
    const command = [program, ...args].map((word) => `'${word}'`).join(' ');
    const { stderr } = spawnSync('sh', ['-c', `{ sleep 0.3; ${command}; echo $? >&2; } | true`], {
      encoding: 'utf8',
    });
    assert.equal(stderr, '0\n');
  });
});
