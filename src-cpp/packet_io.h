#ifndef TUNTAP_PACKET_IO_H_
#define TUNTAP_PACKET_IO_H_

#include <cstddef>
#include <cstdint>

namespace tuntap {

// The largest packet that a device gives or takes: a 65,535-byte IP packet behind an Ethernet header with two
// VLAN tags. A read always offers that much room, since the kernel cuts what does not fit in silence.
constexpr size_t kMaxPacketSize = 65535 + 14 + 8;

// A batch: packets that lie one after the other in `slab`, each between its headroom and tailroom, and a
// table that says where. lib/device/packet-batch.ts has the same layout. JavaScript can write both at any
// time, so nothing read from the table is trusted.
struct TableEntry {
  uint32_t offset;  // of the packet's first byte in the slab
  uint32_t length;  // 0: passed over when writing
  int32_t status;   // of the last write: 0, or -errno; -EAGAIN: not offered to the kernel
  uint32_t slot;    // where this packet's headroom begins; the slot ends where the next one begins
};

struct TableHeader {
  uint32_t end;      // where the next slot begins
  uint32_t packets;  // outcome of the last operation: packets moved,
  uint32_t bytes;    //   their bytes,
  int32_t error;     //   and what ended it: 0, or -errno
};

struct Batch {
  uint8_t* slab;
  size_t slab_size;
  TableHeader* header;
  TableEntry* entries;
  size_t capacity;  // of `entries`
};

struct Room {
  uint32_t headroom;
  uint32_t tailroom;
};

// Reads packets until the fd has none (error -EAGAIN), the batch is full (error 0), or it fails. They are
// appended behind the `count` entries that the batch holds; header->packets counts the new ones.
void ReadPackets(int fd, const Batch& batch, size_t count, Room room);

// Writes entries `start` to `end`. A packet that the kernel refuses for itself alone gets its -errno as
// status, and the rest go on; header->error is -EAGAIN where the kernel's queue is full, or the error of a
// device that is gone, and the entries from there on have that status.
void WritePackets(int fd, const Batch& batch, size_t start, size_t end);

// Writes one packet. Returns its length or -errno.
[[nodiscard]] int64_t WritePacket(int fd, const uint8_t* packet, size_t length);

}  // namespace tuntap

#endif  // TUNTAP_PACKET_IO_H_
