#include "tunnel/prefix_table.h"

#include <algorithm>
#include <utility>

namespace tuntap {
namespace {

uint64_t LoadBigEndian(const uint8_t* bytes, size_t count) {
  uint64_t value = 0;
  for (size_t i = 0; i < count; i++) value = value << 8 | bytes[i];
  return value;
}

// The `length` highest bits of a word, 0 to 64.
uint64_t Mask(unsigned length) { return length == 0 ? 0 : ~uint64_t{0} << (64 - length); }

unsigned LeadingZeros(uint64_t word) { return word == 0 ? 64 : static_cast<unsigned>(__builtin_clzll(word)); }

}  // namespace

AddressBits AddressBits::OfIpv4(const uint8_t* bytes) { return {LoadBigEndian(bytes, 4) << 32, 0}; }

AddressBits AddressBits::OfIpv6(const uint8_t* bytes) {
  return {LoadBigEndian(bytes, 8), LoadBigEndian(bytes + 8, 8)};
}

bool AddressBits::Bit(unsigned index) const {
  return ((index < 64 ? high >> (63 - index) : low >> (127 - index)) & 1) != 0;
}

AddressBits AddressBits::Prefix(unsigned length) const {
  return {high & Mask(std::min(length, 64U)), length > 64 ? low & Mask(length - 64) : 0};
}

unsigned AddressBits::Common(const AddressBits& a, const AddressBits& b) {
  const unsigned upper = LeadingZeros(a.high ^ b.high);
  return upper < 64 ? upper : 64 + LeadingZeros(a.low ^ b.low);
}

uint32_t PrefixTrie::NewNode(const AddressBits& address, unsigned length, uint32_t value) {
  const Node node = {address.Prefix(length), length, value, {kNone, kNone}};
  if (free_.empty()) {
    nodes_.push_back(node);
    return static_cast<uint32_t>(nodes_.size() - 1);
  }
  const uint32_t index = free_.back();
  free_.pop_back();
  nodes_[index] = node;
  return index;
}

uint32_t PrefixTrie::Set(const AddressBits& address, unsigned length, uint32_t value) {
  Place place = {kNone, 0};
  unsigned common = 0;
  for (uint32_t index; (index = At(place)) != kNone; place = {index, address.Bit(common)}) {
    Node& node = nodes_[index];
    common = std::min({AddressBits::Common(address, node.prefix), length, node.length});
    if (common < node.length) break;
    if (common == length) {
      return std::exchange(node.value, value);
    }
  }
  const uint32_t below = At(place);  // what the new prefix parts from, or lies around
  const uint32_t added = NewNode(address, length, value);
  uint32_t top = added;
  if (below != kNone) {
    if (common < length) {
      top = NewNode(address, common, kNone);
      nodes_[top].children[address.Bit(common)] = added;
    }
    nodes_[top].children[nodes_[below].prefix.Bit(common)] = below;
  }
  At(place) = top;
  return kNone;
}

bool PrefixTrie::Contract(const Place& place) {
  const uint32_t index = At(place);
  const Node& node = nodes_[index];
  if (node.value != kNone || (node.children[0] != kNone && node.children[1] != kNone)) return false;
  At(place) = node.children[0] != kNone ? node.children[0] : node.children[1];
  free_.push_back(index);
  return true;
}

uint32_t PrefixTrie::Remove(const AddressBits& address, unsigned length) {
  Place place = {kNone, 0};
  Place above = place;
  uint32_t index;
  while ((index = At(place)) != kNone) {
    Node& node = nodes_[index];
    if (node.length > length || AddressBits::Common(address, node.prefix) < node.length) return kNone;
    if (node.length == length) {
      const uint32_t value = std::exchange(node.value, kNone);
      if (value == kNone) return kNone;
      if (Contract(place) && place.parent != kNone) Contract(above);
      return value;
    }
    above = std::exchange(place, {index, address.Bit(node.length)});
  }
  return kNone;
}

uint32_t PrefixTrie::Lookup(const AddressBits& address) const {
  uint32_t found = kNone;
  for (uint32_t index = root_; index != kNone;) {
    const Node& node = nodes_[index];
    if (AddressBits::Common(address, node.prefix) < node.length) break;
    if (node.value != kNone) found = node.value;
    if (node.length == 128) break;
    index = node.children[address.Bit(node.length)];
  }
  return found;
}

}  // namespace tuntap
