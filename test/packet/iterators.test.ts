import assert from 'node:assert/strict';
import {
  IpProtocol,
  Ipv4Packet,
  Ipv6Packet,
  ipv4Packet,
  ipv6Packet,
  NeighborMessage,
  TcpOptionKind,
  TcpSegment,
  tcpSegment,
} from 'tuntap-native/packet';
import { ipv4PayloadOf, ipv6PayloadOf, packetOf } from './samples.ts';

describe('TcpSegment.eachOption', () => {
  const endpoints = {
    source: '192.0.2.1',
    destination: '192.0.2.2',
    sourcePort: 1,
    destinationPort: 2,
    sequenceNumber: 0,
  };
  const list = (options: Uint8Array) =>
    [...new TcpSegment(tcpSegment({ ...endpoints, options })).eachOption()].map(({ kind, data }) => [
      kind,
      data.toString('hex'),
    ]);

  it('gives the options of a SYN', () => {
    const { MSS, SACK_PERMITTED, TIMESTAMPS, WINDOW_SCALE } = TcpOptionKind;
    assert.deepEqual(
      [...new TcpSegment(ipv4PayloadOf('tcpSyn')).eachOption()].map(({ kind, data }) => [
        kind,
        data.toString('hex'),
      ]),
      [
        [MSS, '05b4'],
        [SACK_PERMITTED, ''],
        [TIMESTAMPS, 'dcae1bc800000000'],
        [WINDOW_SCALE, '0a'],
      ],
    );
  });

  it('gives data that can be changed in place', () => {
    const packet = new Ipv4Packet(packetOf('tcpSyn'));
    const segment = new TcpSegment(packet.payload);
    for (const { kind, data } of segment.eachOption())
      if (kind === TcpOptionKind.MSS) data.writeUInt16BE(1380);
    segment.fillChecksum(packet);
    assert.equal(segment.options.readUInt16BE(2), 1380);
    assert.ok(segment.verifyChecksum(packet));
  });

  const cases: [string, string, unknown[]][] = [
    ['skips padding between options', '01010303070101', [[3, '07']]],
    ['ends at the end of the list', '0303070002040500', [[3, '07']]],
    ['ends at an option of length 0', '03030702000000', [[3, '07']]],
    ['ends at an option of length 1', '03030702010000', [[3, '07']]],
    ['ends at an option longer than the list', '0303070206050500', [[3, '07']]],
    ['ends at a kind without a length', '0303070101010102', [[3, '07']]],
    ['is empty without options', '', []],
  ];
  for (const [name, hex, expected] of cases)
    it(name, () => assert.deepEqual(list(Buffer.from(hex, 'hex')), expected));
});

describe('Ipv6Packet.extensionHeaders', () => {
  const ends = { source: '2001:db8::1', destination: '2001:db8::2' };
  const header = (type: number, hex: string) => ({ type, bytes: Buffer.from(hex, 'hex') });
  const hopByHop = header(IpProtocol.HOPOPTS, '0000050200000100');
  const routing = header(
    IpProtocol.ROUTING,
    '00020400000000002001 0db8 0000 0000 0000 0000 0000 0003'.replaceAll(' ', ''),
  );
  const firstFragment = header(IpProtocol.FRAGMENT, '0000000112345678');
  const laterFragment = header(IpProtocol.FRAGMENT, '0000000812345678');
  const atomicFragment = header(IpProtocol.FRAGMENT, '0000000012345678');
  const options = header(IpProtocol.DSTOPTS, '0001010c000000000000000000000000');
  const authentication = header(IpProtocol.AH, `00040000${'00000100'}${'00000001'}${'ab'.repeat(12)}`);
  const payload = Buffer.from('payload!');

  it('gives every header in its order, and the payload is what follows', () => {
    const extensionHeaders = [hopByHop, options, routing, atomicFragment, authentication, options];
    const packet = new Ipv6Packet(
      ipv6Packet({ ...ends, nextHeader: IpProtocol.TCP, extensionHeaders, payload }),
    );
    assert.deepEqual(
      [...packet.extensionHeaders()].map(({ type, bytes }) => [type, bytes.length]),
      extensionHeaders.map(({ type, bytes }) => [type, bytes.length]),
    );
    assert.deepEqual([packet.nextHeader, packet.upperProtocol], [IpProtocol.HOPOPTS, IpProtocol.TCP]);
    assert.deepEqual(packet.payload, payload);
    assert.equal(packet.isFragment, false, 'an atomic fragment is none');
    assert.equal(packet.identification, 0x12345678);
  });

  it('goes on behind the header of a first fragment', () => {
    const extensionHeaders = [firstFragment, options];
    const packet = new Ipv6Packet(
      ipv6Packet({ ...ends, nextHeader: IpProtocol.UDP, extensionHeaders, payload }),
    );
    assert.deepEqual(
      [packet.upperProtocol, packet.isFragment, packet.fragmentOffset],
      [IpProtocol.UDP, true, 0],
    );
    assert.deepEqual(packet.payload, payload);
  });

  it('stops behind the header of a later fragment, where arbitrary bytes follow', () => {
    const bytes = ipv6Packet({
      ...ends,
      nextHeader: IpProtocol.DSTOPTS,
      extensionHeaders: [laterFragment],
      payload,
    });
    const packet = new Ipv6Packet(bytes);
    assert.deepEqual([packet.upperProtocol, packet.fragmentOffset], [IpProtocol.DSTOPTS, 8]);
    assert.deepEqual(packet.payload, payload);
  });

  for (const name of ['ESP', 'NONE'] as const) {
    it(`stops at ${name}`, () => {
      const bytes = ipv6Packet({
        ...ends,
        nextHeader: IpProtocol[name],
        extensionHeaders: [hopByHop],
        payload,
      });
      const packet = new Ipv6Packet(bytes);
      assert.equal(packet.upperProtocol, IpProtocol[name]);
      assert.deepEqual(packet.payload, payload);
    });
  }

  it('gives what the builder takes', () => {
    const extensionHeaders = [hopByHop, routing, options];
    const bytes = ipv6Packet({ ...ends, nextHeader: IpProtocol.TCP, extensionHeaders, payload });
    const again = new Ipv6Packet(bytes).extensionHeaders();
    assert.deepEqual(
      ipv6Packet({ ...ends, nextHeader: IpProtocol.TCP, extensionHeaders: again, payload }),
      bytes,
    );
  });
});

describe('NeighborMessage.eachOption', () => {
  it('gives every option, of a type that it does not know too', () => {
    const message = new NeighborMessage(
      Buffer.concat([ipv6PayloadOf('neighborSolicitation'), Buffer.from(`0e02${'11'.repeat(14)}`, 'hex')]),
    );
    assert.deepEqual(
      [...message.eachOption()].map(({ type, data }) => [type, data.toString('hex')]),
      [
        [1, '02000000000a'],
        [14, '11'.repeat(14)],
      ],
    );
  });

  it('passes over a link-layer address that is none of Ethernet', () => {
    const bytes = ipv6PayloadOf('neighborSolicitation').subarray(0, 24);
    const infiniBand = Buffer.from(`0103${'22'.repeat(22)}`, 'hex');
    assert.equal(new NeighborMessage(Buffer.concat([bytes, infiniBand])).linkLayerAddress, undefined);
  });
});

describe('IPv4 options', () => {
  it('are padded by the builder and seen by the view', () => {
    const payload = Buffer.from('payload');
    const ends = { source: '192.0.2.1', destination: '224.0.0.22', protocol: IpProtocol.IGMP };
    const packet = new Ipv4Packet(
      ipv4Packet({ ...ends, options: Buffer.from('9404000001', 'hex'), payload }),
    );
    assert.equal(packet.options.toString('hex'), '9404000001000000');
    assert.deepEqual(packet.payload, payload);
    assert.ok(packet.checksumValid);
  });
});
