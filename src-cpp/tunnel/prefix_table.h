#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "batch/layout.h"

namespace tuntap {

// An IPv4 or IPv6 address as a number whose highest bit is the address's first. An IPv4 address fills the
// upper half of `high`.
struct AddressBits {
  uint64_t high = 0;
  uint64_t low = 0;

  // `bytes` are in network order.
  static AddressBits OfIpv4(const uint8_t* bytes);
  static AddressBits OfIpv6(const uint8_t* bytes);

  bool Bit(unsigned index) const;
  // The address with all bits from `length` on set to zero.
  AddressBits Prefix(unsigned length) const;
  // How many leading bits two addresses share, 0 to 128.
  static unsigned Common(const AddressBits& a, const AddressBits& b);
};

// Prefixes of one address family, each with a number; finds the longest one that an address lies in. A binary
// trie without nodes of a single child, as net/wireguard/allowedips.c in Linux has it: a lookup visits one
// node for each prefix around the address and at most one more between two of them.
class PrefixTrie {
 public:
  static constexpr uint32_t kNone = kNoValue;

  // Gives a prefix its number; returns the one that it had, or kNone. Bits beyond `length` are ignored.
  uint32_t Set(const AddressBits& address, unsigned length, uint32_t value);
  // Removes a prefix; returns the number that it had, or kNone.
  uint32_t Remove(const AddressBits& address, unsigned length);
  // The number of the longest prefix that the address lies in, or kNone.
  uint32_t Lookup(const AddressBits& address) const;

 private:
  struct Node {
    AddressBits prefix;
    unsigned length;
    uint32_t value;  // kNone: the node only parts two subtries
    uint32_t children[2];
  };

  // Where the index of a node is kept: in a child of another one, or as the root.
  struct Place {
    uint32_t parent;
    unsigned side;
  };

  uint32_t& At(const Place& place) {
    return place.parent == kNone ? root_ : nodes_[place.parent].children[place.side];
  }
  uint32_t NewNode(const AddressBits& address, unsigned length, uint32_t value);
  // Takes a node without a number and with fewer than two children out; returns whether it did.
  bool Contract(const Place& place);

  std::vector<Node> nodes_;
  std::vector<uint32_t> free_;
  uint32_t root_ = kNone;
};

}  // namespace tuntap
