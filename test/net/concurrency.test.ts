import assert from 'node:assert/strict';
import { readlinkSync } from 'node:fs';
import { createVethPair, NetworkNamespace } from 'tuntap-native/net';
import { fdsAtMost, needs, openFds, threadNamespaces } from '../support.ts';

describe('fifty tasks at the same time', () => {
  before(function () {
    needs(this);
  });

  it('every promise settles, and nothing is left, though namespaces go under them', async function () {
    this.timeout(60_000);
    const fds = openFds();
    const home = readlinkSync('/proc/self/ns/net');
    const shared = await NetworkNamespace.create();
    const allowed = new Set([
      'ERR_TUNTAP_CLOSED',
      'ENODEV',
      'EBADF',
      'EEXIST',
      'ENETUNREACH',
      'ERR_INVALID_ARG_VALUE',
      'ENETDOWN',
      'ESRCH',
    ]);
    const unexpected: unknown[] = [];
    let done = 0;

    async function task(i: number): Promise<void> {
      for (let round = 0; round < 4; round++) {
        const own = await NetworkNamespace.create();
        const monitor = own.monitor();
        const watching = (async () => {
          for await (const event of monitor) void event;
        })();
        const work = (async () => {
          const [near, far] = await createVethPair(
            { name: `v${i}`, namespace: shared, up: true },
            { name: 'eth0', namespace: own, addresses: [`10.${i}.${round}.1/24`], up: true },
          );
          await Promise.all([
            far.set({ mtu: 1400 }),
            own.routes(),
            shared.links(),
            near.get(),
            far.addresses(),
          ]);
          await own.addRoute({ destination: 'default', via: `10.${i}.${round}.2` });
          await near.delete();
        })();
        // Every other namespace is closed in the middle of it.
        if ((i + round) % 2 === 0) {
          for (let turn = 0; turn < i; turn++) await new Promise(setImmediate);
          await own.close();
        }
        const [outcome] = await Promise.allSettled([work]);
        if (outcome.status === 'rejected' && !allowed.has(outcome.reason.code))
          unexpected.push(outcome.reason);
        await (await shared.link(`v${i}`).catch(() => undefined))?.delete().catch(() => undefined);
        await own.close();
        await watching;
      }
      done++;
    }

    await Promise.all(Array.from({ length: 50 }, (_, i) => task(i)));
    assert.deepEqual(unexpected, []);
    assert.equal(done, 50);
    assert.deepEqual(
      (await shared.links()).map(({ name }) => name),
      ['lo'],
    );
    await shared.close();
    await fdsAtMost(fds);
    assert.deepEqual(threadNamespaces(), new Set([home]));
  });

  it('answers never go to another caller', async () => {
    await using namespace = await NetworkNamespace.create();
    const names = Array.from({ length: 60 }, (_, i) => `b${i}`);
    await Promise.all(names.map((name) => namespace.addLink({ kind: 'bridge', name })));
    const mixed = await Promise.all(
      names.flatMap((name) => [
        namespace.link(name).then((link) => link.name === name),
        namespace.link(`no-${name}`).then(
          () => false,
          (error) => error.device === `no-${name}` && error.code === 'ENODEV',
        ),
        namespace
          .routes({ family: 'all', table: 'all' })
          .then((routes) => routes.every(({ table }) => table !== undefined)),
        namespace.links().then((links) => links.length === 61),
      ]),
    );
    assert.ok(mixed.every(Boolean));
  });
});
