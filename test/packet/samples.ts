/**
 * Ethernet frames that Linux sent over a veth pair (checksum offload off), captured with tcpdump: 192.0.2.1,
 * 2001:db8::1 and 02:00:00:00:00:0a on one side, .2, ::2 and :0b on the other.
 */

function frame(...hex: string[]): Buffer {
  return Buffer.from(hex.join(''), 'hex');
}

const A_TO_B = '02000000000b02000000000a';
const B_TO_A = '02000000000a02000000000b';

export const samples = {
  arpRequest: frame(
    'ffffffffffff02000000000a',
    '0806',
    '0001080006040001',
    '02000000000ac0000201000000000000c0000202',
  ),
  arpReply: frame(B_TO_A, '0806', '0001080006040002', '02000000000bc000020202000000000ac0000201'),

  /** `ping -c1 -s16 192.0.2.2` */
  echoRequest: frame(
    A_TO_B,
    '0800',
    '4500002cb6a6400040010027c0000201c0000202',
    '08004ab80df1000193f4046b0000000006f6000000000000',
  ),
  echoReply: frame(
    B_TO_A,
    '0800',
    '4500002c503900004001a694c0000202c0000201',
    '000052b80df1000193f4046b0000000006f6000000000000',
  ),

  /** `ping -c1 -s16 2001:db8::2` */
  echoRequestV6: frame(
    A_TO_B,
    '86dd',
    '6009a7b500183a40',
    '20010db8000000000000000000000001',
    '20010db8000000000000000000000002',
    '800021d80df2000193f4046b000000005b0d010000000000',
  ),
  echoReplyV6: frame(
    B_TO_A,
    '86dd',
    '6008dd5f00183a40',
    '20010db8000000000000000000000002',
    '20010db8000000000000000000000001',
    '810020d80df2000193f4046b000000005b0d010000000000',
  ),

  neighborSolicitation: frame(
    '3333ff00000202000000000a86dd',
    '6000000000203aff',
    '20010db8000000000000000000000001',
    'ff0200000000000000000001ff000002',
    '87001c1e00000000',
    '20010db8000000000000000000000002',
    '010102000000000a',
  ),
  neighborAdvertisement: frame(
    B_TO_A,
    '86dd',
    '6000000000203aff',
    '20010db8000000000000000000000002',
    '20010db8000000000000000000000001',
    '88008a6860000000',
    '20010db8000000000000000000000002',
    '020102000000000b',
  ),
  /** Duplicate address detection, with the nonce option of RFC 7527. */
  duplicateAddressDetection: frame(
    '3333ff00000a02000000000a86dd',
    '6000000000203aff',
    '00000000000000000000000000000000',
    'ff0200000000000000000001ff00000a',
    '8700156d00000000',
    'fe80000000000000000000fffe00000a',
    '0e01edcd0cb15f1e',
  ),
  /** Behind hop-by-hop options: router alert and padding. */
  multicastListenerReport: frame(
    '33330000001602000000000a86dd',
    '6000000000380001',
    'fe80000000000000000000fffe00000a',
    'ff020000000000000000000000000016',
    '3a00050200000100',
    '8f006fda00000002',
    '04000000ff0200000000000000000001ff00000a',
    '04000000ff0200000000000000000001ff000001',
  ),

  tcpSyn: frame(
    A_TO_B,
    '0800',
    '4500003c7edb4000400637ddc0000201c0000202',
    'e6381388f10a4a2600000000a002faf09b9f0000',
    '020405b40402080adcae1bc8000000000103030a',
  ),
  tcpData: frame(
    A_TO_B,
    '0800',
    '450000397edd4000400637dec0000201c0000202',
    'e6381388f10a4a270850bb0a8018003fe4940000',
    '0101080adcae1bc95d447bfc',
    '68656c6c6f',
  ),

  udp: frame(A_TO_B, '0800', '45000021b4144000401102b4c0000201c0000202', 'd83b14e9000d3ec3', '7175657279'),
  portUnreachable: frame(
    B_TO_A,
    '0800',
    '45c0003d513300004001a4c9c0000202c0000201',
    '0303811f00000000',
    '45000021b4144000401102b4c0000201c0000202d83b14e9000d3ec37175657279',
  ),
  udpV6: frame(
    A_TO_B,
    '86dd',
    '600056c3000d1140',
    '20010db8000000000000000000000001',
    '20010db8000000000000000000000002',
    '9be714e9000da3a6',
    '7175657279',
  ),

  /** The third and last fragment of `ping -s3000`, shortened to 8 bytes of data with the lengths and checksum. */
  lastFragment: frame(A_TO_B, '0800', '4500001cb6c2017240013ea9c0000201c0000202', '88898a8b8c8d8e8f'),
  lastFragmentV6: frame(
    A_TO_B,
    '86dd',
    '6009a7b500102c40',
    '20010db8000000000000000000000001',
    '20010db8000000000000000000000002',
    '3a000b5099ad919d',
    '48494a4b4c4d4e4f',
  ),

  /** By hand: a service tag around a customer tag around 802.3's length field, 3 bytes of LLC and padding. */
  doubleTagged: frame('0180c2000000', '02000000000a', '88a86064', '8100f00a', '0003', '424203', '000000'),
};

/** Length of the Ethernet header of the untagged samples. */
const ETHERNET_HEADER = 14;

/** The IP packet (or ARP packet) in a sample, as a TUN device would give it. */
export function packetOf(name: keyof typeof samples): Buffer {
  return Buffer.from(samples[name].subarray(ETHERNET_HEADER));
}

/** What follows an IPv4 header without options. */
export function ipv4PayloadOf(name: keyof typeof samples): Buffer {
  return packetOf(name).subarray(20);
}

/** What follows an IPv6 header. */
export function ipv6PayloadOf(name: keyof typeof samples): Buffer {
  return packetOf(name).subarray(40);
}

/** A copy with some bytes replaced: `{ 2: 0xff }`. */
export function patched(bytes: Uint8Array, changes: Readonly<Record<number, number>>): Buffer {
  const copy = Buffer.from(bytes);
  for (const [at, value] of Object.entries(changes)) copy[Number(at)] = value;
  return copy;
}
