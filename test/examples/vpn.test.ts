import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { PacketBatch } from 'tuntap-native';
import { Aead, Endpoint, openUdp } from 'tuntap-native/tunnel';
import { INITIATION_LENGTH, initiate, RESPONSE_LENGTH } from '../../examples/vpn/handshake.ts';
import { ipLinks, needs, run } from '../support.ts';
import { PORT, SERVER, SERVER_TUNNEL, tunnelAddress, VpnLab, wireAddress } from './vpn-lab.ts';

type Namespace = VpnLab['server'];

/** How many of `count` pings were answered. */
async function ping(from: Namespace, to: string, count = 3, ...options: string[]): Promise<number> {
  const { stdout } = await run(from, 'ping', '-n', '-q', `-c${count}`, '-i0.05', '-W1', ...options, to);
  return Number(/(\d+) received/.exec(stdout)?.[1]);
}

async function pings(from: Namespace, to: string): Promise<void> {
  assert.equal(await ping(from, to), 3);
}

describe('the example VPN', () => {
  before(function () {
    needs(this, 'ip', 'ping', 'tcpdump');
  });

  it('a VPN program reads tunX, encapsulates, sends through eth0 (figure 3-20)', async () => {
    await using lab = await VpnLab.create();
    await lab.start({ statisticsSeconds: 0, keepaliveSeconds: 60 });
    const [client] = lab.clients;
    // A keepalive of 33 bytes, 75 on the wire, may still follow the handshake.
    const filter = ['-c', '6', 'ip and greater 76'];
    const capture = client.spawn('tcpdump', ['-i', 'eth0', '-U', '--immediate-mode', '-n', ...filter], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    await once(createInterface({ input: capture.stderr as NodeJS.ReadableStream }), 'line');
    let text = '';
    capture.stdout?.on('data', (data) => {
      text += data;
    });
    await pings(client, SERVER_TUNNEL);
    await once(capture, 'close');
    const between = new RegExp(
      `IP (${SERVER}\\.${PORT} > ${wireAddress(0)}\\.\\d+|${wireAddress(0)}\\.\\d+ > ${SERVER}\\.${PORT}): UDP, length 116$`,
    );
    const lines = text.trim().split('\n');
    assert.equal(lines.length, 6);
    // 84 bytes of ping, 16 of header, 16 of tag.
    for (const line of lines) assert.match(line, between);
    const link = (await ipLinks(client)).find(({ ifname }) => ifname === 'vpn0');
    assert.equal(link?.mtu, 1420);
    assert.equal(link?.linkinfo?.info_kind, 'tun');
    const { stdout } = await run(client, 'ip', '-j', 'route', 'get', SERVER_TUNNEL);
    assert.equal(JSON.parse(stdout)[0].dev, 'vpn0');
  });

  it('carries nothing for who has another key, and goes on for who has the right one', async () => {
    await using lab = await VpnLab.create(2);
    const server = lab.startServer();
    await server.line(/is up/);
    lab.writeKeys([lab.keys[0], Buffer.alloc(32, 1)]);
    const right = lab.startClient(0);
    const wrong = lab.startClient(1);
    await Promise.all([right.line(/^session with the server/), wrong.line(/is up/)]);
    await pings(lab.clients[0], SERVER_TUNNEL);
    assert.equal(await ping(lab.clients[1], SERVER_TUNNEL, 5), 0);
    assert.equal(
      wrong.lines.some((line) => line.startsWith('session')),
      false,
    );
  });

  it('refuses a key file that others may read, and says what to do', async () => {
    await using lab = await VpnLab.create();
    lab.write('open', 'client0 x\n');
    await run(lab.server, 'chmod', '640', lab.write('open', ''));
    const server = lab.startServer({ keys: 'open' });
    await server.line(/others may read or change this file \(mode 640\): chmod 600 it/);
    assert.equal(await server.status(), 1);
  });

  it('follows a client whose address changes, and no packet that is not authentic', async () => {
    await using lab = await VpnLab.create();
    const { server } = await lab.start();
    const [client] = lab.clients;
    // Somebody else sends what a client would send, first byte to last but the tag.
    await using stranger = openUdp({ namespace: client, address: wireAddress(0) });
    for (let i = 0; i < 50; i++)
      stranger.send(Buffer.alloc(64, Buffer.of(4, 0, 0, 0, i)), new Endpoint(SERVER, PORT));
    await pings(client, SERVER_TUNNEL);
    assert.equal(
      server.lines.some((line) => line.includes('has moved')),
      false,
    );

    const eth0 = await client.link('eth0');
    await eth0.deleteAddress(`${wireAddress(0)}/24`);
    await eth0.addAddress('192.0.2.77/24');
    await server.line(/^client0 has moved from 192\.0\.2\.2:\d+ to 192\.0\.2\.77:\d+$/);
    await pings(lab.server, tunnelAddress(0));
  });

  it('replaces its keys under traffic without losing a packet', async () => {
    await using lab = await VpnLab.create();
    const { server } = await lab.start({ rekeySeconds: 0.5, rekeyPackets: 1000 });
    assert.equal(await ping(lab.clients[0], SERVER_TUNNEL, 500, '-i0.004'), 500);
    const sessions = server.lines.filter((line) => line.startsWith('session with client0'));
    assert.ok(sessions.length >= 3, server.lines.join('\n'));
  });

  it('serves many clients, each by its own addresses', async () => {
    await using lab = await VpnLab.create(5);
    await lab.start({ statisticsSeconds: 0 });
    await lab.server.setSysctl('net.ipv4.ip_forward', '1');
    await Promise.all(lab.clients.map((client) => pings(client, SERVER_TUNNEL)));
    // From client to client, through the server.
    await Promise.all(lab.clients.map((client, i) => pings(client, tunnelAddress((i + 1) % 5))));
  });

  it('refuses a packet from an inner address that is not the client’s', async () => {
    await using lab = await VpnLab.create(2);
    const { server } = await lab.start();
    const [client] = lab.clients;
    await (await client.link('vpn0')).addAddress(`${tunnelAddress(1)}/32`);
    assert.equal(await ping(client, SERVER_TUNNEL, 4, '-I', tunnelAddress(1)), 0);
    await server.line(/^client0: .* spoofed 4,/, server.lines.length);
    await pings(client, SERVER_TUNNEL);
  });

  it('answers an initiation once, and neither a replayed, an older, a cut nor a changed one', async () => {
    await using lab = await VpnLab.create();
    const { server } = await lab.start();
    const [client] = lab.clients;
    const to = new Endpoint(SERVER, PORT);
    await using stranger = openUdp({ namespace: client, address: wireAddress(0) });
    const answers = stranger.batches();
    const at = (ms: number) => initiate(lab.keys[0], 'chacha20-poly1305', 5, BigInt(Date.now() + ms)).message;
    const first = at(60_000);
    stranger.send(first, to);
    const { value: batch } = await answers.next();
    assert.deepEqual([batch.length, batch.lengthOf(0)], [1, RESPONSE_LENGTH]);

    const changed = Buffer.from(at(61_000));
    changed[INITIATION_LENGTH - 1] ^= 1;
    for (const bad of [first, at(59_000), changed, at(62_000).subarray(0, -1)]) stranger.send(bad, to);
    for (let size = 0; size < 1500; size += 7) stranger.send(Buffer.alloc(size, size), to);
    // What was right is answered after all that, and the answer is the only one.
    stranger.send(at(63_000), to);
    const { value: second } = await answers.next();
    assert.deepEqual([second.length, second.lengthOf(0)], [1, RESPONSE_LENGTH]);
    await server.line(/refused 3,/, server.lines.length);
    // Who has not shown that it has the keys is sent nothing, and the client goes on with its own.
    await pings(lab.server, tunnelAddress(0));
  });

  it('goes on where one batch has the packet of a session and the handshake that ends it', async () => {
    await using lab = await VpnLab.create();
    await lab.start();
    const [client] = lab.clients;
    const to = new Endpoint(SERVER, PORT);
    await using stranger = openUdp({ namespace: client, address: wireAddress(0) });
    const answers = stranger.batches();
    const begin = (ms: number) => initiate(lab.keys[0], 'chacha20-poly1305', 5, BigInt(Date.now() + ms));
    const pending = begin(60_000);
    stranger.send(pending.message, to);
    const keys = pending.complete(Buffer.from((await answers.next()).value.at(0)));
    assert.ok(keys);
    const header = Buffer.alloc(16, Buffer.of(4, 0, 0, 0));
    header.writeUInt32LE(keys.remoteIndex, 4);
    using aead = new Aead('chacha20-poly1305', keys.sendKey, { headerLength: 16 });
    const both = new PacketBatch({ headroom: 16, tailroom: 16 });
    both.push(Buffer.of(0));
    aead.sealBatch(both, header);
    both.push(begin(61_000).message);
    assert.equal(stranger.writeBatch(both, to), 2);
    // The response to the second one: the server still runs.
    const { value } = await answers.next();
    assert.equal(value.lengthOf(value.length - 1), RESPONSE_LENGTH);
  });

  it('comes back when the server was killed and started again', async () => {
    await using lab = await VpnLab.create();
    const { server, clients } = await lab.start();
    await server.stop('SIGKILL');
    const from = clients[0].lines.length;
    await clients[0].line(/^the server is silent/);
    const again = lab.startServer();
    await clients[0].line(/^session with the server/, from);
    await again.line(/^session with client0/);
    await pings(lab.clients[0], SERVER_TUNNEL);
    await pings(lab.server, tunnelAddress(0));
  });

  it('takes all traffic where it may, its own round itself, and leaves nothing when stopped', async () => {
    await using lab = await VpnLab.create();
    const [client] = lab.clients;
    // A link's IPv6 routes of its own come when its carrier does, and duplicate address detection ends.
    const linkLocal = /^.*(fe80:|ff00::\/8).*\n/gm;
    const state = async (namespace: Namespace) => [
      (await ipLinks(namespace)).map(({ ifname }) => ifname),
      (await run(namespace, 'ip', 'rule')).stdout,
      (await run(namespace, 'ip', 'route', 'show', 'table', 'all')).stdout.replace(linkLocal, ''),
    ];
    const lo = await lab.server.link('lo');
    await lo.set({ up: true });
    await lo.addAddress('203.0.113.1/32');
    const before = await Promise.all([state(lab.server), state(client)]);
    const server = lab.startServer();
    await server.line(/is up/);
    const vpn = lab.startClient(0, { allowed: ['0.0.0.0/0'] });
    await vpn.line(/^session with the server/);
    await pings(client, '203.0.113.1');
    const way = async (to: string) =>
      JSON.parse((await run(client, 'ip', '-j', 'route', 'get', to)).stdout)[0].dev;
    assert.deepEqual([await way('198.51.100.9'), await way(SERVER)], ['vpn0', 'eth0']);

    assert.equal(await vpn.stop('SIGINT'), 0);
    assert.equal(await server.stop('SIGTERM'), 0);
    assert.deepEqual(await Promise.all([state(lab.server), state(client)]), before);
  });
});
