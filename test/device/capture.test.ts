import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openTun } from 'tuntap-native';
import { replyToEcho } from 'tuntap-native/packet';
import { inNamespace, needs, openFds, run } from '../support.ts';

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

  it('leaves a file as it is when the options are wrong', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'tuntap-'));
    const file = join(directory, 'kept.pcapng');
    try {
      await writeFile(file, 'precious');
      await inNamespace(async (namespace) => {
        await using tun = openTun('tun0', { namespace });
        const before = openFds();
        assert.throws(() => tun.capture(file, { snapLength: -1 }), { code: 'ERR_OUT_OF_RANGE' });
        assert.equal(openFds(), before);
      });
      assert.equal(await readFile(file, 'utf8'), 'precious');
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
