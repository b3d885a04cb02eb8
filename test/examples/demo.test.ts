import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { NetworkNamespace } from 'tuntap-native';
import { inNamespace, ipLinks, needs, type Outcome, run } from '../support.ts';
import { AS_USER, needsReadable, needsUserNamespace, TUN_FOR_ALL, withDevNet } from '../unprivileged.ts';

const DEMO = [process.execPath, fileURLToPath(new URL('../../examples/demo.js', import.meta.url))];

async function leavingNothing(namespace: NetworkNamespace, command: readonly string[]): Promise<Outcome> {
  const state = async () => [
    (await ipLinks(namespace)).map(({ ifname }) => ifname),
    readdirSync('/tmp').filter((name) => name.startsWith('tuntap-demo-')),
  ];
  const before = await state();
  const outcome = await run(namespace, command[0], ...command.slice(1));
  assert.deepEqual(await state(), before);
  return outcome;
}

function assertHolds({ status, stdout, stderr }: Outcome): void {
  assert.equal(status, 0, stdout + stderr);
  assert.doesNotMatch(stdout, /FAILED/);
  for (const shown of [
    /ok {2}the wire tells it to who listens: [1-9]\d* of \d+ frames hold it/,
    /ok {2}5 of 5 answered/,
    /ok {2}none of [1-9]\d* frames on the wire holds it/,
    /The cat sleeps/,
    /^ +04 00 00 00 /m,
    /ok {2}64 MB in .* is the server's/,
    /chacha20-poly1305 .*Gbit\/s/,
    /aes-256-gcm .*Gbit\/s/,
    /nothing is left behind/,
  ]) {
    assert.match(stdout, shown);
  }
}

describe('the demo', function () {
  this.timeout(60_000);

  before(function () {
    needs(this, 'ip', 'ping');
  });

  it('carries ping and a file through the VPN as root, and nothing of it can be read on the wire', () =>
    inNamespace(async (namespace) => {
      assertHolds(await leavingNothing(namespace, DEMO));
    }));

  it('does so unprivileged in a user namespace, and without ping and iperf3', async function () {
    await needsReadable(this);
    await inNamespace(async (namespace) => {
      await needsUserNamespace(this, namespace);
      const alone = 'mkdir /dev/net/bin && ln -s "$(command -v unshare)" /dev/net/bin/';
      const command = [...AS_USER, 'env', 'PATH=/dev/net/bin', ...DEMO];
      const outcome = await leavingNothing(namespace, withDevNet(`${TUN_FOR_ALL} && ${alone}`, command));
      assertHolds(outcome);
      assert.match(outcome.stdout, /there is no ping here/);
      assert.match(outcome.stdout, /there is no iperf3 here/);
    });
  });
});
