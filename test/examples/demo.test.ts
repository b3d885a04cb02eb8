import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { NetworkNamespace } from 'tuntap-native';
import { inNamespace, ipLinks, needs, type Outcome, run } from '../support.ts';
import { AS_USER, needsReadable, needsUserNamespace, TUN_FOR_ALL, withDevNet } from '../unprivileged.ts';

const DEMO = [process.execPath, fileURLToPath(new URL('../../examples/demo.js', import.meta.url))];

interface State {
  readonly links: readonly string[];
  readonly files: readonly string[];
  /** Those that have the folder in their environment: other demos may be at work. */
  readonly processes: readonly string[];
}

/** Runs a demo whose temporary files are in `folder`; it must leave nothing. */
async function leavingNothing(
  namespace: NetworkNamespace,
  folder: string,
  command: readonly string[],
): Promise<Outcome> {
  const state = async (): Promise<State> => ({
    links: (await ipLinks(namespace)).map(({ ifname }) => ifname),
    files: readdirSync(folder),
    processes: readdirSync('/proc').filter((pid) => environmentOf(pid).includes(`TMPDIR=${folder}`)),
  });
  const before = await state();
  const outcome = await run(namespace, 'env', `TMPDIR=${folder}`, ...command);
  assert.deepEqual(await state(), before);
  return outcome;
}

function environmentOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8');
  } catch {
    return ''; // no process, or one that has ended meanwhile
  }
}

async function withFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'tuntap-demo-test-'));
  try {
    chmodSync(folder, 0o777);
    await body(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
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
    /^ {2}tuntap-native to tuntap-native .*Gbit\/s/m,
    /nothing is left behind/,
  ]) {
    assert.match(stdout, shown);
  }
}

describe('the demo', function () {
  this.timeout(60_000);

  before(function () {
    needs(this, 'ip', 'ping', 'wireguard-go');
  });

  it('carries ping and a file between tuntap-native and wireguard-go, and the wire shows nothing of it', () =>
    inNamespace((namespace) =>
      withFolder(async (folder) => {
        const outcome = await leavingNothing(namespace, folder, DEMO);
        assertHolds(outcome);
        assert.match(outcome.stdout, /^ {2}tuntap-native to wireguard-go .*Gbit\/s/m);
        // A second demo may be at work; this one's interface and its control socket are named so.
        const [name] = outcome.stdout.match(/\bdemo\d+\b/) ?? [];
        assert.ok(name && !existsSync(`/var/run/wireguard/${name}.sock`), name);
      }),
    ));

  it('does so unprivileged in a user namespace, and without wireguard-go, ping and iperf3', async function () {
    await needsReadable(this);
    await inNamespace((namespace) =>
      withFolder(async (folder) => {
        await needsUserNamespace(this, namespace);
        const alone = 'mkdir /dev/net/bin';
        const command = [...AS_USER, 'env', 'PATH=/dev/net/bin', ...DEMO];
        const outcome = await leavingNothing(
          namespace,
          folder,
          withDevNet(`${TUN_FOR_ALL} && ${alone}`, command),
        );
        assertHolds(outcome);
        assert.doesNotMatch(outcome.stdout, /wireguard-go/);
        assert.match(outcome.stdout, /there is no ping here/);
        assert.match(outcome.stdout, /there is no iperf3 here/);
      }),
    );
  });
});
