/** Messages that were changed, cut, lengthened or made up: never an exception, never an answer, nothing changes. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { CookieStore } from '#dist/wireguard/cookie.js';
import { ENVIRONMENT } from '#dist/wireguard/environment.js';
import { MessageType } from '#dist/wireguard/messages.js';
import { type Pair, pair } from './pair.ts';
import type { TestDevice } from './simulation.ts';

const SOURCE = { address: Buffer.of(203, 0, 113, 5), port: 5 };

/** All that a message could change at a device. */
function state(device: TestDevice): unknown {
  const peers = [...device.protocol.peers].map((peer) => [
    peer.bytesReceived,
    peer.bytesSent,
    peer.latestHandshake,
    peer.nextDeadline,
    device.endpoints.get(peer),
  ]);
  const { indexCount, nextDeadline } = device.protocol;
  return [
    peers,
    indexCount,
    nextDeadline,
    device.sent.length,
    device.received.length,
    device.transports.length,
  ];
}

function ignores(device: TestDevice, message: Buffer, what = ''): void {
  const before = state(device);
  device.receive(message, SOURCE);
  assert.deepEqual(state(device), before, `${what} ${message.toString('hex')}`);
}

/** A message of each type that would be accepted, and a device that would accept it. */
function genuine(type: MessageType): { state: Pair; device: TestDevice; message: Buffer } {
  const state = pair();
  const { network, a, b, toB } = state;
  network.path = () => [];
  a.send(toB, 'hello');
  if (type === MessageType.initiation) return { state, device: b, message: a.sent[0] };
  b.queued = type === MessageType.cookieReply ? 100 : 0;
  b.receive(a.sent[0], a.source);
  if (type !== MessageType.data) return { state, device: a, message: b.sent[0] };
  a.receive(b.sent[0], b.source);
  return { state, device: b, message: a.sent[1] };
}

const TYPES = Object.entries(MessageType);

describe('a message that was tampered with', () => {
  for (const [name, type] of TYPES) {
    it(`is ignored: ${name}, each bit`, () => {
      const { device, message } = genuine(type);
      for (let bit = 0; bit < 8 * message.length; bit++) {
        const changed = Buffer.from(message);
        changed[bit >> 3] ^= 1 << (bit & 7);
        // mac2 means nothing while there is no load.
        const macs = type === MessageType.initiation || type === MessageType.response;
        if (macs && bit >= 8 * (message.length - 16)) continue;
        ignores(device, changed, `bit ${bit}`);
      }
    });

    it(`is ignored: ${name}, cut or lengthened`, () => {
      const { device, message } = genuine(type);
      for (let length = 0; length < message.length; length++) ignores(device, message.subarray(0, length));
      for (const more of [1, 4, 16, 1000, 65_000])
        ignores(device, Buffer.concat([message, randomBytes(more)]));
    });

    it(`is ignored: ${name}, of another type`, () => {
      const { device, message } = genuine(type);
      for (let other = 0; other < 256; other++) {
        if (other === type) continue;
        const changed = Buffer.from(message);
        changed[0] = other;
        ignores(device, changed);
      }
    });

    it(`is accepted as it is: ${name}`, () => {
      const { device, message } = genuine(type);
      const before = state(device);
      device.receive(message, SOURCE);
      // A cookie shows in the next message only.
      if (type === MessageType.cookieReply) assert.deepEqual(state(device), before);
      else assert.notDeepEqual(state(device), before);
    });
  }

  it('is ignored although mac1 is right, which needs no secret', () => {
    for (const type of [MessageType.initiation, MessageType.response]) {
      const { state, device, message } = genuine(type);
      const store = new CookieStore(device.publicKey, ENVIRONMENT);
      // The sender's index is not authenticated: whoever is on the path can make answers go astray.
      for (let i = 8; i < message.length - 32; i++) {
        for (const bit of [0, 3, 7]) {
          const changed = Buffer.from(message);
          changed[i] ^= 1 << bit;
          store.addMacs(changed, state.network.now);
          ignores(device, changed, `byte ${i}`);
        }
      }
    }
  });

  it('gets at most a cookie under load', () => {
    const { state, device, message } = genuine(MessageType.initiation);
    const store = new CookieStore(device.publicKey, ENVIRONMENT);
    device.queued = 1000;
    for (let i = 0; i < 148; i++) {
      const changed = Buffer.from(message);
      changed[i] ^= 1;
      const sent = device.sent.length;
      device.receive(changed, SOURCE);
      assert.equal(device.sent.length, sent + (i >= 132 ? 1 : 0));
      if (i < 4) continue;
      store.addMacs(changed, state.network.now);
      device.receive(changed, SOURCE);
      assert.equal(device.sent.at(-1)?.[0], MessageType.cookieReply);
    }
    assert.equal(device.count(MessageType.response), 0);
    assert.equal(state.toA.bytesReceived, 0);
  });
});

describe('a message that was made up', () => {
  const prefix = fc.constantFrom('', '01000000', '02000000', '03000000', '04000000');
  const bytes = fc
    .tuple(prefix, fc.uint8Array({ maxLength: 300 }), fc.constantFrom(0, 32, 64, 92, 148))
    .map(([start, rest, length]) => {
      const message = Buffer.concat([Buffer.from(start, 'hex'), rest]);
      return length === 0 ? message : Buffer.concat([message, Buffer.alloc(length)]).subarray(0, length);
    });

  it('is ignored in every state of a handshake', () => {
    const devices = TYPES.map(([, type]) => genuine(type).device);
    fc.assert(
      fc.property(bytes, (message) => {
        for (const device of devices) ignores(device, message);
      }),
      { numRuns: 500 },
    );
  });

  it('is ignored although it has an index in use', () => {
    const { state, device } = genuine(MessageType.data);
    const { a, toB } = state;
    a.send(toB, 'x');
    const indices = [device.sent[0].readUInt32LE(4), a.sent[0].readUInt32LE(4)];
    fc.assert(
      fc.property(bytes, fc.constantFrom(...indices), fc.constantFrom(4, 8), (message, index, offset) => {
        if (message.length < 12) return;
        message.writeUInt32LE(index, offset);
        ignores(device, message);
        ignores(a, message);
      }),
      { numRuns: 500 },
    );
  });
});
