import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync } from 'node:fs';
import { createServer } from 'node:net';
import { generatePrivateKey, publicKey } from 'tuntap-native/wireguard';
import { readDevice } from '#dist/wireguard/control-client.js';
import { inNamespace, needs } from '../support.ts';
import { withFake } from './control-support.ts';
import { newPeer } from './fake-device.ts';
import { freeName, SOCKETS, wg, withWireguardGo } from './oracle.ts';

describe('readDevice', () => {
  it('reads what wireguard-go has', function () {
    needs(this, 'wg', 'wireguard-go');
    return inNamespace((namespace) =>
      withWireguardGo(namespace, async (name) => {
        const key = publicKey(generatePrivateKey());
        wg(
          'set',
          name,
          'listen-port',
          '7',
          'fwmark',
          '9',
          'peer',
          key,
          'endpoint',
          '[::1]:5',
          'allowed-ips',
          '::/0',
        );
        const { listenPort, fwmark, peers, privateKey } = await readDevice(name);
        assert.deepEqual(
          { listenPort, fwmark, privateKey, peers: peers.map((peer) => ({ ...peer, publicKey: 0 })) },
          {
            listenPort: 7,
            fwmark: 9,
            privateKey: undefined,
            peers: [
              {
                publicKey: 0,
                presharedKey: undefined,
                endpoint: '[::1]:5',
                latestHandshake: undefined,
                txBytes: 0,
                rxBytes: 0,
                persistentKeepalive: 0,
                allowedIps: ['::/0'],
              },
            ],
          },
        );
        assert.equal(Buffer.from(peers[0].publicKey).toString('base64'), key);
      }),
    );
  });

  it('reads back what a control socket writes, times and counts too', () =>
    withFake(async (name, device) => {
      const peer = {
        ...newPeer(randomBytes(32)),
        presharedKey: randomBytes(32),
        latestHandshake: 1_790_000_000_123.5,
        txBytes: 2 ** 50 + 1,
        rxBytes: 7,
        endpoint: '192.0.2.1:1',
        allowedIps: ['10.0.0.0/8'],
      };
      device.peers.set('x', peer);
      const [read] = (await readDevice(name)).peers;
      assert.deepEqual({ ...read, publicKey: Buffer.from(read.publicKey) }, peer);
    }));

  it('ENODEV without a device, and for names that are paths', async () => {
    await assert.rejects(readDevice('no-such-device'), { code: 'ENODEV' });
    await assert.rejects(readDevice('../../tmp/x'), { code: 'ENODEV' });
  });

  for (const [what, answer, code] of [
    ['no answer', '', 'EPROTO'],
    ['no errno', 'listen_port=1\n\n', 'EPROTO'],
    ['a refusal', 'errno=13\n\n', 'EACCES'],
    ['no number', 'listen_port=x\nerrno=0\n\n', 'EPROTO'],
    ['a bad key', 'public_key=1\nerrno=0\n\n', 'EPROTO'],
    ['no protocol at all', 'HTTP/1.1 400 Bad Request\r\n\r\n', 'EPROTO'],
  ]) {
    it(`${code} for ${what}`, async () => {
      const name = freeName();
      const server = createServer((socket) =>
        socket
          .on('error', () => {})
          .resume()
          .end(answer),
      );
      await withFake(() => {}); // makes the directory
      server.listen(`${SOCKETS}/${name}.sock`);
      await once(server, 'listening');
      chmodSync(`${SOCKETS}/${name}.sock`, 0o700);
      try {
        await assert.rejects(readDevice(name), { code });
      } finally {
        server.close();
      }
    });
  }
});
