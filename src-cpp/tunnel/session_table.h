#pragma once

#include <memory>
#include <unordered_map>

#include "batch/batch_view.h"
#include "crypto/aead.h"
#include "tunnel/inner_packet.h"
#include "tunnel/replay_window.h"

namespace tuntap {

// Parts entries `start` to `end` into runs of one destination's prefix and one ECN field. Entries that are
// no IP packet are of no prefix. Returns the number of runs; `runs` has room for `end` - `start`.
size_t RunsByDestination(const BatchView& batch, size_t start, size_t end, const PrefixTable& prefixes,
                         PacketRun* runs);

// How the datagrams of a protocol name their session.
struct SessionLayout {
  AeadLayout aead;
  uint32_t index_offset;   // of the session's index in the header: 32 bits, little-endian
  uint32_t type;           // the header's first 32 bits, little-endian; other datagrams are left alone
  uint64_t counter_limit;  // packets with this counter or a higher one are refused
};

// The receiving keys of many peers, each under a 32-bit index that the sender writes into each header.
class SessionTable {
 public:
  SessionTable(AeadCipher cipher, const SessionLayout& layout) : cipher_(cipher), layout_(layout) {}

  // Adds a session, or replaces the one under this index, with no counter seen. From BootTime() `until` on it
  // is no longer used. Returns what Aead::Create does.
  [[nodiscard]] int Set(uint32_t index, const uint8_t* key, size_t key_length, uint32_t value, double until);
  // Removes a session and wipes its key; returns whether there was one.
  bool Remove(uint32_t index) { return sessions_.erase(index) != 0; }
  void Clear() { sessions_.clear(); }

  // Opens the datagrams of entries `start` to `end` in place. A datagram that is no data message, or of no
  // session, is left as it is. An authentic, new packet is cut to its IP length; an empty one stays. All
  // else is dropped, with a status: -EBADMSG not authentic, -EALREADY its counter is not new, -ENOMSG no IP
  // packet, -EACCES its source is not in a prefix of the session's value. `sources` may be nullptr:
  // then neither length nor source is looked at. With `datagrams` (one for each entry) congestion that the
  // outer header tells of goes into the inner one. `now` is BootTime(). Returns the number of runs.
  size_t Open(const BatchView& batch, size_t start, size_t end, const PrefixTable* sources,
              const DatagramEntry* datagrams, double now, PacketRun* runs);
  // Whether all datagrams of a batch are data messages of sessions in use.
  bool KnowAll(const BatchView& batch, double now) const;

 private:
  struct Session {
    std::unique_ptr<Aead> aead;
    uint32_t value;
    double until;
    ReplayWindow window;
  };

  Session* Find(uint32_t index, double now) const;
  bool ReadIndex(const BatchView& batch, size_t i, uint32_t* index) const;
  void OpenOne(const BatchView& batch, size_t i, Session* session, const PrefixTable* sources,
               const DatagramEntry* datagrams, PacketRun* run);

  const AeadCipher cipher_;
  const SessionLayout layout_;
  std::unordered_map<uint32_t, std::unique_ptr<Session>> sessions_;
};

}  // namespace tuntap
