/**
 * What must hold after long use: `npm run endurance`, some five minutes.
 *
 * Opens and closes devices 10,000 times, terminates 1,000 workers in mid-read, and reads 10 million packets as a
 * stream. After each, file descriptors, links and memory must be where they began (resident memory within 10 MB after
 * garbage collection). Options: --cycles=N, --workers=N, --packets=N; 0 leaves that part out.
 */

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { NetworkNamespace, openTap, openTun } from 'tuntap-native';
import { option, pathOf } from './measure.ts';

const THIS = fileURLToPath(import.meta.url);
const count = (name: string, fallback: number): number => Number(option(name, String(fallback)));

if (isMainThread) await main();
else readUntilTerminated();

interface State {
  readonly fds: number;
  readonly links: number;
  readonly rssMB: number;
}

async function main(): Promise<void> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  await using namespace = await NetworkNamespace.create();

  async function state(): Promise<State> {
    for (let i = 0; i < 5; i++) {
      collect();
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const child = namespace.spawn('ip', ['-o', 'link'], { stdio: ['ignore', 'pipe', 'inherit'] });
    let listed = '';
    child.stdout?.on('data', (data) => {
      listed += data;
    });
    await once(child, 'close');
    const rssKB = Number(readFileSync('/proc/self/status', 'utf8').match(/VmRSS:\s+(\d+)/)?.[1]);
    return {
      fds: readdirSync('/proc/self/fd').length,
      links: listed.split('\n').length,
      rssMB: rssKB / 1024,
    };
  }

  let failures = 0;
  async function hold(name: string, warmUp: () => Promise<void>, run: () => Promise<void>): Promise<void> {
    await warmUp();
    const before = await state();
    await run();
    const after = await state();
    const same = after.fds === before.fds && after.links === before.links && after.rssMB - before.rssMB <= 10;
    if (!same) failures++;
    console.log(
      `${same ? 'ok    ' : 'FAILED'} ${name}: file descriptors ${before.fds} -> ${after.fds}, ` +
        `links ${before.links} -> ${after.links}, resident ${before.rssMB.toFixed(1)} -> ${after.rssMB.toFixed(1)} MB`,
    );
  }

  const cycles = count('cycles', 10_000);
  if (cycles > 0) {
    await hold(
      `${cycles} cycles of open and close`,
      // Until V8's young generation and malloc's heap have the size that they keep.
      () => openAndClose(namespace, Math.ceil(cycles / 5)),
      () => openAndClose(namespace, cycles),
    );
  }
  const workers = count('workers', 1000);
  if (workers > 0) {
    await hold(
      `${workers} workers terminated in mid-read`,
      () => terminate(namespace, 30),
      () => terminate(namespace, workers),
    );
  }
  const packets = count('packets', 10_000_000);
  if (packets > 0) {
    await hold(
      `${packets} packets through a stream`,
      () => stream(namespace, 200_000),
      () => stream(namespace, packets),
    );
  }
  process.exitCode = failures;
}

/** Eight lanes, since closing waits for the kernel. */
async function openAndClose(namespace: NetworkNamespace, cycles: number): Promise<void> {
  let left = cycles;
  const lane = async (index: number): Promise<void> => {
    while (left-- > 0) {
      const open = left % 2 ? openTun : openTap;
      const device = open(`lane${index}`, { namespace, addresses: [`192.0.2.${index}/32`], up: true });
      if (left % 3 === 0) device.resume();
      if (left % 3 === 1) void device.batches().next();
      await device.close();
    }
  };
  await Promise.all(Array.from({ length: 8 }, (_, index) => lane(index)));
}

async function terminate(namespace: NetworkNamespace, count: number): Promise<void> {
  let left = count;
  const lane = async (index: number): Promise<void> => {
    while (left-- > 0) {
      const worker = new Worker(THIS, {
        workerData: {
          name: `worker${index}`,
          namespace: pathOf(namespace),
          stream: left % 2 === 0,
        },
      });
      await once(worker, 'message');
      await worker.terminate();
    }
  };
  await Promise.all([0, 1].map(lane));
}

/** In a worker: writes to itself through the kernel for ever, so that reading is under way whenever it is terminated. */
function readUntilTerminated(): void {
  const { name, namespace, stream: asStream } = workerData as Record<string, never>;
  const tun = openTun(name, { namespace, addresses: ['198.51.100.1/24'], up: true });
  const echo = Buffer.from('4500001c000000004001cf70c6336402c63364010800f7ff00000000', 'hex');
  let reported = false;
  const onRead = (): void => {
    tun.write(echo);
    if (!reported) parentPort?.postMessage('reading');
    reported = true;
  };
  if (asStream) {
    tun.on('data', onRead);
  } else {
    void (async () => {
      for await (const _ of tun.batches()) onRead();
    })();
  }
  tun.write(echo);
}

async function stream(namespace: NetworkNamespace, packets: number): Promise<void> {
  const built = mkdtempSync(join(tmpdir(), 'tuntap-endurance-'));
  const source = join(THIS, '..', '..', '..', 'bench', 'udp-flood.c');
  const tun = openTun('tun0', { namespace, addresses: ['192.0.2.1/24'], up: true, txQueueLength: 1000 });
  try {
    execFileSync('cc', ['-O2', '-o', join(built, 'udp-flood'), source]);
    let read = 0;
    const enough = new Promise<void>((resolve) => {
      tun.on('data', () => {
        if (++read === packets) resolve();
        if (read % 1_000_000 === 0)
          console.log(`       ${read} packets, ${process.memoryUsage.rss() >> 20} MB`);
      });
    });
    const flood = namespace.spawn(join(built, 'udp-flood'), ['192.0.2.2', '9', '600', '200000'], {
      stdio: 'ignore',
    });
    await enough;
    flood.kill();
    await once(flood, 'close');
  } finally {
    rmSync(built, { recursive: true });
    await tun.close();
  }
}
