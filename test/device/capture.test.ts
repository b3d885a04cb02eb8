import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Capture, openTun, type TunDevice } from 'tuntap-native';
import { ipv4Packet, replyToEcho, udpDatagram } from 'tuntap-native/packet';
import { fdsAtMost, inNamespace, needs, openFds, run } from '../support.ts';

const COUNT = 2000;
const ADDRESSES = { source: '192.0.2.2', destination: '192.0.2.1' };
const payload = Buffer.alloc(1000);
const datagram = udpDatagram({ ...ADDRESSES, sourcePort: 5000, destinationPort: 6000, payload });
const packet = ipv4Packet({ ...ADDRESSES, protocol: 17, payload: datagram });

function closeBoth(tun: TunDevice, capture: Capture): Promise<void> {
  void capture.close();
  return tun.close();
}

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
        await fdsAtMost(before);
      });
      assert.equal(await readFile(file, 'utf8'), 'precious');
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  for (const [path, code] of [
    ['/nonexistent/file.pcapng', 'ENOENT'],
    ['/dev/full', 'ENOSPC'],
    ['/tmp', 'EISDIR'],
  ]) {
    it(`tells of a file that can not be written, ${path}, once: by close() of the capture or of the device`, () =>
      inNamespace(async (namespace) => {
        const warned = once(process, 'warning');
        await using tun = openTun('tun0', { namespace, addresses: ['192.0.2.1/24'], up: true });
        const capture = tun.capture(path);
        assert.match((await warned)[0].message, new RegExp(code));
        await assert.rejects(capture.close(), { code });
        assert.equal((capture.errored as NodeJS.ErrnoException).code, code);
        assert.equal(tun.destroyed, false);
        tun.write(packet);
        const other = openTun('tun1', { namespace });
        other.on('error', assert.fail);
        other.capture(path);
        await assert.rejects(other.close(), { code });
        assert.equal(other.destroyed, true);
        await other.close();
      }));
  }

  for (const [end, close] of [
    ['close()', (tun: TunDevice) => tun.close()],
    ['await using', (tun: TunDevice) => tun[Symbol.asyncDispose]()],
    ["'close' after destroy()", (tun: TunDevice) => once(tun.destroy(), 'close')],
    ['close() while the capture closes', closeBoth],
  ] as [string, (tun: TunDevice, capture: Capture) => Promise<unknown>][]) {
    it(`is complete after ${end}`, async () => {
      const directory = await mkdtemp(join(tmpdir(), 'tuntap-capture-'));
      try {
        await inNamespace(async (namespace) => {
          const [fifo, file] = [join(directory, 'fifo'), join(directory, 'tun.pcapng')];
          // A disk that is slow: what does not fit into the pipe waits.
          const script = `mkfifo ${fifo}; echo; exec <${fifo}; sleep 0.3; cat >${file}`;
          const disk = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'] });
          await once(disk.stdout, 'data');
          const tun = openTun('tun0', { namespace, up: true, offload: false });
          const capture = tun.capture(fifo);
          for (let i = 0; i < COUNT; i++) tun.write(packet);
          const exited = once(disk, 'exit');
          await close(tun, capture);
          assert.ok((await stat(file)).size > (COUNT * packet.length) / 2);
          await exited;
          const { stdout } = await run(namespace, 'tcpdump', '-nr', file, '--count', 'udp');
          assert.match(stdout, new RegExp(`^${COUNT} packets`));
          // An Interface Statistics Block ends the file, which begins with its type and ends with its length.
          const bytes = await readFile(file);
          assert.equal(bytes.readUInt32LE(bytes.length - bytes.readUInt32LE(bytes.length - 4)), 5);
        });
      } finally {
        await rm(directory, { recursive: true });
      }
    });
  }
});
