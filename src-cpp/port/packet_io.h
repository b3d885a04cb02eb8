#ifndef TUNTAP_PACKET_IO_H_
#define TUNTAP_PACKET_IO_H_

#include <cstddef>
#include <cstdint>

namespace tuntap {

// The largest packet that a device gives or takes: a 65,535-byte IP packet behind an Ethernet header with two
// VLAN tags.
constexpr size_t kMaxPacketSize = 65535 + 14 + 8;

// What one read or write moves at most: that, behind a virtio_net_hdr. A read always offers so much room,
// since the kernel cuts what does not fit in silence.
constexpr size_t kMaxTransferSize = 10 + kMaxPacketSize;

// A batch is one piece of memory: a TableHeader, `capacity` entries, and the slab, in which packets lie one
// after the other, each between its headroom and tailroom. lib/io/packet-batch.ts has the same layout.
// JavaScript can write all of it at any time, so nothing read from it is trusted.
struct TableHeader {
  uint32_t capacity;   // entries
  uint32_t count;      // entries that hold a packet
  uint32_t end;        // where the next slot begins
  uint32_t packets;    // outcome of the last read or write: packets moved,
  uint32_t bytes;      //   their bytes,
  int32_t error;       //   and what ended it: 0, or -errno
  uint32_t malformed;  //   packets that were dropped, since their virtio_net_hdr contradicts them
  uint32_t writer;     // the OffloadPort whose write -EAGAIN ended last; 0 after any other read or write
};

// Positions count from the beginning of the batch's memory.
struct TableEntry {
  uint32_t offset;  // of the packet's first byte
  uint32_t length;  // or kDropped
  int32_t status;   // of the last write: 0, -errno (-EAGAIN: not offered to the kernel), or kAlreadySent
  uint32_t slot;    // where this packet's headroom begins; the slot ends where the next one begins
};

// -EAGAIN ended the write of header()->writer, but the kernel had taken this packet before that. When the
// same writer goes on with the batch, it passes over this packet.
constexpr int32_t kAlreadySent = 1;

// A batch with more entries is refused.
constexpr size_t kMaxCapacity = 4096;

// The length of a packet that was dropped: no write sends it, sealing and opening pass over it.
constexpr uint32_t kDropped = uint32_t{1} << 31;

struct Room {
  uint32_t headroom;
  uint32_t tailroom;
};

class Batch {
 public:
  // Returns 0; -EFAULT if there is no memory, since JavaScript detached it; or -EINVAL if the header does not
  // fit the memory. The memory must not change while this object is used.
  [[nodiscard]] int Take(uint8_t* memory, size_t size);

  uint8_t* memory() const { return memory_; }
  size_t size() const { return size_; }
  TableHeader* header() const { return reinterpret_cast<TableHeader*>(memory_); }
  TableEntry* entries() const { return reinterpret_cast<TableEntry*>(memory_ + sizeof(TableHeader)); }
  size_t capacity() const { return capacity_; }
  size_t slab() const { return slab_; }  // where it begins

  // Where the next packet goes, with room for `length` bytes; nullptr if there is none.
  uint8_t* Reserve(size_t length, Room room) const;
  // The packet is there now, `length` bytes of it; counts it into the outcome.
  void Commit(size_t length, Room room) const;

  // Sets `*data` to packet `index`. Returns its length: 0 if it is empty or was dropped, -EFAULT if it lies
  // outside.
  int64_t Packet(size_t index, const uint8_t** data) const;

  void BeginOutcome() const;

 private:
  uint8_t* memory_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
  size_t slab_ = 0;
};

// The error is not this packet's alone: -EAGAIN, or the device is gone. A TUN device that was deleted gives
// EBADFD, macvtap ENOLINK.
[[nodiscard]] bool EndsWriting(int64_t result);

// Reads packets until the fd has none (error -EAGAIN), the batch is full (error 0), or it fails. They are
// appended behind those that the batch holds; header()->packets counts the new ones.
void ReadPackets(int fd, const Batch& batch, Room room);

// Writes entries `start` to `end`. A packet that the kernel refuses for itself alone gets its -errno as
// status, and the rest go on; header()->error is -EAGAIN where the kernel's queue is full, or the error of a
// device that is gone, and the entries from there on have that status.
void WritePackets(int fd, const Batch& batch, size_t start, size_t end);

// Writes one packet. Returns its length or -errno.
[[nodiscard]] int64_t WritePacket(int fd, const uint8_t* packet, size_t length);

}  // namespace tuntap

#endif  // TUNTAP_PACKET_IO_H_
