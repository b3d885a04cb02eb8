/** What changes while there are sessions: addresses, keys, peers, the device itself. Under a virtual clock. */

import assert from 'node:assert/strict';
import { MessageType } from '#dist/wireguard/messages.js';
import { connect, pair } from './pair.ts';
import { privateKeyFor, TestDevice } from './simulation.ts';

describe('roaming', () => {
  const elsewhere = { address: Buffer.of(198, 51, 100, 7), port: 4242 };

  // Bug 14 of others: initiations only.
  it('follows initiations, responses and fresh data', () => {
    const state = connect(pair());
    const { network, a, b, toA, toB } = state;
    a.source = elsewhere;
    a.send(toB, 'from elsewhere');
    network.run(100);
    b.send(toA, 'to elsewhere');
    network.run(100);
    assert.deepEqual(b.endpoints.get(toA), elsewhere);
    assert.equal(a.received.at(-1), 'to elsewhere');
    // A response that comes from another port than the one that the initiation went to, then data.
    network.run(200_000);
    a.send(toB, 'hello');
    network.after(5, () => {
      b.source = { ...b.source, port: 8 };
    });
    network.run(100);
    assert.equal(a.endpoints.get(toB)?.port, 8);
    b.source = { ...b.source, port: 9 };
    b.send(toA, 'x');
    network.run(100);
    assert.equal(a.endpoints.get(toB)?.port, 9);
    // An initiation from elsewhere.
    a.source = { ...elsewhere, port: 9 };
    network.run(200_000);
    a.send(toB, 'x');
    network.run(15);
    assert.equal(b.endpoints.get(toA)?.port, 9);
  });

  it('does not follow messages that are replayed or forged', () => {
    const state = connect(pair());
    const { b, toA, a } = state;
    const before = b.endpoints.get(toA);
    for (const message of a.sent) {
      b.receive(message, elsewhere);
      for (let i = 4; i < message.length; i += 7) {
        const forged = Buffer.from(message);
        forged[i] ^= 0x20;
        b.receive(forged, elsewhere);
      }
    }
    assert.equal(b.endpoints.get(toA), before);
  });
});

describe('another private key', () => {
  // Bugs 28 and 24 of others: old sessions lived on; a deadlock with oneself as a peer.
  it('ends sending by the sessions there are, which still receive', () => {
    const state = connect(pair());
    const { network, a, b, toA, toB } = state;
    const key = privateKeyFor(9);
    a.protocol.setPrivateKey(key);
    b.send(toA, 'under the old key');
    network.run(100);
    assert.equal(a.received.at(-1), 'under the old key');
    const data = a.count(MessageType.data);
    a.send(toB, 'under the new one');
    network.run(1000);
    assert.equal(a.count(MessageType.data), data);
    assert.equal(a.count(MessageType.initiation), 2, 'at once, although the last one is not 5 s ago');
    b.add(a, false);
    network.run(6000);
    assert.equal(b.received.at(-1), 'under the new one');
  });

  it('removes the peer that is the device itself', () => {
    const { a, b, toB } = connect(pair());
    a.protocol.setPrivateKey(privateKeyFor(2));
    assert.deepEqual(a.publicKey, b.publicKey);
    assert.deepEqual([...a.protocol.peers], []);
    assert.equal(a.protocol.indexCount, 0);
    a.send(toB, 'nothing');
    assert.equal(toB.keypairToSend(0), undefined);
    assert.deepEqual(a.protocol.takeActions(), []);
  });

  it('that is the same one changes nothing', () => {
    const { network, a, b, toB } = connect(pair());
    a.protocol.setPrivateKey(privateKeyFor(1));
    a.send(toB, 'more');
    network.run(100);
    assert.equal(b.received.at(-1), 'more');
    assert.equal(a.count(MessageType.initiation), 1);
  });

  it('that is none stops all, until there is one', () => {
    const { network, a, b, toA, toB } = connect(pair());
    a.protocol.setPrivateKey(undefined);
    assert.equal(a.protocol.publicKey, undefined);
    const before = a.sent.length;
    a.send(toB, 'staged');
    b.protocol.setPrivateKey(undefined);
    b.protocol.setPrivateKey(privateKeyFor(2));
    b.send(toA, 'hello?');
    network.run(20_000);
    assert.equal(a.sent.length, before);
    a.protocol.setPrivateKey(privateKeyFor(1));
    network.run(6_000);
    a.send(toB, 'back');
    network.run(100);
    assert.deepEqual(b.received.slice(-2), ['staged', 'back']);
  });
});

describe('a peer', () => {
  it('that is removed leaves nothing', () => {
    const { network, a, b, toB } = connect(pair());
    toB.setPersistentKeepalive(5, network.now);
    a.protocol.removePeer(toB);
    a.settle();
    assert.deepEqual([a.protocol.indexCount, a.protocol.nextDeadline], [0, Number.POSITIVE_INFINITY]);
    assert.ok(a.transports.every(({ disposed }) => disposed));
    const before = a.sent.length;
    b.send([...b.protocol.peers][0], 'gone');
    toB.dataSent(network.now, 100);
    network.run(60_000);
    assert.equal(a.sent.length, before);
    assert.equal(a.protocol.nextDeadline, Number.POSITIVE_INFINITY);
  });

  it('can be removed in the middle of a handshake and be added again', () => {
    const { network, a, b, toB } = pair();
    a.send(toB, 'never sent');
    network.run(15);
    a.protocol.removePeer(toB);
    network.run(1000);
    assert.deepEqual([a.protocol.indexCount, b.received], [0, []]);
    a.send(a.add(b), 'sent');
    network.run(1000);
    assert.deepEqual(b.received, ['sent']);
  });

  it('is added once', () => {
    const { a, b, toB } = connect(pair());
    assert.equal(a.protocol.addPeer(b.publicKey), toB);
    assert.deepEqual([...a.protocol.peers], [toB]);
  });
});

describe('a device that is stopped', () => {
  // Bug 25 of others: stopped peers consumed handshakes.
  it('answers nothing, forgets its sessions, and begins again when started', () => {
    const state = connect(pair());
    const { network, a, b, toA, toB } = state;
    toA.setPersistentKeepalive(20, network.now);
    b.settle();
    network.run(100);
    b.protocol.stop();
    const before = b.sent.length;
    assert.deepEqual([b.protocol.indexCount, b.protocol.nextDeadline], [0, Number.POSITIVE_INFINITY]);
    a.send(toB, 'lost');
    b.send(toA, 'lost as well');
    network.run(60_000);
    assert.deepEqual([b.sent.length, b.received], [before, ['hello']]);
    assert.ok(a.count(MessageType.initiation) > 5);
    b.protocol.start(network.now);
    b.settle();
    assert.equal(b.sent.length, before + 1, 'because of the persistent keepalive');
    network.run(11_000);
    a.send(toB, 'and on');
    network.run(100);
    assert.equal(b.received.at(-1), 'and on');
  });

  it('has stopped peers, those that are added included', () => {
    const { network, a, b } = pair();
    b.protocol.stop();
    const c = new TestDevice(network, 3);
    const peer = b.add(c);
    peer.setPersistentKeepalive(1, 0);
    b.send(peer, 'staged');
    c.send(c.add(b), 'hello');
    network.run(3000);
    assert.deepEqual([a.sent, b.sent], [[], []]);
    b.protocol.start(network.now);
    b.settle();
    assert.equal(b.count(MessageType.initiation), 1);
  });
});
