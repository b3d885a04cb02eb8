import assert from 'node:assert/strict';
import {
  describe as describePacket,
  Icmpv4Packet,
  Icmpv4Type,
  IpProtocol,
  Ipv4Packet,
  type Ipv4PacketFields,
  icmpv4Packet,
  ipv4Packet,
  ipv6Packet,
} from 'tuntap-native/packet';
import { Endpoint } from 'tuntap-native/tunnel';
import { createOverlay, type Overlay, type Peer } from '../../examples/flannel/backends/overlay.ts';
import { parseNetwork } from '../../examples/flannel/network.ts';

const PEER: Peer = { address: '192.0.2.2', port: 8285, endpoint: new Endpoint('192.0.2.2', 8285) };
const echo = icmpv4Packet({ type: Icmpv4Type.ECHO_REQUEST });

function packet(fields: Partial<Ipv4PacketFields> = {}): Buffer {
  const ends = { source: '10.244.1.2', destination: '10.244.2.2' };
  return ipv4Packet({ ...ends, protocol: IpProtocol.ICMP, payload: echo, ...fields });
}

describe("what the Flannel example's host does with a packet", () => {
  let overlay: Overlay;
  let answers: Ipv4Packet[];
  beforeEach(() => {
    answers = [];
    overlay = createOverlay(parseNetwork('10.244.1.0/24'), (error) => answers.push(new Ipv4Packet(error)));
    overlay.routes.set('10.244.2.0/24', PEER);
  });
  const types = (): number[] => answers.map((answer) => new Icmpv4Packet(answer.payload).type);

  it('counts the TTL down, and the header checksum stays right', () => {
    for (const ttl of [2, 64, 255]) {
      const bytes = packet({ ttl });
      assert.equal(overlay.outbound(bytes), PEER);
      const sent = new Ipv4Packet(bytes);
      assert.equal(sent.ttl, ttl - 1);
      assert.ok(sent.checksumValid);
    }
    assert.deepEqual(answers, []);
  });

  it('sends nothing whose TTL ends, and tells its sender', () => {
    for (const ttl of [0, 1]) assert.equal(overlay.outbound(packet({ ttl })), undefined);
    assert.deepEqual(types(), [Icmpv4Type.TIME_EXCEEDED, Icmpv4Type.TIME_EXCEEDED]);
    assert.deepEqual([answers[0].source, answers[0].destination], ['10.244.1.0', '10.244.1.2']);
    assert.match(describePacket(answers[0].bytes, 'tun'), /time exceeded/);
  });

  it('tells the sender that a network is unreachable, in answer to ICMP too', () => {
    assert.equal(overlay.outbound(packet({ destination: '10.244.9.9' })), undefined);
    assert.deepEqual(types(), [Icmpv4Type.DESTINATION_UNREACHABLE]);
    assert.equal(new Icmpv4Packet(answers[0].payload).code, 0);
  });

  it('never answers an ICMP error, a group, or a later fragment', () => {
    const error = icmpv4Packet({ type: Icmpv4Type.TIME_EXCEEDED, payload: Buffer.alloc(28) });
    const fragment = packet({ destination: '10.244.9.9' });
    fragment.writeUInt16BE(185, 6);
    for (const bytes of [
      packet({ destination: '10.244.9.9', payload: error }),
      packet({ destination: '224.0.0.1' }),
      fragment,
    ]) {
      assert.equal(overlay.outbound(bytes), undefined);
    }
    assert.deepEqual(answers, []);
  });

  it('answers a flood with a thousand errors a second at most', () => {
    const started = performance.now();
    for (let i = 0; i < 5000; i++) overlay.outbound(packet({ destination: '10.244.9.9' }));
    const seconds = Math.ceil((performance.now() - started) / 1000) + 1;
    assert.ok(
      answers.length >= 1000 && answers.length <= 1000 * seconds,
      `${answers.length} in ${seconds} s`,
    );
  });

  it('passes over IPv6 and garbage without an answer', () => {
    const ipv6 = ipv6Packet({
      source: 'fe80::1',
      destination: 'ff02::2',
      nextHeader: IpProtocol.NONE,
      payload: Buffer.alloc(0),
    });
    for (const bytes of [ipv6, Buffer.of(0x45), packet().subarray(0, 19), Buffer.alloc(40)]) {
      assert.equal(overlay.outbound(bytes), undefined);
      assert.equal(overlay.inbound(bytes), undefined);
    }
    assert.deepEqual(answers, []);
  });

  it('lets in what the host of the source address sends to this subnet, and leaves the TTL alone', () => {
    const back = { source: '10.244.2.2', destination: '10.244.1.2' };
    const bytes = packet({ ...back, ttl: 1 });
    const before = Buffer.from(bytes);
    assert.equal(overlay.inbound(bytes), PEER);
    assert.deepEqual(bytes, before);
    assert.equal(overlay.inbound(packet({ ...back, ttl: 0 })), undefined);
    assert.equal(overlay.inbound(packet({ ...back, source: '10.244.3.2' })), undefined);
    assert.equal(overlay.inbound(packet({ ...back, destination: '10.244.3.2' })), undefined);
    assert.equal(overlay.inbound(packet({ ...back, destination: '192.0.2.1' })), undefined);
  });
});
