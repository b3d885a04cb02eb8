/** Which handshake messages count, between two devices of the core on a virtual network. */

import assert from 'node:assert/strict';
import { CookieStore } from '#dist/wireguard/cookie.js';
import { ENVIRONMENT } from '#dist/wireguard/environment.js';
import { MessageType } from '#dist/wireguard/messages.js';
import { connect, type Pair, pair } from './pair.ts';
import { privateKeyFor, TestDevice } from './simulation.ts';

describe('an initiation', () => {
  function record(state: Pair): Buffer {
    state.a.send(state.toB, 'hello');
    state.network.run(1000);
    return state.a.sent[0];
  }

  it('that is replayed gets no answer, however late', () => {
    const state = pair();
    const { network, b, toA } = state;
    const initiation = record(state);
    for (const wait of [100, 5000, 200_000, 600_000]) {
      network.run(wait);
      const before = [b.sent.length, toA.bytesReceived, b.times('endpoint').length];
      b.receive(initiation, { address: Buffer.of(198, 51, 100, 9), port: 9 });
      assert.deepEqual([b.sent.length, toA.bytesReceived, b.times('endpoint').length], before);
    }
  });

  // Bug 27 of others, in one thread: of two with one timestamp, one counts.
  it('is answered within 20 ms of the last one only if another peer sent it', () => {
    const { network, a, b } = pair();
    const c = new TestDevice(network, 3);
    network.path = () => [];
    b.add(c, false);
    const initiations = [0, 1000, 2000, 3000].map((offset) => {
      // The same static key, as if from a restarted device whose clock goes ahead.
      const again = new TestDevice(network, 1, { clockOffset: offset, seed: offset + 1 });
      again.send(again.add(b), 'x');
      return again.sent[0];
    });
    c.send(c.add(b), 'x');
    b.receive(initiations[0], a.source);
    assert.equal(b.sent.length, 1);
    network.run(19);
    b.receive(initiations[1], a.source);
    assert.equal(b.sent.length, 1);
    b.receive(c.sent[0], c.source);
    assert.equal(b.sent.length, 2);
    // The one that came too soon was not remembered.
    network.run(1);
    b.receive(initiations[1], a.source);
    assert.equal(b.sent.length, 3);
    network.run(20);
    b.receive(initiations[3], a.source);
    network.run(20);
    b.receive(initiations[2], a.source);
    assert.equal(b.sent.length, 4);
  });

  it('of a stranger, or of a device to itself, gets no answer', () => {
    const { network, a, b } = pair();
    const stranger = new TestDevice(network, 3);
    stranger.send(stranger.add(b), 'hello');
    network.run(1000);
    assert.deepEqual(b.sent, []);
    assert.equal(a.protocol.addPeer(a.publicKey), undefined);
    const twin = new TestDevice(network, 4, { privateKey: privateKeyFor(2), seed: 9 });
    assert.equal(twin.protocol.addPeer(b.publicKey), undefined);
    assert.deepEqual(twin.sent, []);
  });

  // Bug 17 of others: a panic. The server keeps the greatest timestamp, so a client whose clock went back is unheard.
  it('has a greater timestamp although the clock went back', () => {
    const state = pair();
    const { network, a, b, toA, toB } = state;
    connect(state);
    a.clockOffset = -3600_000;
    network.run(121_000);
    a.send(toB, 'rekey');
    network.run(1000);
    assert.equal(a.times('handshake').length, 2);
    assert.equal(b.times('handshake').length, 2);
    // After a restart nothing helps but time.
    const restarted = new TestDevice(network, 1, { clockOffset: -1000_000, seed: 5 });
    network.devices.splice(network.devices.indexOf(a), 1);
    const answered = toA.bytesSent;
    restarted.send(restarted.add(b), 'hello');
    network.run(60_000);
    assert.equal(toA.bytesSent, answered);
    restarted.clockOffset = 0;
    network.run(6_000);
    assert.equal(b.received.at(-1), 'hello');
  });

  it('may come an hour ahead of the responder’s clock', () => {
    connect(pair({ clockOffset: 3600_000 }));
    connect(pair({ clockOffset: -3600_000 }));
  });
});

describe('a response', () => {
  it('counts once, and only for the pending initiation', () => {
    const state = pair();
    const { network, a, b, toB } = state;
    connect(state);
    const before = [
      a.sent.length,
      toB.bytesReceived,
      a.times('endpoint').length,
      a.times('handshake').length,
    ];
    a.receive(b.sent[0], { address: Buffer.of(198, 51, 100, 9), port: 9 });
    const after = [a.sent.length, toB.bytesReceived, a.times('endpoint').length, a.times('handshake').length];
    assert.deepEqual(after, before);
    network.run(1000);
    assert.equal(a.transports.length, 1);
  });

  it('to an initiation that was retransmitted meanwhile comes too late', () => {
    const { network, a, toB } = pair();
    network.path = (datagram) => [datagram[0] === MessageType.response ? 5400 : 1];
    a.send(toB, 'hello');
    network.run(30_000);
    assert.deepEqual(a.times('handshake'), []);
  });

  it('that is forged does not end the pending handshake', () => {
    const { network, a, b, toB } = pair();
    network.path = (datagram, from, to) => {
      if (datagram[0] !== MessageType.response) return [1];
      // The same message with another ephemeral key and a right mac1, which needs no secret.
      const forged = Buffer.from(datagram);
      forged[12] ^= 1;
      new CookieStore(a.publicKey, ENVIRONMENT).addMacs(forged, 0);
      network.after(1, () => to.receive(forged, from.source));
      return [10];
    };
    a.send(toB, 'hello');
    network.run(100);
    assert.deepEqual(b.received, ['hello']);
  });
});

describe('initiations that cross', () => {
  for (const [what, delay] of [
    ['at once', 0],
    ['after 4 s', 4000],
  ] as const) {
    it(`leave both sides with the same keys: the other begins ${what}`, () => {
      const { network, a, b, toA, toB } = pair();
      b.setEndpoint(toA, a.source);
      network.path = () => [200];
      a.send(toB, 'from a');
      network.run(delay === 0 ? 0 : 100);
      b.send(toA, 'from b');
      network.run(60_000);
      assert.deepEqual([b.received, a.received], [['from a'], ['from b']]);
      const last = Math.max(...a.times('handshake'), ...b.times('handshake'));
      network.run(100_000);
      assert.equal(
        Math.max(...a.times('handshake'), ...b.times('handshake')),
        last,
        'and then there is peace',
      );
    });
  }
});

describe('a peer with a public key of low order', () => {
  it('is accepted, and no handshake with it is ever begun', () => {
    const { network, a } = pair();
    for (const first of [0, 1]) {
      const peer = a.protocol.addPeer(Buffer.alloc(32).fill(first, 0, 1));
      assert.ok(peer);
      a.setEndpoint(peer, { address: Buffer.of(192, 0, 2, 2), port: 51820 });
      a.send(peer, 'hello');
      network.run(10_000);
      assert.deepEqual([a.sent, a.protocol.indexCount], [[], 0]);
    }
  });
});
