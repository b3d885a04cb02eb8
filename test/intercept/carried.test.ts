/** The packets of intercepted connections that native code carries by itself, and those that JavaScript has to see. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { PacketBatch, TunDevice } from 'tuntap-native';
import { type Intercepted, type OpenConnection, openConnection, withIntercepted } from './support.ts';

/** Counts the packets that JavaScript gives a device. */
function countWritten(tun: TunDevice): () => number {
  let count = 0;
  const write = tun.writeBatch.bind(tun);
  tun.writeBatch = (batch: PacketBatch, start?: number) => {
    count += batch.length;
    return write(batch, start);
  };
  return () => count;
}

/** The sockets of an open connection, which is reset in the end. */
async function open(intercepted: Intercepted): Promise<OpenConnection> {
  const opened = await openConnection(intercepted);
  for (const socket of [opened.client, opened.server]) socket.on('error', () => {});
  return opened;
}

/** Sends bytes and waits until all have come. */
async function send(from: Socket, to: Socket, bytes: Buffer): Promise<void> {
  from.write(bytes);
  for (let left = bytes.length; left > 0; ) left -= ((await once(to, 'data')) as [Buffer])[0].length;
}

describe('packets of intercepted connections', function () {
  this.timeout(30_000);

  for (const stack of ['private', 'shared'] as const) {
    it(`pass JavaScript by, and are all seen by a capture: stack ${stack}`, () =>
      withIntercepted({ stack }, async (intercepted) => {
        const { client, server } = await open(intercepted);
        const written = countWritten(intercepted.tun);
        const bytes = Buffer.alloc(100_000, 1);
        await send(client, server, bytes);
        await send(server, client, bytes);
        assert.equal(written(), 0);
        const folder = mkdtempSync(join(tmpdir(), 'tuntap-carried-'));
        try {
          const capture = intercepted.tun.capture(join(folder, 'file'));
          await send(client, server, Buffer.from('asked'));
          await send(server, client, Buffer.from('answered'));
          await capture.close();
          const captured = readFileSync(join(folder, 'file'));
          assert.ok(captured.includes('asked') && captured.includes('answered'));
          const ends = (...hosts: number[][]): Buffer => Buffer.from(hosts.flat());
          const [here, there, inside] = [
            [192, 0, 2, 1],
            [203, 0, 113, 5],
            [100, 64, 0, 1],
          ];
          assert.ok(captured.includes(ends(here, there)) && captured.includes(ends(there, here)));
          if (stack === 'private') assert.ok(!captured.includes(ends(inside)));
        } finally {
          rmSync(folder, { recursive: true });
        }
        const seen = written();
        assert.ok(seen > 0);
        await send(client, server, bytes);
        assert.equal(written(), seen);
      }));
  }

  it('are counted if the kernel refuses them, since the link is down', () =>
    withIntercepted({}, async (intercepted) => {
      const { tun } = intercepted;
      const { server } = await open(intercepted);
      await (await tun.link()).set({ up: false });
      server.write('lost');
      while (!tun.counters.refused.EIO) await delay(5);
      assert.deepEqual(Object.keys(tun.counters.refused), ['EIO']);
    }));

  it('are the reader’s again once the interceptor is closed', () =>
    withIntercepted({}, async (intercepted) => {
      const { namespace, tun, interceptor } = intercepted;
      await open(intercepted);
      await interceptor.close();
      namespace.connect({ host: '203.0.113.9', port: 80 }).catch(() => {});
      for await (const batch of tun.batches()) {
        const packets = [...batch].filter((packet) => packet.includes(Buffer.from([203, 0, 113, 9])));
        if (packets.length > 0) break;
      }
    }));
});
