import assert from 'node:assert/strict';
import { cpSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readProbe } from '#dist/cli/doctor-child.js';
import type { Finding } from '#dist/cli/doctor-finding.js';
import {
  hasCapability,
  judgeKernel,
  judgePrivileges,
  judgeRuntime,
  judgeTunNode,
} from '#dist/cli/doctor-system.js';
import { userNamespaceError, userNamespaceObstacle } from '#dist/net/namespace/user-namespace.js';
import { inNamespace, needs } from '../support.ts';
import { AS_USER, NO_DRIVER, NO_TUN, needsReadable, withDevNet } from '../unprivileged.ts';
import { withFolder } from '../wireguard/oracle.ts';
import { finish, real } from './programs.ts';

// As /proc/PID/status shows a process of root, one with CAP_NET_ADMIN alone, and one of an ordinary user.
const ROOT = 'CapPrm:\t000001ffffffffff\nCapEff:\t000001ffffffffff\nSeccomp:\t0\n';
const NET_ADMIN = 'CapPrm:\t0000000000001000\nCapEff:\t0000000000001000\nSeccomp:\t0\n';
const USER = 'CapPrm:\t0000000000001000\nCapEff:\t0000000000000000\nSeccomp:\t0\n';

const machine = {
  platform: 'linux',
  arch: 'x64',
  libc: 'glibc',
  versions: { node: '22.0.0' },
  release: '6.1.0-42-amd64',
  tunErrno: 0,
  status: ROOT,
} as const;

function statuses(findings: readonly Finding[]): string {
  return findings.map(({ status }) => status).join(' ');
}

describe('tuntap-native doctor', () => {
  it('reads in whole sentences what may forbid user namespaces', () => {
    const { message } = userNamespaceError(-1);
    assert.match(message, /^EPERM: .*, or a user namespace\. (\/proc\/sys\/|A container's seccomp profile)/);
  });

  for (const [release, expected] of [
    ['6.18.44', 'ok'],
    ['5.10.0-8-amd64', 'ok'],
    ['4.18.0-553.el8_10.x86_64', 'ok'],
    ['4.17.19', 'fail'],
    ['3.10.0-1160.el7', 'fail'],
    ['2.6.32', 'fail'],
  ]) {
    it(`finds Linux ${release}: ${expected}`, () => {
      const { status, detail } = judgeKernel({ release });
      assert.equal(status, expected);
      assert.ok(detail.includes(release));
    });
  }

  for (const [errno, code, advice] of [
    [-2, 'ENOENT', /modprobe tun.*--device/],
    [-19, 'ENODEV', /modprobe tun/],
    [-13, 'EACCES', /MODE="0666"/],
    [-1, 'EPERM', /--device \/dev\/net\/tun/],
  ] as const) {
    it(`tells what to do where opening /dev/net/tun fails with ${code}`, () => {
      const finding = judgeTunNode({ tunErrno: errno });
      assert.equal(finding.status, 'fail');
      assert.match(finding.detail, new RegExp(`^${code}: `));
      assert.match(finding.advice ?? '', advice);
    });
  }

  it('names the runtime, and the platform if that is not Linux', () => {
    for (const [versions, name] of [
      [{ node: '22.0.0' }, 'Node.js 22.0.0'],
      [{ node: '22.0.0', bun: '1.4.5' }, 'Bun 1.4.5'],
      [{ node: '22.0.0', deno: '2.9.6' }, 'Deno 2.9.6'],
    ] as const) {
      const { status, detail } = judgeRuntime({ ...machine, versions, arch: 'arm64', libc: 'musl' });
      assert.deepEqual([status, detail], ['ok', `${name} on linux-arm64 with musl`]);
    }
    const { status, detail } = judgeRuntime({ ...machine, platform: 'darwin' });
    assert.equal(status, 'fail');
    assert.match(detail, /darwin-x64.* Linux only$/);
  });

  // CAP_NET_ADMIN, CAP_SYS_ADMIN.
  for (const [who, status, opens, expected] of [
    ['root', ROOT, true, 'ok ok'],
    ['a program with CAP_NET_ADMIN', NET_ADMIN, true, 'ok warn'],
    ['a user with user namespaces', USER, true, 'warn warn'],
    ['a user whose device did not open', USER, false, 'fail warn'],
  ] as const) {
    it(`judges the rights of ${who}: ${expected}`, () => {
      const findings = judgePrivileges({ status }, opens);
      assert.equal(statuses(findings), expected);
      for (const { status, advice } of findings) assert.equal(advice === undefined, status === 'ok');
    });
  }

  it('reads the effective capabilities, not the permitted ones', () => {
    assert.deepEqual(
      [ROOT, NET_ADMIN, USER, ''].map((status) => hasCapability(status, 12n)),
      [true, true, false, false],
    );
  });

  for (const [path, value, forbids] of [
    ['user/max_user_namespaces', '0', true],
    ['user/max_net_namespaces', '0', true],
    ['kernel/unprivileged_userns_clone', '0', true],
    ['kernel/apparmor_restrict_unprivileged_userns', '1', true],
    ['kernel/apparmor_restrict_unprivileged_userns', '0', false],
  ] as const) {
    it(`knows whether ${path} forbids user namespaces: ${value}`, () => {
      const obstacle = userNamespaceObstacle((asked) => (asked === `/proc/sys/${path}` ? value : ''));
      assert.equal(obstacle?.startsWith(`/proc/sys/${path} is ${value}: `) ?? false, forbids);
    });
  }

  for (const [what, script, expected] of [
    ['crashes', 'kill -SEGV $$', /ended with SIGSEGV/],
    ['hangs', 'exec sleep 60', /ended with SIGTERM/],
    ['fails', 'echo no such thing >&2; exit 3', /ended with status 3: no such thing/],
  ] as const) {
    it(`names the check that ${what}, and keeps those before it`, async () => {
      const lines = '{"begins":"a"}\n{"check":"a","status":"ok","detail":""}\n{"begins":"b"}\n';
      const findings = await readProbe(['sh', '-c', `printf '%s' '${lines}'; ${script}`], 1000);
      assert.deepEqual(
        findings.map(({ check, status }) => [check, status]),
        [
          ['a', 'ok'],
          ['b', 'fail'],
        ],
      );
      assert.match(findings[1].detail, expected);
    });
  }

  it('finds nothing wrong here, in lines and as JSON', async () => {
    const { status, stdout, stderr } = await finish(real('tuntap-native', 'doctor'));
    assert.deepEqual([status, stderr], [0, ''], stdout);
    assert.match(stdout, /^ok {4}tun +a packet left/m);
    const json = await finish(real('tuntap-native', 'doctor', '--json'));
    const report = JSON.parse(json.stdout) as { works: boolean; findings: Finding[] };
    assert.deepEqual([report.works, json.status], [true, 0]);
    const checks =
      'runtime kernel /dev/net/tun CAP_NET_ADMIN CAP_SYS_ADMIN addon|user namespaces|engine ciphers netlink';
    assert.deepEqual(
      report.findings.map(({ check }) => check),
      [
        ...checks.split('|').flatMap((part, i) => (i === 1 ? [part] : part.split(' '))),
        'udp offloads',
        'tun',
        'tun offloads',
        'spawn',
      ],
    );
  });

  it('leaves no link behind where the device has to be in its own namespace', () =>
    inNamespace(async (namespace) => {
      // CAP_NET_ADMIN alone, as docker run --cap-add NET_ADMIN gives it.
      const capabilities = ['setpriv', '--bounding-set=-all,+net_admin', '--inh-caps=-all'];
      const { stdout, status } = await finish([...capabilities, ...real('tuntap-native', 'doctor')], {
        namespace,
      });
      assert.equal(status, 0, stdout);
      assert.match(stdout, /^ok {4}CAP_NET_ADMIN/m);
      assert.match(stdout, /^warn {2}CAP_SYS_ADMIN/m);
      assert.match(stdout, /^ok {4}tun /m);
      assert.deepEqual(
        (await namespace.links()).map(({ name }) => name),
        ['lo'],
      );
    }));

  it('tries the device in a user namespace if a user has no rights', async function () {
    await needsReadable(this);
    const { stdout, status } = await finish([...AS_USER, ...real('tuntap-native', 'doctor')]);
    assert.equal(status, 0, stdout);
    assert.match(stdout, /^warn {2}CAP_NET_ADMIN/m);
    assert.match(stdout, /^ok {4}tun /m);
    assert.match(stdout, /The package works here, but not all of it\.\n$/);
  });

  it('fails where a user has no rights and can get none', async function () {
    needs(this, 'unshare', 'setpriv');
    const noNamespaces = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"';
    const noRights = ['setpriv', '--bounding-set=-all', '--inh-caps=-all'];
    const { stdout, status } = await finish([
      ...['unshare', '--user', '--map-root-user', 'sh', '-c', noNamespaces, 'sh'],
      ...noRights,
      ...real('tuntap-native', 'doctor'),
    ]);
    assert.equal(status, 1, stdout);
    assert.match(stdout, /^fail {2}CAP_NET_ADMIN/m);
    assert.match(stdout, /^fail {2}tun +EPERM/m);
    assert.match(stdout, /^warn {2}user namespaces +ENOSPC: .*max_user_namespaces is 0/m);
  });

  for (const [prepare, code] of [
    [NO_TUN, 'ENOENT'],
    [NO_DRIVER, 'ENODEV|ENXIO'],
  ]) {
    it(`fails where /dev/net/tun gives ${code}`, async function () {
      needs(this, 'unshare');
      const { stdout, status } = await finish(withDevNet(prepare, real('tuntap-native', 'doctor')));
      assert.equal(status, 1, stdout);
      assert.match(
        stdout,
        new RegExp(`^fail  /dev/net/tun +(${code}): .*\n +Load the module: modprobe tun`, 'm'),
      );
    });
  }

  it('starts where no binary can be loaded, and names the command that builds one', () =>
    withFolder(async (folder) => {
      const root = fileURLToPath(new URL('../../../', import.meta.url));
      const copy = join(folder, 'package');
      mkdirSync(copy);
      for (const part of ['dist', 'package.json'])
        cpSync(join(root, part), join(copy, part), { recursive: true });
      symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
      const program = join(copy, 'dist/cli/tuntap-native.js');
      const { stdout, status } = await finish([process.execPath, program, 'doctor']);
      assert.equal(status, 1);
      assert.match(stdout, /^fail {2}addon +.*neither build\/Release\/tuntap_native\.node nor prebuilds\//m);
      assert.ok(stdout.includes(`npx node-gyp rebuild --directory=${copy}`), stdout);
      assert.doesNotMatch(stdout, /^\w+ +engine/m);
    }));
});
