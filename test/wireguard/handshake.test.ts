/** Handshakes between two devices of the core on a virtual network: what is sent, what counts, what is refused. */

import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { blake2s } from '#dist/wireguard/crypto.js';
import type { TransportParameters } from '#dist/wireguard/keypair.js';
import { MessageType } from '#dist/wireguard/messages.js';
import { Protocol } from '#dist/wireguard/protocol.js';
import { INITIAL_CHAINING_KEY, INITIAL_HASH } from '#dist/wireguard/symmetric-state.js';
import { connect, pair } from './pair.ts';
import { privateKeyFor, type TestDevice, TestTransport } from './simulation.ts';

const types = (device: TestDevice) => device.sent.map((datagram) => datagram[0]);
const PSK = Buffer.alloc(32, 7);

describe('a handshake', () => {
  it('starts from the hashes of the names of protocol and authors', () => {
    const hash = (...parts: readonly Uint8Array[]) => {
      const out = Buffer.alloc(32);
      blake2s(out, Buffer.alloc(0), ...parts);
      return out;
    };
    const construction = Buffer.from('Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s');
    assert.deepEqual(INITIAL_CHAINING_KEY, hash(construction));
    assert.deepEqual(
      INITIAL_HASH,
      hash(INITIAL_CHAINING_KEY, Buffer.from('WireGuard v1 zx2c4 Jason@zx2c4.com')),
    );
  });

  it('takes an initiation and a response; the staged data confirm it', () => {
    const { network, a, b, toA, toB } = pair();
    a.send(toB, 'hello');
    network.run(1000);
    assert.deepEqual(types(a), [MessageType.initiation, MessageType.data]);
    assert.deepEqual(types(b), [MessageType.response]);
    assert.deepEqual([a.sent[0].length, b.sent[0].length], [148, 92]);
    assert.deepEqual(b.received, ['hello']);
    assert.deepEqual([a.times('handshake'), b.times('handshake')], [[20], [30]]);
    // The other way it goes on without another handshake.
    b.send(toA, 'welcome');
    network.run(1000);
    assert.deepEqual(a.received, ['welcome']);
    assert.equal(a.count(MessageType.initiation) + b.count(MessageType.initiation), 1);
  });

  it('is confirmed by a keepalive where no data wait', () => {
    const { network, a, b, toB } = pair();
    toB.setPersistentKeepalive(25, 0);
    a.settle();
    network.run(1000);
    assert.deepEqual(types(a), [MessageType.initiation, MessageType.data]);
    assert.equal(a.sent[1].length, 32);
    assert.deepEqual(b.times('handshake'), [30]);
  });

  it('lets the responder send only once it is confirmed', () => {
    const { network, a, b, toA, toB } = pair();
    network.path = (datagram) => (datagram[0] === MessageType.data && datagram.length === 32 ? [] : [10]);
    toB.setPersistentKeepalive(3, 0);
    a.settle();
    network.run(500);
    b.send(toA, 'too soon');
    network.run(1000);
    assert.deepEqual([types(b), a.received], [[MessageType.response], []]);
    a.send(toB, 'now');
    network.run(500);
    assert.deepEqual([b.received, a.received], [['now'], ['too soon']]);
  });

  it('sends what was staged, the oldest dropped beyond 128', () => {
    const { network, a, b, toB } = pair();
    for (let i = 0; i < 200; i++) a.send(toB, `${i}`);
    network.run(1000);
    assert.deepEqual(
      b.received,
      Array.from({ length: 128 }, (_, i) => `${i + 72}`),
    );
    assert.equal(a.count(MessageType.initiation), 1);
  });

  it('gives both sides the same two keys and each other’s indices, and wipes what it gave', () => {
    const given: TransportParameters[] = [];
    const copies: string[][] = [];
    const create = (parameters: TransportParameters) => {
      given.push(parameters);
      copies.push([parameters.sending, parameters.receiving].map((key) => key.toString('hex')));
      return new TestTransport(parameters);
    };
    const [one, other] = [1, 2].map((number) => {
      const protocol = new Protocol(create);
      protocol.setPrivateKey(privateKeyFor(number));
      return protocol;
    });
    const peer = one.addPeer(other.publicKey as Buffer);
    other.addPeer(one.publicKey as Buffer);
    assert.ok(peer);
    peer.reachable = true;
    assert.equal(peer.keypairToSend(0), undefined);
    const source = { address: Buffer.of(192, 0, 2, 1), port: 1 };
    const message = (protocol: typeof one) => {
      const action = protocol.takeActions().find(({ type }) => type === 'send');
      return action?.type === 'send' ? action.message : Buffer.alloc(0);
    };
    other.receiveHandshake(message(one), source, 0);
    one.receiveHandshake(message(other), source, 0);
    assert.deepEqual(copies[0], copies[1].toReversed());
    assert.notEqual(copies[0][0], copies[0][1]);
    assert.equal(given[0].localIndex, given[1].remoteIndex);
    assert.equal(given[0].remoteIndex, given[1].localIndex);
    assert.ok(
      given.every(({ sending, receiving }) => [...sending, ...receiving].every((byte) => byte === 0)),
    );
  });

  // Bug 16 of others: sequential indices.
  it('has other indices each time, 32 random bits', () => {
    const { network, a, b, toB } = pair();
    network.path = () => [];
    a.send(toB, 'hello');
    network.run(90_000);
    const indices = a.sent.map((datagram) => datagram.readUInt32LE(4));
    assert.equal(indices.length, 18);
    assert.equal(new Set(indices).size, 18);
    assert.ok(indices.some((index) => index > 0xffffff && index & 0xff));
    assert.equal(a.protocol.indexCount, 1, 'the index of an initiation goes with the next one');
    assert.deepEqual(b.sent, []);
  });

  it('has other keys and another timestamp in each retransmission', () => {
    const { network, a, toB } = pair();
    network.path = () => [];
    a.send(toB, 'hello');
    network.run(12_000);
    const fields = [
      [8, 40],
      [40, 88],
      [88, 116],
      [116, 132],
    ];
    for (const [start, end] of fields) {
      assert.equal(new Set(a.sent.map((datagram) => datagram.toString('hex', start, end))).size, 3);
    }
  });

  it('counts whole UDP payloads, handshakes included', () => {
    const { network, a, toA, toB } = pair();
    a.send(toB, 'hello');
    network.run(1000);
    assert.deepEqual([toB.bytesSent, toB.bytesReceived], [148 + 48, 92]);
    assert.deepEqual([toA.bytesSent, toA.bytesReceived], [92, 148 + 48]);
  });

  // Bug 22 of others: a handshake 54 years ago.
  it('is the latest one only once it is complete: for the initiator by the response, for the responder by data', () => {
    const { network, a, toA, toB } = pair({}, { clockOffset: -5000 });
    const epoch = 1_700_000_000_000;
    assert.deepEqual([toA.latestHandshake, toB.latestHandshake], [undefined, undefined]);
    a.send(toB, 'hello');
    network.run(25);
    assert.deepEqual([toA.latestHandshake, toB.latestHandshake], [undefined, epoch + 20]);
    network.run(25);
    assert.deepEqual([toA.latestHandshake, toB.latestHandshake], [epoch + 30 - 5000, epoch + 20]);
  });

  it('sends nothing without an endpoint, and begins when there is one', () => {
    const { network, a, b, toA } = pair();
    toA.setPersistentKeepalive(25, 0);
    b.send(toA, 'nobody');
    network.run(200_000);
    assert.deepEqual(b.sent, []);
    b.setEndpoint(toA, a.source);
    b.send(toA, 'somebody');
    network.run(1000);
    assert.deepEqual(a.received, ['nobody', 'somebody']);
  });

  it('does not show secrets when a peer or a device is printed', () => {
    const state = pair();
    state.toA.setPresharedKey(PSK);
    state.toB.setPresharedKey(PSK);
    connect(state);
    const shown = inspect([state.a.protocol, state.toA, state.toB], { depth: 20, showHidden: true });
    assert.ok(!/07 07 07|7, *7, *7/.test(shown));
  });
});

describe('a preshared key', () => {
  it('that both have works', () => {
    const state = pair();
    for (const peer of [state.toA, state.toB]) peer.setPresharedKey(PSK);
    assert.ok(state.toA.hasPresharedKey);
    connect(state);
  });

  it('that differs is noticed by the initiator, who goes on trying', () => {
    const { network, a, b, toA, toB } = pair();
    toB.setPresharedKey(PSK);
    a.send(toB, 'hello');
    network.run(12_000);
    assert.deepEqual(types(a), [1, 1, 1]);
    assert.deepEqual(types(b), [2, 2, 2]);
    assert.deepEqual([toB.latestHandshake, toA.latestHandshake, b.received], [undefined, undefined, []]);
    assert.deepEqual([toB.bytesReceived, a.times('endpoint')], [0, []]);
  });

  // Bug 6 of others: a changed one was never used.
  it('that is changed counts from the next handshake on', () => {
    const state = pair();
    const { network, a, b, toA, toB } = state;
    connect(state);
    for (const peer of [toA, toB]) peer.setPresharedKey(PSK);
    network.run(121_000);
    a.send(toB, 'still the old keys');
    network.run(1000);
    a.send(toB, 'new ones');
    network.run(1000);
    assert.deepEqual(b.received, ['hello', 'still the old keys', 'new ones']);
    assert.equal(b.times('handshake').length, 2);
    toA.setPresharedKey(undefined);
    assert.ok(!toA.hasPresharedKey);
    network.run(121_000);
    a.send(toB, 'rekey');
    network.run(12_000);
    assert.equal(b.times('handshake').length, 2);
    for (const peer of [toA, toB]) peer.setPresharedKey(Buffer.alloc(32));
    network.run(12_000);
    assert.equal(b.times('handshake').length, 3);
  });
});
