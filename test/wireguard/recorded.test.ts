/**
 * Two handshakes with wireguard-go 0.0.20220316 as they were on the wire. Keys, clock and randomness of this side are
 * fixed, so the same bytes must come out again, and open what the other side sent.
 */

import assert from 'node:assert/strict';
import { LIMITS } from '#dist/wireguard/environment.js';
import { publicKey } from '#dist/wireguard/keys.js';
import { Protocol } from '#dist/wireguard/protocol.js';
import { privateKeyFor, pseudoRandom, TestTransport } from './simulation.ts';

const hex = (text: string) => Buffer.from(text, 'hex');
const SOURCE = { address: Buffer.of(192, 0, 2, 2), port: 51820 };

const AS_INITIATOR = {
  initiation:
    '01000000eb32c93ea1ee2e61037decf4a07cab68f2fb83e766ca1965b3399344b27b4cc11dab7b646fc786ab261d8a8027f681ecc6decdc60e3d127723598bd50e0343b9ecb093f7ac00338388adab080448d286b38e2aaa7e8ccdb72beca00a65e4dc0af9493edf0af889c197d97274298a8571f7c24095bd85bcc4eb973feb87ee080e00000000000000000000000000000000',
  response:
    '02000000bcf4765aeb32c93e7823fa7106b960d33200beef3d1b8f75bdd1c4986a10ce7c4e8b3eda7825676ead5f6f4b316271ecf9a068e773fd48b8ded1e545229889c63ab593d8edc8c37900000000000000000000000000000000',
  received:
    '04000000eb32c93e00000000000000002c1317b44108ea08ce7bbfd1a0c77eb74df85ca54f4f885154e2e87f25eff65d328c61194eee66f78fea08f9f6ddfc9acae0f50e097fcc0aaba487f29142fc8a',
  plaintext:
    '45000024cc33000040019a1f0a4200010a42000200005260000100017265636f72646564000000000000000000000000',
};
const AS_RESPONDER = {
  initiation:
    '01000000e1f3731e08c643afc3463d0a9ef05bb43c49cfcf1ba824051cc393362fe4ecb2874bdc32c1039706b5e2d305b6f27f6dc221be56a4e1ce7743955e4c5b03b9d969cb980b95dc6dbaf503e82912883f6f3426cc500e81292e952b404582316ac1297eb75b01d14c0eee3f3b9e06d965fbb959b9e91a05b18110f3baa9df210da000000000000000000000000000000000',
  response:
    '020000001876a571e1f3731edf7a0aadf240db30c429d9b4bf9098d941b8b94a2d2ae4d88653f0c85bf51f3374f28f6a1d7c05510cd57adc60c0aab1cf1dd2addb990e2e1c3985f980b7b63f00000000000000000000000000000000',
  received:
    '040000001876a57100000000000000000500525deda40b9e30d7d1c0b6f278a8817075de85bf1beb20aa71ba22f9cf8cb65ddd3dc4b9d3f960f1cad7dd16a5bc9a9a2bc426d51144d413f673d152eec9',
  plaintext:
    '4500002c2ff740004001f6530a4200010a4200020800700224e9000105f9086b000000004baf09000000000000000000',
};

/** This side as it was when the handshakes were recorded. */
function side(seed: number) {
  const random = pseudoRandom(seed);
  const transports: TestTransport[] = [];
  const protocol = new Protocol(
    (parameters) => {
      const transport = new TestTransport(parameters);
      transports.push(transport);
      return transport;
    },
    {
      randomBytes: (size) => Buffer.from(Array.from({ length: size }, () => 256 * random())),
      random: () => 0,
      wallClock: () => 1_800_000_000_123,
      limits: LIMITS,
    },
  );
  protocol.setPrivateKey(privateKeyFor(1));
  const peer = protocol.addPeer(Buffer.from(publicKey(privateKeyFor(2)), 'base64'));
  assert.ok(peer);
  peer.setPresharedKey(privateKeyFor(3));
  const sent = () =>
    protocol
      .takeActions()
      .flatMap((action) => (action.type === 'send' ? [action.message.toString('hex')] : []));
  return { protocol, peer, transports, sent };
}

describe('a recorded handshake with wireguard-go', () => {
  it('as its initiator', () => {
    const { protocol, peer, transports, sent } = side(1);
    peer.reachable = true;
    assert.equal(peer.keypairToSend(0), undefined);
    assert.deepEqual(sent(), [AS_INITIATOR.initiation]);
    protocol.receiveHandshake(hex(AS_INITIATOR.response), SOURCE, 0);
    const [transport] = transports;
    assert.equal(peer.keypairToSend(0)?.transport, transport);
    assert.equal(transport.open(hex(AS_INITIATOR.received))?.toString('hex'), AS_INITIATOR.plaintext);
  });

  it('as its responder', () => {
    const { protocol, peer, transports, sent } = side(2);
    protocol.receiveHandshake(hex(AS_RESPONDER.initiation), SOURCE, 0);
    assert.deepEqual(sent(), [AS_RESPONDER.response]);
    const [transport] = transports;
    assert.equal(peer.keypairToSend(0), undefined, 'it is not confirmed');
    assert.equal(transport.open(hex(AS_RESPONDER.received))?.toString('hex'), AS_RESPONDER.plaintext);
  });
});
