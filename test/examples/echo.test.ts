import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { NetworkNamespace } from 'tuntap-native';
import { inNamespace, ipLinks, needs, type Outcome, run } from '../support.ts';
import {
  AS_USER,
  NO_TUN,
  needsReadable,
  needsUserNamespace,
  TUN_FOR_ALL,
  TUN_FOR_ROOT,
  withDevNet,
} from '../unprivileged.ts';

const ECHO = [process.execPath, fileURLToPath(new URL('../../examples/echo.js', import.meta.url))];
const TARGETS = ['192.0.2.2', '2001:db8::2', '198.51.100.2', '2001:db8:1::2'];

/** Runs a command that must leave the namespace's links, those of the machine and the mounts as they were. */
async function leavingNothing(namespace: NetworkNamespace, command: readonly string[]): Promise<Outcome> {
  // Only what the example may have made: other programs may be at work on this machine.
  const state = async () => [
    (await ipLinks(namespace)).map(({ ifname }) => ifname),
    readdirSync('/sys/class/net').filter((name) => /^(tun|tap)/.test(name)),
    readFileSync('/proc/self/mountinfo', 'utf8').match(/^.* \/dev\/net .*$/gm),
  ];
  const before = await state();
  const outcome = await run(namespace, command[0], ...command.slice(1));
  assert.deepEqual(await state(), before);
  return outcome;
}

function assertAnswered({ status, stdout, stderr }: Outcome): void {
  assert.equal(status, 0, stderr);
  for (const target of TARGETS) assert.match(stdout, new RegExp(`^${target} +3/3 `, 'm'));
  for (const device of ['tun0 ', 'tap0 ']) {
    for (const direction of ['<-', '->']) assert.ok(stdout.includes(`  ${device} ${direction}  `));
  }
}

describe('the echo example', () => {
  before(async function () {
    needs(this, 'ip', 'ping');
  });

  it('answers every ping as root, prints the packets and leaves nothing behind', () =>
    inNamespace(async (namespace) => {
      assertAnswered(await leavingNothing(namespace, ECHO));
    }));

  it('does so unprivileged in a user namespace, where /dev/net/tun may be opened', async function () {
    await needsReadable(this);
    await inNamespace(async (namespace) => {
      await needsUserNamespace(this, namespace);
      assertAnswered(await leavingNothing(namespace, withDevNet(TUN_FOR_ALL, [...AS_USER, ...ECHO])));
    });
  });

  it('says what is missing where /dev/net/tun may not be opened', async function () {
    await needsReadable(this);
    await inNamespace(async (namespace) => {
      for (const prepare of [TUN_FOR_ROOT, NO_TUN]) {
        const command = withDevNet(prepare, [...AS_USER, ...ECHO]);
        const { status, stderr } = await leavingNothing(namespace, command);
        assert.equal(status, 1);
        assert.match(stderr, /^This failed: (EACCES|ENOENT): .*, open '\/dev\/net\/tun': /);
      }
    });
  });
});
