// Super-packets in tables against packets that were built one by one, and headers that lie.

#include "../../src-cpp/offload/segmentation.h"

#include <cerrno>

#include "check.h"
#include "packets.h"

using namespace tuntap;

namespace {

// A copy whose end is the end of its allocation, for AddressSanitizer.
Bytes Exact(const Bytes& bytes) { return Bytes(bytes.begin(), bytes.end()); }

int Begin(Segmenter& segmenter, const VirtioNetHeader& header, Bytes& packet, Link link) {
  return segmenter.Begin(header, packet.data(), packet.size(), LayerOf(link));
}

// What has to come out, built from the description alone (linux: tcp_gso_segment(), __udp_gso_segment(),
// inet_gso_segment()).
std::vector<Bytes> ExpectedSegments(const Packet& super, size_t gso_size) {
  std::vector<Bytes> segments;
  Packet segment = super;
  for (size_t at = 0; at == 0 || at < super.payload.size(); at += gso_size) {
    const size_t end = std::min(at + gso_size, super.payload.size());
    segment.payload =
        Bytes(super.payload.begin() + static_cast<long>(at), super.payload.begin() + static_cast<long>(end));
    segment.identification = static_cast<uint16_t>(super.identification + segments.size());
    segment.sequence = super.sequence + static_cast<uint32_t>(at);
    segment.flags = super.flags;
    if (at != 0) segment.flags &= static_cast<uint8_t>(~0x80);                      // CWR
    if (end != super.payload.size()) segment.flags &= static_cast<uint8_t>(~0x09);  // FIN, PSH
    segments.push_back(Build(segment));
  }
  return segments;
}

void CheckSplit(const char* name, const Packet& super, uint16_t gso_size, VirtioNetHeader header) {
  const std::vector<Bytes> expected = ExpectedSegments(super, gso_size);
  Bytes packet = Exact(BuildUnfinished(super));
  const Bytes before = packet;
  Segmenter segmenter;
  const int count = Begin(segmenter, header, packet, super.link);
  CHECK(count == static_cast<int>(expected.size()), "%s: %d packets, not %zu", name, count, expected.size());
  if (count == 1) {
    CHECK(segmenter.Done() && segmenter.NextLength() == 0, "%s", name);
    CHECK(packet == expected[0], "%s: %s, not %s", name, Hex(packet).c_str(), Hex(expected[0]).c_str());
    return;
  }
  for (size_t i = 0; i < expected.size(); i++) {
    CHECK(!segmenter.Done(), "%s: done after %zu", name, i);
    Bytes out(segmenter.NextLength(), 0xff);  // poisoned: nothing stale may shine through
    CHECK(out.size() == expected[i].size(), "%s, packet %zu: %zu bytes, not %zu", name, i, out.size(),
          expected[i].size());
    segmenter.Next(out.data());
    CHECK(out == expected[i], "%s, packet %zu: %s, not %s", name, i, Hex(out).c_str(),
          Hex(expected[i]).c_str());
  }
  CHECK(segmenter.Done() && segmenter.NextLength() == 0, "%s", name);
  CHECK(packet == before, "%s: the super-packet was changed", name);
}

void CheckSplit(const char* name, const Packet& super, uint16_t gso_size) {
  CheckSplit(name, super, gso_size, SuperHeader(super, gso_size));
}

Packet Super(bool ipv6, bool udp, size_t payload_length) {
  Random random(payload_length + 2 * ipv6 + udp);
  Packet packet;
  packet.ipv6 = ipv6;
  packet.udp = udp;
  packet.payload = RandomBytes(random, payload_length);
  return packet;
}

const Bytes kTimestamps = {1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8};
// Hop-by-hop options with a router alert and padding (RFC 2711), then destination options with padding; each
// names the header behind it.
Bytes ExtensionHeaders(uint8_t protocol) {
  return {60, 0, 5, 2, 0, 0, 1, 0, protocol, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
}

void SplitsEveryKind() {
  for (const Link link : {Link::kIp, Link::kEthernet, Link::kVlan, Link::kTwoVlans}) {
    for (const bool ipv6 : {false, true}) {
      for (const bool udp : {false, true}) {
        for (const size_t segments : {1u, 2u, 3u, 45u}) {
          for (const size_t tail : {0u, 1u, 2u, 1439u}) {
            Packet super = Super(ipv6, udp, (segments - 1) * 1440 + (tail == 0 ? 1440 : tail));
            super.link = link;
            CheckSplit("every kind", super, 1440);
          }
        }
      }
    }
  }
}

void KeepsWhatIsNotStamped() {
  Packet super = Super(false, false, 4000);
  super.ip_options = {0x94, 4, 0, 0};  // router alert (RFC 2113)
  super.tcp_options = kTimestamps;
  super.tos = 0xb9;
  super.ttl = 3;
  super.urgent = 5;
  super.reserved = 1;
  CheckSplit("IP options", super, 1440);
  super.ip_options = Bytes(40, 1);
  super.tcp_options = Bytes(40, 1);
  CheckSplit("the longest headers", super, 1380);

  for (const bool udp : {false, true}) {
    Packet extended = Super(true, udp, 5000);
    extended.first_extension = 0;
    extended.extension_headers = ExtensionHeaders(udp ? 17 : 6);
    CheckSplit("extension headers", extended, 1400);
    VirtioNetHeader header = SuperHeader(extended, 1400);
    header.flags = 0;
    CheckSplit("extension headers, checksum from the addresses", extended, 1400, header);
  }
}

struct Route {
  const char* name;
  Bytes header;  // IPv4 options, or a routing header, whose first byte is put right
  Bytes final_destination;
};

const Bytes kEnd = {198, 51, 100, 2};

const Route kIpv4Routes[] = {
    {"loose", {131, 7, 4, 198, 51, 100, 2, 0}, kEnd},
    {"strict", {137, 7, 4, 198, 51, 100, 2, 1}, kEnd},
    {"behind padding", {1, 131, 7, 4, 198, 51, 100, 2}, kEnd},
    {"behind another option", {0x94, 4, 0, 0, 131, 7, 4, 198, 51, 100, 2, 0}, kEnd},
    {"two hops", {131, 11, 4, 198, 51, 100, 1, 198, 51, 100, 2, 0}, kEnd},
    {"the second of two hops", {131, 11, 8, 198, 51, 100, 1, 198, 51, 100, 2, 0}, kEnd},
    {"nine hops",
     {131, 39, 36, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0,   0,  0,   4, 0,
      0,   0,  5,  0, 0, 0, 6, 0, 0, 0, 7, 0, 0, 0, 8, 198, 51, 100, 2, 0},
     kEnd},
    {"at its end", {131, 7, 8, 198, 51, 100, 2, 0}, {}},
    {"at the end of two hops", {137, 11, 12, 198, 51, 100, 1, 198, 51, 100, 2, 0}, {}},
    {"behind the end of the list", {0, 131, 7, 4, 198, 51, 100, 2}, {}},
    {"no address", {131, 3, 4, 1}, {}},
    {"half an address", {131, 5, 4, 198, 51, 1, 1, 1}, {}},
    {"a pointer before the addresses", {131, 7, 3, 198, 51, 100, 2, 0}, {}},
    {"longer than the header", {131, 11, 4, 198, 51, 100, 2, 0}, {}},
    {"cut off", {1, 1, 1, 131}, {}},
    {"behind an option of length 0", {7, 0, 131, 7, 4, 198, 51, 100, 2, 0, 0, 0}, {}},
    {"record route, which is none", {7, 7, 4, 198, 51, 100, 2, 0}, {}},
};

Bytes Ipv6Address(uint8_t last) { return {0x20, 1, 0xd, 0xb8, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, last}; }

// A routing header with the four bytes in front of its addresses.
Bytes RoutingHeader(uint8_t type, uint8_t left, const Bytes& four, const Bytes& addresses) {
  Bytes header = {0, static_cast<uint8_t>(addresses.size() / 8), type, left};
  Append(header, four);
  Append(header, addresses);
  return header;
}

std::vector<Route> Ipv6Routes() {
  const Bytes none(4);
  Bytes two = Ipv6Address(1);
  Append(two, Ipv6Address(2));
  Bytes with_options = two;
  Append(with_options, {5, 6, 0, 0, 0, 0, 0, 0});
  // RPL: the destination is 2001:db8::c8, and the addresses have its first bytes.
  const Bytes near = {0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 8};
  const Bytes two_bytes_each = {0, 1, 0, 2, 7, 8, 0, 0};
  const Bytes last_is_longer = {0, 1, 0, 2, 0, 0, 7, 8};
  Bytes one_byte_each = {1, 2, 3, 4, 5, 6, 7, 8};
  Bytes nearest = near;
  nearest[14] = 0;
  return {
      {"type 0", RoutingHeader(0, 1, none, Ipv6Address(2)), Ipv6Address(2)},
      {"type 0, two hops", RoutingHeader(0, 2, none, two), Ipv6Address(2)},
      {"type 0, the second of two hops", RoutingHeader(0, 1, none, two), Ipv6Address(2)},
      {"type 0, at its end", RoutingHeader(0, 0, none, two), {}},
      {"type 0, more left than there are", RoutingHeader(0, 3, none, two), {}},
      {"type 0, no address", RoutingHeader(0, 1, none, {}), {}},
      {"type 2", RoutingHeader(2, 1, none, Ipv6Address(2)), Ipv6Address(2)},
      {"type 2, at its end", RoutingHeader(2, 0, none, Ipv6Address(2)), {}},
      {"RPL", RoutingHeader(3, 3, {0xee, 0x20, 0, 0}, two_bytes_each), near},
      {"RPL, at its end", RoutingHeader(3, 0, {0xee, 0x20, 0, 0}, two_bytes_each), {}},
      {"RPL, more left than there are", RoutingHeader(3, 4, {0xee, 0x20, 0, 0}, two_bytes_each), {}},
      {"RPL, the last one longer", RoutingHeader(3, 3, {0xec, 0, 0, 0}, last_is_longer), near},
      {"RPL, an odd number of bytes", RoutingHeader(3, 8, {0xff, 0, 0, 0}, one_byte_each), nearest},
      {"RPL, whole addresses", RoutingHeader(3, 2, none, two), Ipv6Address(2)},
      {"RPL, padding longer than the header", RoutingHeader(3, 1, {0, 0xf0, 0, 0}, {}), {}},
      {"segments", RoutingHeader(4, 1, {1, 0, 0, 0}, two), Ipv6Address(1)},
      {"segments, two left", RoutingHeader(4, 2, {1, 0, 0, 0}, two), Ipv6Address(1)},
      {"segments, with options", RoutingHeader(4, 1, {1, 0, 0, 0}, with_options), Ipv6Address(1)},
      {"segments, at their end", RoutingHeader(4, 0, {1, 0, 0, 0}, two), {}},
      {"an unknown type", RoutingHeader(250, 1, none, two), {}},
  };
}

// RFC 8200 section 8.1: the checksum covers the address where a source route ends.
void FollowsSourceRoutes() {
  for (const bool udp : {false, true}) {
    const auto check = [udp](const Route& route, Packet super) {
      super.final_destination = route.final_destination;
      CheckSplit(route.name, super, 1400);
      VirtioNetHeader header = SuperHeader(super, 1400);
      header.flags = 0;
      CheckSplit(route.name, super, 1400, header);
      super.payload.resize(100);
      CheckSplit(route.name, super, 1400, header);
    };
    for (const Route& route : kIpv4Routes) {
      Packet super = Super(false, udp, 3000);
      super.ip_options = route.header;
      check(route, super);
    }
    for (const Route& route : Ipv6Routes()) {
      Packet super = Super(true, udp, 3000);
      super.first_extension = 43;
      super.extension_headers = route.header;
      super.extension_headers[0] = udp ? 17 : 6;
      check(route, super);
      super.extension_headers.insert(super.extension_headers.begin(), {43, 0, 1, 4, 0, 0, 0, 0});
      super.first_extension = 60;
      check(route, super);
    }
    // RFC 6275 section 6.4: a type 2 header follows the other one, and is the last to be processed.
    Packet super = Super(true, udp, 3000);
    super.first_extension = 43;
    super.extension_headers = RoutingHeader(0, 1, Bytes(4), Ipv6Address(1));
    super.extension_headers[0] = 43;
    Append(super.extension_headers, RoutingHeader(2, 1, Bytes(4), Ipv6Address(2)));
    super.extension_headers[24] = udp ? 17 : 6;
    check({"two routing headers", {}, Ipv6Address(2)}, super);
  }
}

// What else may change the pseudo-header, such as a home address option (RFC 6275 section 6.3), only the
// kernel's sum tells.
void TrustsTheSumBehindExtensionHeaders() {
  Packet super = Super(true, false, 3000);
  super.extension_headers = {6, 2, 1, 2, 0, 0, 201, 16};
  Append(super.extension_headers, Ipv6Address(9));
  Packet home = super;
  home.host = 99;  // stands for the home address in the pseudo-header
  Bytes packet = BuildUnfinished(super);
  Put16(packet, super.TransportOffset() + 16, PseudoSum(home));
  Segmenter segmenter;
  CHECK(Begin(segmenter, SuperHeader(super, 1400), packet, super.link) == 3, "home address option");
  for (uint32_t at = 0; !segmenter.Done(); at += 1400) {
    Bytes out(segmenter.NextLength());
    segmenter.Next(out.data());
    home.payload.resize(out.size() - super.HeaderLength());
    const size_t transport = super.TransportOffset();
    const uint32_t sum =
        AddSums(PseudoSum(home), ReferenceSum(out.data() + transport, out.size() - transport));
    CHECK(sum == 0xffff, "home address option, at %u: %x", at, sum);
  }
}

void StampsTcp() {
  for (const int flags : {0x10, 0x18, 0x11, 0x19, 0x90, 0xd9, 0x50, 0xff}) {
    for (const bool ipv6 : {false, true}) {
      Packet super = Super(ipv6, false, 3001);
      super.flags = static_cast<uint8_t>(flags);
      CheckSplit("flags", super, 1000);
      super.payload.resize(1000);
      CheckSplit("flags of a super-packet of one segment", super, 1000);
      VirtioNetHeader header = SuperHeader(super, 1000);
      header.gso_type |= VIRTIO_NET_HDR_GSO_ECN;
      CheckSplit("the ECN bit", super, 1000, header);
    }
  }
  Packet super = Super(false, false, 8 * 1000);
  super.sequence = 0xffffffffu - 2500;
  super.identification = 0xfffd;
  CheckSplit("sequence and identification wrap", super, 1000);
  super.sequence = 0xffffffff;
  super.identification = 0xffff;
  super.fragment = 0;
  CheckSplit("sequence and identification wrap at once", super, 1000);

  // AccECN (RFC 9768): CWR stays on every segment.
  super.flags = 0x90;
  VirtioNetHeader header = SuperHeader(super, 1000);
  header.gso_type |= VIRTIO_NET_HDR_GSO_ACCECN;
  Bytes packet = BuildUnfinished(super);
  Segmenter segmenter;
  CHECK(Begin(segmenter, header, packet, super.link) == 8, "AccECN");
  while (!segmenter.Done()) {
    Bytes out(segmenter.NextLength());
    segmenter.Next(out.data());
    CHECK(out[33] == 0x90, "AccECN: flags %x", out[33]);
  }
}

void SplitsEverySize() {
  for (const bool ipv6 : {false, true}) {
    for (const bool udp : {false, true}) {
      const size_t header = Super(ipv6, udp, 0).HeaderLength();
      for (const size_t segments : {64u, 65u, 128u, 129u, 500u}) {
        CheckSplit("many segments", Super(ipv6, udp, (segments - 1) * 48 + 1), 48);
        CheckSplit("many segments", Super(ipv6, udp, segments * 48), 48);
      }
      for (const uint16_t mss : {1, 2, 48, 511, 536, 1220, 1448, 8948, 65535}) {
        CheckSplit("65,535 bytes", Super(ipv6, udp, 65535 - header), mss);
      }
      if (ipv6) CheckSplit("the longest IPv6 packet", Super(true, udp, 65535 + 40 - header), 1440);
      for (size_t length = 1; length < 200; length++) CheckSplit("every length", Super(ipv6, udp, length), 7);
    }
  }
}

// A datagram whose checksum comes out as zero carries 0xFFFF (RFC 768), a segment of TCP carries zero.
void SendsComputedZero() {
  for (const bool ipv6 : {false, true}) {
    for (const bool udp : {false, true}) {
      Packet super = Super(ipv6, udp, 20);
      super.payload.assign(20, 0);
      // The payload of the second segment makes up for everything else.
      Packet second = super;
      second.payload.resize(10);
      second.sequence += 10;
      second.identification++;
      const Bytes without = Build(second);
      const size_t checksum = second.TransportOffset() + second.ChecksumOffset();
      super.payload[10] = without[checksum];
      super.payload[11] = without[checksum + 1];
      const Bytes built = ExpectedSegments(super, 10)[1];
      CHECK(built[checksum] * 256 + built[checksum + 1] == (udp ? 0xffff : 0), "the test's own packet");
      CheckSplit("computed zero", super, 10);
      second.payload[0] = super.payload[10];
      second.payload[1] = super.payload[11];
      CheckSplit("computed zero in one segment", second, 10);
      Bytes packet = BuildUnfinished(second);
      VirtioNetHeader header = SuperHeader(second, 0);
      header.gso_type = VIRTIO_NET_HDR_GSO_NONE;
      Segmenter segmenter;
      CHECK(Begin(segmenter, header, packet, second.link) == 1, "computed zero without segmentation");
      CHECK(packet == Build(second), "computed zero without segmentation: %s", Hex(packet).c_str());
    }
  }
}

void CompletesChecksums() {
  for (const Link link : {Link::kIp, Link::kEthernet, Link::kVlan, Link::kTwoVlans}) {
    for (const bool ipv6 : {false, true}) {
      for (const bool udp : {false, true}) {
        for (size_t length = 0; length < 70; length++) {
          Packet plain = Super(ipv6, udp, length);
          plain.link = link;
          VirtioNetHeader header = SuperHeader(plain, 0);
          header.gso_type = VIRTIO_NET_HDR_GSO_NONE;
          Bytes packet = BuildUnfinished(plain);
          Segmenter segmenter;
          CHECK(Begin(segmenter, header, packet, link) == 1 && segmenter.Done(), "length %zu", length);
          CHECK(packet == Build(plain), "length %zu: %s", length, Hex(packet).c_str());
          for (const uint8_t flags : {0, 2}) {  // nothing, DATA_VALID
            Bytes untouched = BuildUnfinished(plain);
            const Bytes before = untouched;
            header = {flags, VIRTIO_NET_HDR_GSO_NONE, 1, 2, 3, 4};
            CHECK(Begin(segmenter, header, untouched, link) == 1 && untouched == before, "flags %d", flags);
          }
        }
      }
    }
  }
}

struct Lie {
  const char* name;
  void (*tell)(VirtioNetHeader& header, Bytes& packet);
};

// Each is told about a valid super-packet over IPv4 or IPv6, TCP or UDP; all have to be refused.
const Lie kLies[] = {
    {"gso_size 0", [](auto& header, auto&) { header.gso_size = 0; }},
    {"UFO", [](auto& header, auto&) { header.gso_type = 3; }},
    {"an unknown type", [](auto& header, auto&) { header.gso_type = 2; }},
    {"a tunnel", [](auto& header, auto&) { header.gso_type |= 0x20; }},
    {"ECN on UDP", [](auto& header, auto&) { header.gso_type = header.gso_type == 5 ? 0x85 : 0x83; }},
    {"AccECN on UDP", [](auto& header, auto&) { header.gso_type = header.gso_type == 5 ? 0x15 : 0x13; }},
    {"ECN alone", [](auto& header, auto&) { header.gso_type = 0x80; }},
    {"the other version",
     [](auto& header, auto&) { header.gso_type = header.gso_type == 1   ? 4
                                                 : header.gso_type == 4 ? 1
                                                                        : 99; }},
    {"the other protocol",
     [](auto& header, auto& packet) {
       header.gso_type = header.gso_type != 5 ? 5 : packet[0] >> 4 == 4 ? 1 : 4;
     }},
    {"RSC_INFO", [](auto& header, auto&) { header.flags |= 4; }},
    {"csum_start 0", [](auto& header, auto&) { header.csum_start = 0; }},
    {"csum_start in the IP header", [](auto& header, auto&) { header.csum_start -= 4; }},
    {"csum_start behind", [](auto& header, auto&) { header.csum_start += 4; }},
    {"csum_start out of range", [](auto& header, auto&) { header.csum_start = 0xffff; }},
    {"csum_offset", [](auto& header, auto&) { header.csum_offset += 2; }},
    {"csum_offset out of range", [](auto& header, auto&) { header.csum_offset = 0xffff; }},
    {"the version", [](auto&, auto& packet) { packet[0] ^= 0x20; }},
    {"no IP version", [](auto&, auto& packet) { packet[0] = 0; }},
    {"a byte less", [](auto&, auto& packet) { packet.pop_back(); }},
    {"a byte more", [](auto&, auto& packet) { packet.push_back(0); }},
    {"half of the headers", [](auto&, auto& packet) { packet.resize(30); }},
    {"one byte", [](auto&, auto& packet) { packet.resize(1); }},
    {"TCP header too short",
     [](auto& header, auto& packet) {
       if (header.gso_type == 5)
         header.gso_size = 0;
       else
         packet[header.csum_start + 12u] = 0x40;
     }},
    {"TCP header past the end",
     [](auto& header, auto& packet) {
       if (header.gso_type == 5)
         header.gso_size = 0;
       else {
         packet.resize(header.csum_start + 24u);
         packet[header.csum_start + 12u] = 0xf0;
       }
     }},
    {"UDP length",
     [](auto& header, auto& packet) {
       if (header.gso_type != 5)
         header.gso_size = 0;
       else
         packet[header.csum_start + 5u] ^= 1;
     }},
    {"IHL too short",
     [](auto& header, auto& packet) {
       if (packet[0] >> 4 == 6)
         header.gso_size = 0;
       else
         packet[0] = 0x44;
     }},
    {"IHL too long",
     [](auto& header, auto& packet) {
       if (packet[0] >> 4 == 6)
         header.gso_size = 0;
       else
         packet[0] = 0x4f;
     }},
    {"a fragment",
     [](auto& header, auto& packet) {
       if (packet[0] >> 4 == 6)
         packet[6] = 44;
       else {
         packet[6] = 0x20;
         header.flags |= 0;
       }
     }},
    {"an offset", [](auto&, auto& packet) { packet[0] >> 4 == 6 ? packet[6] = 44 : packet[7] = 1; }},
    {"another protocol", [](auto&, auto& packet) { packet[0] >> 4 == 6 ? packet[6] = 58 : packet[9] = 1; }},
    {"an extension header that is none",
     [](auto&, auto& packet) { packet[0] >> 4 == 6 ? packet[6] = 0 : packet[9] = 0; }},
};

void RefusesLies() {
  for (const Lie& lie : kLies) {
    for (const bool ipv6 : {false, true}) {
      for (const bool udp : {false, true}) {
        const Packet super = Super(ipv6, udp, 3000);
        VirtioNetHeader header = SuperHeader(super, 1000);
        Bytes packet = BuildUnfinished(super);
        lie.tell(header, packet);
        packet = Exact(packet);
        Segmenter segmenter;
        const int count = Begin(segmenter, header, packet, super.link);
        CHECK(count == -EINVAL && segmenter.Done(), "%s, IPv%d, %s: %d", lie.name, ipv6 ? 6 : 4,
              udp ? "UDP" : "TCP", count);
      }
    }
  }

  const Packet plain = Super(false, true, 10);
  const struct {
    const char* name;
    uint16_t start, offset;
    size_t length;
  } checksums[] = {
      {"before the IP header's end", 19, 6, 38},
      {"at the end", 38, 0, 38},
      {"half outside", 20, 17, 38},
      {"far outside", 0xffff, 0xffff, 38},
      {"in a packet too short", 20, 0, 21},
      {"in one byte", 20, 6, 1},
  };
  for (const auto& checksum : checksums) {
    Bytes packet = Build(plain);
    packet.resize(checksum.length);
    packet = Exact(packet);
    Segmenter segmenter;
    const VirtioNetHeader header = {1, 0, 0, 0, checksum.start, checksum.offset};
    CHECK(Begin(segmenter, header, packet, Link::kIp) == -EINVAL, "a checksum %s", checksum.name);
  }
  // Any length of a valid super-packet, on both link layers.
  for (const bool ipv6 : {false, true}) {
    for (const Link link : {Link::kIp, Link::kTwoVlans}) {
      Packet super = Super(ipv6, false, 200);
      super.link = link;
      const Bytes whole = BuildUnfinished(super);
      for (size_t length = 1; length < whole.size(); length++) {
        Bytes cut(whole.begin(), whole.begin() + static_cast<long>(length));
        Segmenter segmenter;
        CHECK(Begin(segmenter, SuperHeader(super, 100), cut, link) == -EINVAL, "cut to %zu", length);
      }
    }
  }
  // A header chain of kilobytes would have to be copied before every byte of payload.
  Packet endless = Super(true, false, 2000);
  endless.extension_headers = Bytes(2040);
  endless.extension_headers[0] = 6;
  endless.extension_headers[1] = 254;
  Bytes packet = BuildUnfinished(endless);
  Segmenter segmenter;
  CHECK(Begin(segmenter, SuperHeader(endless, 1), packet, Link::kIp) == -EINVAL, "an endless header");
}

void BeginsAnewAfterALie() {
  const Packet super = Super(false, false, 3000);
  Bytes packet = BuildUnfinished(super);
  Segmenter segmenter;
  CHECK(Begin(segmenter, SuperHeader(super, 1000), packet, Link::kIp) == 3, "first");
  Bytes out(segmenter.NextLength());
  segmenter.Next(out.data());
  CHECK(Begin(segmenter, SuperHeader(super, 0), packet, Link::kIp) == -EINVAL && segmenter.Done(), "a lie");
  CHECK(Begin(segmenter, SuperHeader(super, 1500), packet, Link::kIp) == 2, "again");
}

}  // namespace

int main() {
  SplitsEveryKind();
  KeepsWhatIsNotStamped();
  FollowsSourceRoutes();
  TrustsTheSumBehindExtensionHeaders();
  StampsTcp();
  SplitsEverySize();
  SendsComputedZero();
  CompletesChecksums();
  RefusesLies();
  BeginsAnewAfterALie();
  std::puts("segmentation: passed");
}
