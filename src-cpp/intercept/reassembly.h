#pragma once

#include <array>
#include <bitset>
#include <memory>

#include "ip_headers.h"

namespace tuntap {

// Puts fragments of IPv4 and IPv6 packets together (RFC 791 section 3.2, RFC 8200 section 4.5). If fragments
// of a packet overlap or contradict each other, all of that packet is dropped, what comes of it later
// included (RFC 5722, which IPv4 does well to follow too); a fragment that came twice does no harm.
class Reassembly {
 public:
  static constexpr size_t kMaxPackets = 64;  // at once; the oldest one goes
  static constexpr uint64_t kTimeoutMs = 30'000;

  enum class Outcome { kWaiting, kWhole, kWrong };

  // Adds the fragment in `length` bytes. kWhole: `*whole` has the packet's bytes until the next call.
  Outcome Add(const uint8_t* packet, size_t length, uint64_t now, const uint8_t** whole,
              size_t* whole_length);
  // Forgets packets whose other fragments did not come in time.
  void Expire(uint64_t now);

  size_t pending() const;
  uint64_t lost() const { return lost_; }  // fragments that came in vain

 private:
  static constexpr size_t kHeaderRoom = 512;  // for the headers before the fragmented part
  static constexpr size_t kUnits = 8192;      // of 8 bytes

  struct Key {
    uint8_t bytes[40];  // addresses, identification, and protocol (IPv4), 0 (IPv6); zeros behind them
    bool ipv6;
    bool operator==(const Key& other) const {
      return ipv6 == other.ipv6 && std::memcmp(bytes, other.bytes, sizeof(bytes)) == 0;
    }
  };
  struct Packet {
    Key key;
    bool used = false;
    bool refused = false;  // what comes of it is dropped
    uint64_t began = 0;
    uint32_t fragments = 0;
    size_t header_length = 0;  // 0: the first fragment is missing
    size_t total = 0;          // bytes of the fragmented part; 0: the last fragment is missing
    size_t received = 0;       // of these units
    size_t end = 0;            // of the furthest fragment
    std::bitset<kUnits> units;
    std::unique_ptr<uint8_t[]> data;  // headers end at kHeaderRoom, where the fragmented part begins
  };

  static Key KeyOf(const IpHeaders& headers);
  Packet* Find(const Key& key, uint64_t now);
  static bool Store(const IpHeaders& headers, Packet* packet);
  static bool StoreHeaders(const IpHeaders& headers, Packet* packet);
  static size_t Finish(const Packet& packet);
  void Forget(Packet* packet);

  std::array<Packet, kMaxPackets> packets_;
  std::unique_ptr<uint8_t[]> whole_;
  uint64_t lost_ = 0;
};

}  // namespace tuntap
