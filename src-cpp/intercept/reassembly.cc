#include "intercept/reassembly.h"

#include <algorithm>

#include "offload/header_checksums.h"

namespace tuntap {

Reassembly::Key Reassembly::KeyOf(const IpHeaders& headers) {
  Key key{};
  key.ipv6 = headers.ipv6;
  const size_t addresses = 2 * headers.address_length();
  std::memcpy(key.bytes, headers.source(), addresses);
  uint8_t* const rest = key.bytes + addresses;
  if (headers.ipv6) {
    std::memcpy(rest, headers.ip + headers.fragment_header + 4, 4);
  } else {
    std::memcpy(rest, headers.ip + kIpv4IdentificationOffset, 2);
    rest[2] = headers.protocol;
  }
  return key;
}

void Reassembly::Forget(Packet* packet) {
  packet->used = false;
  packet->data.reset();
}

void Reassembly::Expire(uint64_t now) {
  for (Packet& packet : packets_) {
    if (!packet.used || now - packet.began < kTimeoutMs) continue;
    if (!packet.refused) lost_ += packet.fragments;
    Forget(&packet);
  }
}

size_t Reassembly::pending() const {
  return static_cast<size_t>(
      std::count_if(packets_.begin(), packets_.end(), [](const Packet& packet) { return packet.used; }));
}

Reassembly::Packet* Reassembly::Find(const Key& key, uint64_t now) {
  Packet* place = &packets_[0];
  for (Packet& packet : packets_) {
    if (packet.used && packet.key == key) return &packet;
    if (!place->used) continue;
    if (!packet.used || packet.began < place->began) place = &packet;
  }
  if (place->used && !place->refused) lost_ += place->fragments;
  *place = {};
  place->key = key;
  place->used = true;
  place->began = now;
  place->data.reset(new uint8_t[kHeaderRoom + kMaxIpPacketLength]);
  return place;
}

// Keeps what stands before the fragmented part; the fragment header is left out.
bool Reassembly::StoreHeaders(const IpHeaders& headers, Packet* packet) {
  const size_t length = headers.ipv6 ? headers.fragment_header : headers.transport;
  if (length > kHeaderRoom) return false;
  uint8_t* const to = packet->data.get() + kHeaderRoom - length;
  std::memcpy(to, headers.ip, length);
  if (headers.ipv6) to[headers.next_header_at] = headers.protocol;
  packet->header_length = length;
  return true;
}

// Returns false if the fragment contradicts what has come.
bool Reassembly::Store(const IpHeaders& headers, Packet* packet) {
  const size_t length = headers.end - headers.transport;
  const size_t begin = headers.fragment_at;
  const size_t end = begin + length;
  if (length == 0 || end > kMaxIpPacketLength || (headers.more && length % 8 != 0)) return false;
  if (packet->total != 0 && end > packet->total) return false;
  if (!headers.more && (end < packet->end || (packet->total != 0 && end != packet->total))) return false;

  uint8_t* const to = packet->data.get() + kHeaderRoom + begin;
  const uint8_t* const from = headers.ip + headers.transport;
  const size_t first_unit = begin / 8;
  const size_t last_unit = (end + 7) / 8;
  size_t known = 0;
  for (size_t unit = first_unit; unit < last_unit; unit++) known += packet->units[unit] ? 1 : 0;
  if (known != 0) return known == last_unit - first_unit && std::memcmp(to, from, length) == 0;
  if (begin == 0 && !StoreHeaders(headers, packet)) return false;
  std::memcpy(to, from, length);
  for (size_t unit = first_unit; unit < last_unit; unit++) packet->units[unit] = true;
  packet->received += last_unit - first_unit;
  packet->end = std::max(packet->end, end);
  if (!headers.more) packet->total = end;
  return true;
}

// Completes the headers. Returns the packet's length, 0 if it is too long.
size_t Reassembly::Finish(const Packet& packet) {
  uint8_t* const ip = packet.data.get() + kHeaderRoom - packet.header_length;
  const size_t length = packet.header_length + packet.total;
  if (packet.key.ipv6) {
    if (length - kIpv6HeaderLength > UINT16_MAX) return 0;
    Store16(ip + kIpv6PayloadLengthOffset, static_cast<uint16_t>(length - kIpv6HeaderLength));
    return length <= kMaxIpPacketLength ? length : 0;
  }
  if (length > kMaxIpPacketLength) return 0;
  Store16(ip + kIpv4LengthOffset, static_cast<uint16_t>(length));
  Store16(ip + kIpv4FragmentOffset, 0);
  SetIpv4Checksum(ip, packet.header_length);
  return length;
}

Reassembly::Outcome Reassembly::Add(const uint8_t* bytes, size_t length, uint64_t now, const uint8_t** whole,
                                    size_t* whole_length) {
  IpHeaders headers;
  if (!headers.Read(bytes, length) || !headers.fragment) return Outcome::kWrong;
  Expire(now);
  Packet* const packet = Find(KeyOf(headers), now);
  packet->fragments++;
  if (packet->refused) return Outcome::kWrong;
  if (!Store(headers, packet)) {
    packet->refused = true;
    packet->data.reset();
    return Outcome::kWrong;
  }
  const bool complete =
      packet->total != 0 && packet->header_length != 0 && packet->received == (packet->total + 7) / 8;
  if (!complete) return Outcome::kWaiting;
  *whole_length = Finish(*packet);
  const size_t header_length = packet->header_length;
  whole_ = std::move(packet->data);
  *whole = whole_.get() + kHeaderRoom - header_length;
  Forget(packet);
  return *whole_length == 0 ? Outcome::kWrong : Outcome::kWhole;
}

}  // namespace tuntap
