import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { inNamespace, moduleArguments, needs, nodeProgram, runFor } from '../support.ts';

/** Runs a program with the engine of Bun and Deno, in a namespace of its own; returns what it prints. */
async function withThread(body: string): Promise<Record<string, unknown>> {
  let printed = {};
  await inNamespace(async (namespace) => {
    const program = nodeProgram(`
      import { once } from 'node:events';
      import { readdirSync } from 'node:fs';
      import { setTimeout as delay } from 'node:timers/promises';
      import { Worker } from 'node:worker_threads';
      import { Endpoint, openUdp } from '${import.meta.resolve('tuntap-native/tunnel')}';
      import { openFds } from '${import.meta.resolve('../support.js')}';
      const left = () => [openFds(), readdirSync('/proc/self/task').length];
      const links = async () => (await here.links()).map(({ name }) => name);
      const here = await NetworkNamespace.current();
      ${body}
      await here.close();`);
    const { status, stdout, stderr } = await runFor(
      110_000,
      namespace,
      'env',
      'TUNTAP_ENGINE=thread',
      ...program,
    );
    assert.equal(status, 0, stderr);
    printed = JSON.parse(stdout);
  });
  return printed;
}

// Waits until no more is open than in the beginning, for 20 seconds, since Deno's pool keeps threads for 10; prints what there is more.
const SETTLE = `
  let more;
  for (let i = 0; i < 2000; i++) {
    more = left().map((count, j) => Math.max(count - base[j], 0));
    if (more.every((count) => count === 0)) break;
    await delay(10);
  }
  console.log(JSON.stringify({ more, links: await links() }));`;

describe('the engine of one thread', function () {
  this.timeout(120_000);
  before(function () {
    needs(this);
  });

  it('leaves nothing after 1,000 devices were opened, read and closed', async () => {
    const printed = await withThread(`
      const cycle = async (how) => {
        const tun = openTun('tun%d', { up: true });
        if (how === 0) tun.batches().next().catch(() => {});
        if (how === 1) tun.resume();
        if (how === 2) await once(tun.resume(), 'data'); // the kernel asks for routers
        await tun.close();
      };
      const round = () => Promise.all(Array.from({ length: 40 }, (_, i) => cycle(i % 4)));
      await round();
      const base = left();
      for (let i = 1; i < 25; i++) await round();
      ${SETTLE}`);
    assert.deepEqual(printed, { more: [0, 0], links: ['lo'] });
  });

  it('leaves nothing after 100 workers were terminated, waiting and busy', async () => {
    const worker = `
      const { parentPort, workerData } = await import('node:worker_threads');
      const { openTun } = await import('${import.meta.resolve('tuntap-native')}');
      const { openUdp } = await import('${import.meta.resolve('tuntap-native/tunnel')}');
      const tun = openTun('tun%d', { up: true });
      tun.resume();
      const socket = openUdp({ address: '127.0.0.1' });
      socket.send(Buffer.from('x'), socket.local);
      parentPort.postMessage('ready');
      // A busy one sends to itself for ever.
      for await (const batch of socket.batches()) if (workerData) socket.writeBatch(batch, socket.received);`;
    const printed = await withThread(`
      const lo = await here.link('lo');
      await lo.set({ up: true });
      const url = new URL(${JSON.stringify(`data:text/javascript,${encodeURIComponent(worker)}`)});
      let base;
      for (let i = 0; i < 25; i++) {
        const workers = Array.from({ length: 4 }, (_, j) => new Worker(url, { workerData: j % 2 }));
        await Promise.all(workers.map((worker) => once(worker, 'message')));
        await Promise.all(workers.map((worker) => worker.terminate()));
        if (i > 0) continue;
        while ((await links()).length > 1) await delay(10);
        base = left();
      }
      ${SETTLE}`);
    assert.deepEqual(printed, { more: [0, 0], links: ['lo'] });
  });

  it('lets the rest of the event loop have its turn while packets pour in', async () => {
    const printed = await withThread(`
      const lo = await here.link('lo');
      await lo.set({ up: true });
      const socket = openUdp({ address: '127.0.0.1' });
      let inARow = 0;
      let most = 0;
      const turn = () => {
        inARow = 0;
        if (socket.fd >= 0) setImmediate(turn);
      };
      turn();
      await socket.send(Buffer.from('x'), socket.local);
      let batches = 5000;
      for await (const batch of socket.batches()) {
        most = Math.max(most, ++inARow);
        if (--batches === 0) break;
        socket.writeBatch(batch, socket.local); // arrives at once
      }
      await socket.close();
      console.log(JSON.stringify({ most }));`);
    const most = printed.most as number;
    // A threadsafe function of Node.js runs up to 1,000 calls in a row.
    assert.ok(most > 0 && most <= 1100, `${most} batches in a row`);
  });

  it('serves 500 sockets at the same time', async () => {
    const printed = await withThread(`
      const lo = await here.link('lo');
      await lo.set({ up: true });
      const sockets = Array.from({ length: 500 }, () => openUdp({ address: '127.0.0.1' }));
      let hops = 0;
      // Each passes the datagram on to the next, three times around.
      await Promise.all(sockets.map(async (socket, i) => {
        const next = sockets[(i + 1) % sockets.length].local;
        let turns = 0;
        for await (const batch of socket.batches()) {
          hops += batch.length;
          socket.writeBatch(batch, next);
          if (++turns === 3) break;
        }
      }).concat((async () => sockets[499].send(Buffer.from('x'), sockets[0].local))()));
      for (const socket of sockets) await socket.close();
      console.log(JSON.stringify({ hops }));`);
    assert.deepEqual(printed, { hops: 1500 });
  });
});

describe('the choice of an engine', () => {
  it('is refused by its own error if TUNTAP_ENGINE names none', () => {
    const program = `
      const { openTun } = await import('${import.meta.resolve('tuntap-native')}');
      for (let i = 0; i < 2; i++) try { openTun(); } catch ({ code }) { console.log(code); }`;
    const env = { ...process.env, TUNTAP_ENGINE: 'threads' };
    const printed = execFileSync(process.execPath, moduleArguments(program), { env, encoding: 'utf8' });
    assert.equal(printed, 'ERR_TUNTAP_ENGINE\n'.repeat(2));
  });
});
