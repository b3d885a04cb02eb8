/** The memory that C++ and TypeScript share: sizes, offsets in bytes and numbers of src-cpp/batch/layout.h. */
export const LAYOUT = {
  BatchHeader: 32,
  'BatchHeader.capacity': 0,
  'BatchHeader.count': 4,
  'BatchHeader.end': 8,
  'BatchHeader.packets': 12,
  'BatchHeader.bytes': 16,
  'BatchHeader.error': 20,
  BatchEntry: 16,
  'BatchEntry.offset': 0,
  'BatchEntry.length': 4,
  'BatchEntry.status': 8,
  'BatchEntry.slot': 12,
  kDropped: 0x80000000,
  kMaxCapacity: 4096,
  kSlotAlignment: 8,
  kMaxPacketSize: 65557,
  kMaxTransferSize: 65567,
  DatagramEntry: 64,
  'DatagramEntry.interface': 28,
  'DatagramEntry.local': 32,
  'DatagramEntry.local_family': 48,
  'DatagramEntry.tos': 50,
  'DatagramEntry.flags': 51,
  'DatagramEntry.local_port': 52,
  'DatagramEntry.flow': 56,
  'DatagramEntry.flow_id': 60,
  kHasTos: 1,
  kTruncated: 2,
  SocketErrorRecord: 72,
  'SocketErrorRecord.offender': 28,
  'SocketErrorRecord.error': 56,
  'SocketErrorRecord.info': 60,
  'SocketErrorRecord.origin': 64,
  'SocketErrorRecord.type': 65,
  'SocketErrorRecord.code': 66,
  UdpState: 2336,
  'UdpState.gso': 0,
  'UdpState.gro': 4,
  'UdpState.drops': 8,
  'UdpState.segmented_sends': 12,
  'UdpState.coalesced_reads': 16,
  'UdpState.error_count': 20,
  'UdpState.errors_lost': 24,
  'UdpState.peer_family': 28,
  'UdpState.errors': 32,
  kMaxSegments: 128,
  kReceivedMessages: 16,
  kEnoughDatagrams: 256,
  kReadable: 1,
  kWritable: 2,
  kFailed: 4,
  kArm: 0,
  kInCallback: 1,
  kControlWords: 2,
  kPacketsRead: 0,
  kBytesRead: 1,
  kPacketsWritten: 2,
  kBytesWritten: 3,
  kMalformed: 4,
  kCounters: 5,
  AeadLayout: 20,
  'AeadLayout.nonce_prefix': 16,
  PacketRun: 32,
  kNoValue: 0xffffffff,
} as const;

export type Layout = Readonly<Record<string, number>>;

/** Readiness events. */
export const { kReadable: READABLE, kWritable: WRITABLE, kFailed: FAILED } = LAYOUT;

/** What differs between two layouts, such as `BatchHeader.end is 12, not 8`; undefined if they agree. */
export function layoutDifference(found: Layout = {}, expected: Layout = LAYOUT): string | undefined {
  const names = new Set([...Object.keys(expected), ...Object.keys(found)]);
  const differences = [...names].filter((name) => found[name] !== expected[name]);
  if (differences.length === 0) return undefined;
  return differences.map((name) => `${name} is ${found[name]}, not ${expected[name]}`).join('; ');
}
