/** wireguard-go on one host, with a web server behind it, and a wg-quick file that leads there. */

import assert from 'node:assert/strict';
import { chmodSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { PacketBatch } from 'tuntap-native';
import { openUdp, type UdpBatchSocket } from 'tuntap-native/tunnel';
import { generatePrivateKey, publicKey } from 'tuntap-native/wireguard';
import { decodeQuestion, encodeAnswer } from '#dist/net/namespace/dns-message.js';
import { run } from '../support.ts';
import { AS_USER, TUN_FOR_ALL, withDevNet } from '../unprivileged.ts';
import { type Hosts, withHosts } from './hosts.ts';
import { WireGuardGo } from './wireguard-go.ts';

const OURS = generatePrivateKey();
const THEIRS = generatePrivateKey();
const PORT = 51820;

export const content = (more = '') => `[Interface]
PrivateKey = ${OURS}
Address = 10.9.0.1/24, fd00::1/64
DNS = 10.9.0.2, example.test
${more}
[Peer]
PublicKey = ${publicKey(THEIRS)}
Endpoint = 192.0.2.2:${PORT}
AllowedIPs = 0.0.0.0/0, ::/0
`;

/** Answers questions until the socket is closed: web.example.test has the address 10.9.0.2, and there are no other names. */
async function answerNames(socket: UdpBatchSocket): Promise<void> {
  for await (const batch of socket.batches()) {
    for (let i = 0; i < batch.length; i++) {
      const query = Buffer.from(batch.at(i));
      const question = decodeQuestion(query);
      if (question === undefined) continue;
      const isWeb = question.name === 'web.example.test';
      const address = isWeb && question.type === 1 ? Buffer.of(10, 9, 0, 2) : undefined;
      const answer = new PacketBatch({ capacity: 1 });
      answer.push(encodeAnswer(query, question, isWeb ? 0 : 3, 60, address));
      socket.writeBatch(answer, socket.received.remote(i));
    }
  }
}

/** wireguard-go on host `b`, which is 10.9.0.2, and answers names and HTTP there. */
export async function withWebPeer(
  body: (
    setup: Hosts & { readonly file: string; readonly asUser: (command: string[]) => [string, ...string[]] },
  ) => Promise<void>,
): Promise<void> {
  await withHosts(async (hosts) => {
    const { b, folder } = hosts;
    await using go = await WireGuardGo.start(b);
    await go.set('private-key', Buffer.from(THEIRS, 'base64'), 'listen-port', `${PORT}`);
    await go.set('peer', publicKey(OURS), 'allowed-ips', '10.9.0.1/32,fd00::1/128');
    for (const command of [`address add 10.9.0.2/24 dev ${go.name}`, `link set ${go.name} up mtu 1420`]) {
      assert.equal((await run(b, 'ip', ...command.split(' '))).status, 0);
    }
    const site = createServer((_, response) => response.end('through the tunnel'));
    const server = await b.listen({ host: '10.9.0.2', port: 80 });
    server.on('connection', (socket) => site.emit('connection', socket));
    await using names = openUdp({ namespace: b, address: '10.9.0.2', port: 53 });
    void answerNames(names);
    const file = join(folder, 'home.conf');
    writeFileSync(file, content(), { mode: 0o600 });
    chmodSync(folder, 0o755);
    try {
      await body({ ...hosts, file, asUser: (command) => withDevNet(TUN_FOR_ALL, [...AS_USER, ...command]) });
    } finally {
      site.closeAllConnections();
      server.close();
    }
  });
}
