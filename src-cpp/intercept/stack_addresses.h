#pragma once

#include <cstdint>

#include "intercept/slot_table.h"

namespace tuntap {

// What the stack sees. It listens at 100.64.0.1 and fd74:6e74:6e61:7400::1, and connections come from the
// same networks: 22 bits of the address and 15 bits of the port are the slot and its generation. The way back
// is an array index, and a slot that is taken again has other ends than before, whatever the stack remembers.
class StackAddresses {
 public:
  // The port that the stack listens at, as it lies in memory.
  StackAddresses(uint16_t ipv4_port, uint16_t ipv6_port) : ipv4_port_(ipv4_port), ipv6_port_(ipv6_port) {}

  PacketEnd Listener(bool ipv4) const {
    return {ipv4 ? kIpv4Listener : kIpv6Listener, ipv4 ? ipv4_port_ : ipv6_port_};
  }

  // The end that a slot has inside the stack; its address is in `address`.
  PacketEnd Of(bool ipv4, uint32_t slot, uint32_t generation, uint8_t (&address)[16]) const {
    const uint32_t host = generation << kHighBits | slot >> kPortBits;
    std::memcpy(address, ipv4 ? kIpv4Network : kIpv6Network, sizeof(address));
    if (ipv4) {
      Store32(address, Load32(address) | host);
    } else {
      Store32(address + 12, host);
    }
    return {address, htons(static_cast<uint16_t>(kFirstPort | (slot & (kFirstPort - 1))))};
  }

  // The slot and generation of an end, or false for any other one.
  static bool Decode(bool ipv4, const PacketEnd& end, uint32_t* slot, uint32_t* generation) {
    uint32_t host = 0;
    if (ipv4) {
      host = Load32(end.address) ^ Load32(kIpv4Network);
    } else {
      if (std::memcmp(end.address, kIpv6Network, 12) != 0) return false;
      host = Load32(end.address + 12);
    }
    const uint16_t port = ntohs(end.port);
    if (host >> 22 != 0 || port < kFirstPort) return false;
    *slot = (host & ((1U << kHighBits) - 1)) << kPortBits | (port & (kFirstPort - 1));
    *generation = host >> kHighBits;
    return true;
  }

 private:
  static constexpr uint32_t kPortBits = 15;
  static constexpr uint32_t kHighBits = kSlotBits - kPortBits;
  static constexpr uint32_t kFirstPort = 1U << kPortBits;
  static constexpr uint8_t kIpv4Network[16] = {100, 64};
  static constexpr uint8_t kIpv4Listener[16] = {100, 64, 0, 1};
  static constexpr uint8_t kIpv6Network[16] = {0xfd, 0x74, 0x6e, 0x74, 0x6e, 0x61, 0x74};
  static constexpr uint8_t kIpv6Listener[16] = {0xfd, 0x74, 0x6e, 0x74, 0x6e, 0x61, 0x74, 0,
                                                0,    0,    0,    0,    0,    0,    0,    1};

  const uint16_t ipv4_port_;
  const uint16_t ipv6_port_;
};

}  // namespace tuntap
