#pragma once

#include <cstddef>
#include <cstdint>

// The memory that C++ and TypeScript share. lib/native/layout.ts has the same names and numbers; it refuses
// an addon whose numbers differ (node/addon.cc exports them). JavaScript can write this memory at any time,
// so nothing read from it is trusted.

namespace tuntap {

// The largest packet of a device: a 65,535-byte IP packet behind an Ethernet header with two VLAN tags.
constexpr size_t kMaxPacketSize = 65535 + 14 + 8;

// The largest read or write: that packet behind a virtio_net_hdr. Every read offers this much room, since the
// kernel cuts off silently what does not fit.
constexpr size_t kMaxTransferSize = 10 + kMaxPacketSize;

// What reading, writing, sealing or opening did with a batch.
struct Outcome {
  uint32_t packets = 0;    // that were read, taken by the kernel, sealed or opened
  uint32_t bytes = 0;      // of these packets
  int32_t error = 0;       // what ended the operation: 0 or -errno
  uint32_t malformed = 0;  // packets that were dropped, since their virtio_net_hdr contradicts them
  uint32_t writer = 0;     // the VirtioWriter whose write -EAGAIN ended, which can resume it

  void Count(size_t length) {
    packets++;
    bytes += static_cast<uint32_t>(length);
  }
};

// A batch is one piece of memory: a BatchHeader, `capacity` entries, and the data area. There the packets lie
// in slots, one after the other: headroom, packet, tailroom. Positions count from the beginning of the
// memory.
struct BatchHeader {
  uint32_t capacity;  // entries, 1 to kMaxCapacity
  uint32_t count;     // entries that hold a packet
  uint32_t end;       // where the next slot begins
  Outcome outcome;    // of the last operation
};

struct BatchEntry {
  uint32_t offset;  // of the packet's first byte
  uint32_t length;  // or kDropped
  int32_t status;   // of the last operation: 0, -errno (-EAGAIN: not offered to the kernel), or kAlreadySent
  uint32_t slot;    // where this packet's headroom begins; the slot ends where the next one begins
};

constexpr size_t kMaxCapacity = 4096;
constexpr size_t kSlotAlignment = 8;

// The length of a packet that was dropped: no write sends it, sealing and opening pass over it.
constexpr uint32_t kDropped = uint32_t{1} << 31;

// -EAGAIN ended the write of Outcome::writer, but the kernel had taken this packet before that. When the
// same writer resumes, it passes over this packet.
constexpr int32_t kAlreadySent = 1;

// Stands for no prefix, no session and no packet.
constexpr uint32_t kNoValue = UINT32_MAX;

// Consecutive packets of a batch that belong together. JavaScript reads these as rows of 32-bit words
// (lib/io/packet-runs.ts).
struct PacketRun {
  uint32_t start;  // entries `start` to `end` - 1
  uint32_t end;
  uint32_t value;  // of a prefix or a session, or kNoValue
  uint32_t ecn;    // sending: of all the packets. Receiving: the session's index
  // Receiving only.
  uint32_t packets;  // authentic and new ones
  uint32_t data;     // those of them that are not empty
  uint32_t bytes;    // of their datagrams, header and tag included
  uint32_t last;     // the last of them, or kNoValue
};

// What accompanies a datagram. An IPv4 peer of a dual-stack socket has AF_INET here; only the socket sees the
// mapped form of RFC 4291, 2.5.5.2.
struct DatagramEntry {
  uint8_t remote[28];     // sockaddr_in or sockaddr_in6; family 0: none
  uint32_t interface;     // index of the link that it came by; when sending, 0: any
  uint8_t local[16];      // its address on this host: 4 or 16 bytes
  uint16_t local_family;  // AF_INET, AF_INET6, or 0: not known; when sending, the kernel's choice
  uint8_t tos;            // TOS or traffic class, whose low two bits are ECN (RFC 3168)
  uint8_t flags;          // DatagramFlags
  uint32_t local_port;    // its port on this host, where packets are intercepted; 0: the socket's
  uint32_t flow;          // intercepted: the slot of its flow,
  uint32_t flow_id;       //   and which one this is
};

enum DatagramFlags : uint8_t { kHasTos = 1, kTruncated = 2 };

// An error that came for a datagram sent earlier (ip(7), IP_RECVERR).
struct SocketErrorRecord {
  uint8_t remote[28];    // the peer that the datagram was for
  uint8_t offender[28];  // the host that reported it; family 0: not known
  int32_t error;         // -errno
  uint32_t info;         // the path MTU for EMSGSIZE
  uint8_t origin;        // SO_EE_ORIGIN_*; 0: the socket's pending error alone
  uint8_t type;          // of the ICMP message
  uint8_t code;
  uint8_t reserved[5];
};

// What a UDP socket tells JavaScript. A DatagramEntry for each packet of the batch read last follows it.
struct UdpState {
  static constexpr size_t kErrors = 32;

  uint32_t gso;              // whether runs of packets leave as one send
  uint32_t gro;              // whether the kernel may coalesce what it receives
  uint32_t drops;            // datagrams that the kernel dropped since the receive buffer was full
  uint32_t segmented_sends;  // UDP_SEGMENT sends
  uint32_t coalesced_reads;  // UDP_GRO super-packets
  uint32_t error_count;      // records in `errors`; JavaScript empties it
  uint32_t errors_lost;      // records that had no place
  uint32_t peer_family;      // of the connected peer, if any; an IPv6 socket's may be AF_INET
  SocketErrorRecord errors[kErrors];
};

// What one read of a UDP socket brings at most: messages until there are kEnoughDatagrams, and then a call's
// messages of kMaxSegments each (UDP_MAX_SEGMENTS since Linux 6.9).
constexpr size_t kMaxSegments = 128;
constexpr size_t kReceivedMessages = 16;
constexpr size_t kEnoughDatagrams = 256;

// What is ready, and what is armed.
enum ReadyEvents : int {
  kReadable = 1,
  kWritable = 2,
  // The fd reports an error condition, as a TUN fd does when its device was deleted; what was armed holds,
  // too.
  kFailed = 4,
};

// The words that a watched Descriptor shares, to be armed without a call (node/descriptor.h). While
// JavaScript records packets, no forwarder takes them.
enum ControlWord : size_t { kArm, kInCallback, kRecording, kControlWords };

// The words in which native code tells that it has translated a batch of connections and written it, not all
// of which the kernel took: whether, how many packets it took, and the errno that ended the write.
enum NatWord : size_t { kNatWritten, kNatWrittenPackets, kNatWrittenError, kNatWords };

// The words of a Shortcut (tunnel/shortcut.h): for each direction how many runs it carried, 0 if it left the
// batch to JavaScript, how many packets the kernel took, and the errno that ended the write. The tunnel's
// MTU. And how many ShortcutBooks there are.
enum ShortcutWord : size_t {
  kShortcutSentRuns,
  kShortcutSentPackets,
  kShortcutSentError,
  kShortcutReceivedRuns,
  kShortcutReceivedPackets,
  kShortcutReceivedError,
  kShortcutMtu,
  kShortcutBooks,
  kShortcutWords
};

// What a Shortcut did for a peer since JavaScript looked last. Times are BootTime().
struct ShortcutBook {
  double peer;
  double session;  // the index of the session that the datagrams belong to
  double sent_bytes;
  double sent_at;  // the last time
  double received_bytes;
  double received_at;
  double has_data;  // whether any of the received packets is not empty
};

// A Shortcut's packets are padded to a multiple of this.
constexpr uint32_t kShortcutPadding = 16;

// What a Channel transferred, as float64.
enum Counter : size_t { kPacketsRead, kBytesRead, kPacketsWritten, kBytesWritten, kMalformed, kCounters };

}  // namespace tuntap
