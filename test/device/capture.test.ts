import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openTun } from 'tuntap-native';
import { replyToEcho } from 'tuntap-native/packet';
import { inNamespace, needs, run } from '../support.ts';

describe('device.capture', () => {
  before(function () {
    needs(this, 'ip', 'ping', 'tcpdump');
  });

  it('writes both ways into a file that tcpdump reads, by stream and by batches', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'tuntap-capture-'));
    try {
      await inNamespace(async (namespace) => {
        const file = join(directory, 'tun.pcapng');
        const tun = openTun('tun0', { namespace, addresses: ['192.0.2.1/24'], up: true });
        const capture = tun.capture(file);
        tun.on('data', (packet: Buffer) => {
          const reply = replyToEcho(packet);
          if (reply) tun.write(reply);
        });
        assert.equal((await run(namespace, 'ping', '-c2', '-i0.01', '192.0.2.2')).status, 0);
        await capture.close();
        await tun.close();
        const { stdout, stderr } = await run(namespace, 'tcpdump', '-nnr', file, 'icmp');
        assert.equal(stdout.match(/echo request/g)?.length, 2, stderr);
        assert.equal(stdout.match(/echo reply/g)?.length, 2);
        assert.equal(capture.dropped, 0);
      });
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it('rejects close() when the file can not be written, and the device goes on', () =>
    inNamespace(async (namespace) => {
      await using tun = openTun('tun0', { namespace, addresses: ['192.0.2.1/24'], up: true });
      const capture = tun.capture('/nonexistent/file.pcapng');
      await assert.rejects(capture.close(), { code: 'ENOENT' });
      assert.equal(tun.destroyed, false);
    }));
});
