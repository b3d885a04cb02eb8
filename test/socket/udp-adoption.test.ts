import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { Endpoint, openUdp, type UdpBatchSocket } from 'tuntap-native/tunnel';
import { code, nodeProgram } from '../support.ts';

/** What a program prints that has the socket as fd 3. */
async function inProgram(fd: number, body: string): Promise<string> {
  const [command, ...args] = nodeProgram(`
    import { existsSync, readFileSync } from 'node:fs';
    import { Endpoint, openUdp } from '${import.meta.resolve('tuntap-native/tunnel')}';
    const isOpen = () => existsSync('/proc/self/fd/3');
    const isSet = (bits) => (parseInt(String(readFileSync('/proc/self/fdinfo/3')).match(/flags:\\s*(\\d+)/)[1], 8) & bits) !== 0;
    ${body}`);
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit', fd] });
  let text = '';
  child.stdout?.on('data', (data) => {
    text += data;
  });
  await once(child, 'close');
  return text.trim();
}

const ECHO = `
  const socket = openUdp({ fd: 3, packetInfo: true });
  console.log(socket.fd, socket.family, String(socket.local), socket.remote ?? 'unconnected', isSet(0o2000000), isSet(0o4000));
  for await (const batch of socket.batches()) {
    socket.writeBatch(batch, socket.received);
    break;
  }
  await socket.close();
  console.log('open:', isOpen());`;

/** Sends a datagram there and waits for it to come back. */
async function echoed(from: UdpBatchSocket, to: Endpoint): Promise<void> {
  from.send(Buffer.from('echo'), to);
  for await (const batch of from.batches()) {
    assert.equal(batch.at(0).toString(), 'echo');
    return;
  }
}

describe('openUdp: adopting an fd', () => {
  for (const address of ['127.0.0.1', '::1', '::']) {
    it(`takes over a socket that is bound to ${address}, and closes it`, async () => {
      await using given = openUdp({ address });
      await using client = openUdp();
      const { port } = given.local;
      const to = new Endpoint(address === '::' ? '127.0.0.1' : address, port);
      const [text] = await Promise.all([inProgram(given.fd, ECHO), echoed(client, to)]);
      const family = address === '127.0.0.1' ? 4 : 6;
      assert.equal(text, `3 ${family} ${new Endpoint(address, port)} unconnected true true\nopen: false`);
    });
  }

  it('keeps the peer that the socket is connected to', async () => {
    await using peer = openUdp({ address: '127.0.0.1' });
    await using given = openUdp({ remote: peer.local });
    const text = await inProgram(
      given.fd,
      `const socket = openUdp({ fd: 3 });
       console.log(String(socket.remote), socket.send(Buffer.from('sent')));
       await socket.close();`,
    );
    assert.equal(text, `${peer.local} true`);
    for await (const batch of peer.batches()) {
      assert.equal(batch.at(0).toString(), 'sent');
      break;
    }
  });

  it('leaves the fd open if a socket option is refused', async () => {
    await using given = openUdp();
    const attempt = (options: string) => `
      try { openUdp(${options}); } catch ({ code }) { console.log(code, isOpen()); }`;
    const text = await inProgram(
      given.fd,
      attempt(`{ fd: 3, headroom: -1 }`) +
        attempt(`{ fd: 3, device: 'no-link' }`) +
        attempt(`{ fd: 3, port: 1 }`),
    );
    assert.equal(text, 'ERR_OUT_OF_RANGE true\nENODEV true\nERR_INVALID_ARG_VALUE true');
  });

  it('refuses what is no bound UDP socket, or belongs to another one', async () => {
    await using given = openUdp();
    const file = openSync('/dev/null', 'r');
    const refused = { code: 'ERR_INVALID_ARG_VALUE' };
    assert.throws(() => openUdp({ fd: file }), { ...refused, message: /is no UDP socket/ });
    assert.throws(() => openUdp({ fd: given.fd }), { ...refused, message: /belongs to an open/ });
    assert.equal(
      code(() => openUdp({ fd: 99_999 })),
      'EBADF',
    );
    assert.equal(
      code(() => openUdp({ fd: -1 })),
      'ERR_OUT_OF_RANGE',
    );
    for (const more of [{ address: '::' }, { port: 1 }, { reusePort: true }, { namespace: '/' }]) {
      assert.throws(() => openUdp({ fd: given.fd, ...more }), { ...refused, message: /must be left out/ });
    }
  });

  it('refuses other sockets and one without a port', async () => {
    const program = (make: string) => `
      import socket, os, subprocess, sys
      s = ${make}
      os.dup2(s.fileno(), 3, inheritable=True)
      sys.exit(subprocess.call(sys.argv[1:], pass_fds=[3]))`;
    for (const [make, reason] of [
      ['socket.socket(socket.AF_INET, socket.SOCK_STREAM)', 'is no UDP socket'],
      ['socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)', 'is no UDP socket'],
      ['socket.socket(socket.AF_INET, socket.SOCK_DGRAM)', 'is not bound to a port'],
    ]) {
      const attempt = nodeProgram(`
        import { openUdp } from '${import.meta.resolve('tuntap-native/tunnel')}';
        try { openUdp({ fd: 3 }); } catch ({ message }) { console.log(message); }`);
      const child = spawn('python3', ['-c', program(make).replaceAll('\n      ', '\n'), ...attempt], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let text = '';
      child.stdout?.on('data', (data) => {
        text += data;
      });
      await once(child, 'close');
      assert.match(text, new RegExp(reason));
    }
  });
});
