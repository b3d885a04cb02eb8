// Fragments in every order, fragments that overlap or lie, and the limits.

#include "../../src-cpp/intercept/reassembly.h"

#include <algorithm>

#include "check.h"
#include "packets.h"

using namespace tuntap;
using Outcome = Reassembly::Outcome;

namespace {

Packet Whole(bool ipv6, size_t length, uint64_t seed = 1) {
  Random random(seed);
  Packet packet;
  packet.udp = true;
  packet.ipv6 = ipv6;
  packet.fragment = 0;
  packet.payload = RandomBytes(random, length);
  if (!ipv6) packet.ip_options = {1, 1, 1, 0};
  return packet;
}

struct Fragment {
  size_t begin;
  size_t end;
  bool last;
  uint32_t identification = 77;
};

// Bytes `begin` to `end` of what follows the IP header of `whole`, which are zeros beyond its end.
Bytes Cut(const Packet& whole, const Fragment& fragment) {
  const Bytes packet = Build(whole);
  const size_t header_length = whole.TransportOffset();
  Bytes bytes(packet.begin(), packet.begin() + static_cast<long>(header_length));
  if (whole.ipv6) {
    bytes[6] = 44;
    Append(bytes, {17, 0});
    Append16(bytes, static_cast<uint32_t>(fragment.begin | (fragment.last ? 0 : 1)));
    Append32(bytes, fragment.identification);
  }
  for (size_t at = fragment.begin; at < fragment.end; at++) {
    bytes.push_back(header_length + at < packet.size() ? packet[header_length + at] : uint8_t{0});
  }
  if (whole.ipv6) {
    Put16(bytes, 4, static_cast<uint32_t>(bytes.size() - 40));
  } else {
    Put16(bytes, 2, static_cast<uint32_t>(bytes.size()));
    Put16(bytes, 4, fragment.identification);
    Put16(bytes, 6, static_cast<uint32_t>(fragment.begin / 8 | (fragment.last ? 0 : 0x2000)));
    Put16(bytes, 10, 0);
    Put16(bytes, 10, 0xffff - ReferenceSum(bytes.data(), header_length));
  }
  return bytes;
}

std::vector<Fragment> Fragments(const Packet& whole, size_t size, uint32_t identification = 77) {
  std::vector<Fragment> fragments;
  const size_t total = Build(whole).size() - whole.TransportOffset();
  for (size_t at = 0; at < total; at += size) {
    fragments.push_back({at, std::min(at + size, total), at + size >= total, identification});
  }
  return fragments;
}

struct Added {
  Outcome outcome;
  Bytes whole;
};

Added Add(Reassembly& reassembly, const Bytes& bytes, uint64_t now = 0) {
  const Bytes exact(bytes);
  const uint8_t* whole = nullptr;
  size_t length = 0;
  const Outcome outcome = reassembly.Add(exact.data(), exact.size(), now, &whole, &length);
  return {outcome, outcome == Outcome::kWhole ? Bytes(whole, whole + length) : Bytes()};
}

Bytes Expected(const Packet& whole) {
  Packet packet = whole;
  packet.identification = 77;
  return Build(packet);
}

void EveryOrder() {
  auto reassembly = std::make_unique<Reassembly>();
  for (const bool ipv6 : {false, true}) {
    const Packet whole = Whole(ipv6, 3'001);
    std::vector<Fragment> fragments = Fragments(whole, 800);
    std::vector<size_t> order = {0, 1, 2, 3};
    do {
      for (size_t i = 0; i < 4; i++) {
        const Added added = Add(*reassembly, Cut(whole, fragments[order[i]]));
        CHECK(added.outcome == (i < 3 ? Outcome::kWaiting : Outcome::kWhole));
        // The same again does no harm.
        if (i < 3) CHECK(Add(*reassembly, Cut(whole, fragments[order[i]])).outcome == Outcome::kWaiting);
        if (i == 3) CHECK(added.whole == Expected(whole), "%s", Hex(added.whole).c_str());
      }
      CHECK(reassembly->pending() == 0);
    } while (std::next_permutation(order.begin(), order.end()));
  }
  CHECK(reassembly->lost() == 0);
}

void TheLargest() {
  for (const bool ipv6 : {false, true}) {
    auto reassembly = std::make_unique<Reassembly>();
    const size_t room = 65'535 - (ipv6 ? 40 : 24) - 8;
    const Packet whole = Whole(ipv6, room);
    Added added{};
    for (const Fragment& fragment : Fragments(whole, 8)) added = Add(*reassembly, Cut(whole, fragment));
    CHECK(added.outcome == Outcome::kWhole && added.whole == Expected(whole));
    // A byte more is no packet.
    const size_t total = room + 9;
    const size_t begin = total / 8 * 8;
    CHECK(Add(*reassembly, Cut(whole, {0, begin, false})).outcome != Outcome::kWhole);
    CHECK(Add(*reassembly, Cut(whole, {begin, total, true})).outcome == Outcome::kWrong);
  }
}

void ExtensionHeaders() {
  auto reassembly = std::make_unique<Reassembly>();
  Packet whole = Whole(true, 2'000);
  Bytes packet = Build(whole);
  // Destination options before the fragment header, by hand.
  const Bytes options = {44, 0, 1, 4, 0, 0, 0, 0};
  const auto with_options = [&](Bytes bytes) {
    bytes[6] = 60;
    bytes.insert(bytes.begin() + 40, options.begin(), options.end());
    Put16(bytes, 4, static_cast<uint32_t>(bytes.size() - 40));
    return bytes;
  };
  CHECK(Add(*reassembly, with_options(Cut(whole, {1'000, 2'008, true}))).outcome == Outcome::kWaiting);
  const Added added = Add(*reassembly, with_options(Cut(whole, {0, 1'000, false})));
  Bytes expected = with_options(packet);
  expected[40] = 17;
  CHECK(added.outcome == Outcome::kWhole && added.whole == expected, "%s", Hex(added.whole).c_str());
}

void WrongFragments() {
  struct Row {
    const char* name;
    std::vector<Fragment> fragments;  // the last one is refused
  };
  const Row rows[] = {
      {"overlap behind", {{0, 800, false}, {792, 1'600, false}}},
      {"overlap before", {{800, 1'600, false}, {0, 808, false}}},
      {"a fragment within another", {{0, 1'600, false}, {800, 816, true}}},
      {"one around another", {{800, 808, false}, {0, 1'600, false}}},
      {"two ends", {{800, 1'600, true}, {1'600, 1'700, true}}},
      {"an end before the end", {{800, 1'600, false}, {8, 700, true}}},
      {"data behind the end", {{800, 1'600, true}, {1'600, 1'608, false}}},
      {"no multiple of 8", {{0, 801, false}}},
      {"nothing", {{800, 800, false}}},
      {"beyond 65,535", {{65'528, 65'536, true}}},
  };
  for (const Row& row : rows) {
    for (const bool ipv6 : {false, true}) {
      auto reassembly = std::make_unique<Reassembly>();
      const Packet whole = Whole(ipv6, 1'592);
      for (size_t i = 0; i < row.fragments.size(); i++) {
        const Outcome outcome = Add(*reassembly, Cut(whole, row.fragments[i])).outcome;
        CHECK((outcome == Outcome::kWrong) == (i + 1 == row.fragments.size()), "%s, %zu", row.name, i);
      }
      // Nor does anything else of that packet get through, though it were complete now.
      for (const Fragment& fragment : Fragments(whole, 800)) {
        CHECK(Add(*reassembly, Cut(whole, fragment)).outcome == Outcome::kWrong, "%s", row.name);
      }
      for (const Fragment& fragment : Fragments(whole, 800)) {
        const bool ended = Add(*reassembly, Cut(whole, fragment), 30'000).outcome == Outcome::kWhole;
        CHECK(ended == fragment.last, "%s: after its time", row.name);
      }
    }
  }
}

// A fragment with other bytes in the place of one that came is an overlap, too.
void OtherBytes() {
  auto reassembly = std::make_unique<Reassembly>();
  CHECK(Add(*reassembly, Cut(Whole(false, 1'592, 1), {0, 800, false})).outcome == Outcome::kWaiting);
  CHECK(Add(*reassembly, Cut(Whole(false, 1'592, 2), {0, 800, false})).outcome == Outcome::kWrong);
}

void Limits() {
  auto reassembly = std::make_unique<Reassembly>();
  const Packet whole = Whole(false, 1'592);
  for (uint32_t id = 0; id < 64; id++)
    CHECK(Add(*reassembly, Cut(whole, {0, 800, false, id}), id).outcome == Outcome::kWaiting);
  CHECK(reassembly->pending() == 64 && reassembly->lost() == 0);
  // The 65th takes the place of the oldest.
  CHECK(Add(*reassembly, Cut(whole, {0, 800, false, 64}), 64).outcome == Outcome::kWaiting);
  CHECK(reassembly->pending() == 64 && reassembly->lost() == 1);
  CHECK(Add(*reassembly, Cut(whole, {800, 1'600, true, 64}), 64).outcome == Outcome::kWhole);
  CHECK(Add(*reassembly, Cut(whole, {800, 1'600, true, 1}), 64).outcome == Outcome::kWhole);
  CHECK(Add(*reassembly, Cut(whole, {800, 1'600, true, 0}), 65).outcome == Outcome::kWaiting);
  reassembly->Expire(30'002);
  CHECK(reassembly->pending() == 62, "%zu", reassembly->pending());
  reassembly->Expire(30'065);
  CHECK(reassembly->pending() == 0 && reassembly->lost() == 64);
}

void ThePacketsOfOthers() {
  auto reassembly = std::make_unique<Reassembly>();
  Packet mine = Whole(false, 1'592, 1), other = Whole(false, 1'592, 2);
  other.host = 2;
  CHECK(Add(*reassembly, Cut(mine, {0, 800, false})).outcome == Outcome::kWaiting);
  CHECK(Add(*reassembly, Cut(other, {800, 1'600, true})).outcome == Outcome::kWaiting);
  CHECK(Add(*reassembly, Cut(mine, {800, 1'600, true})).whole == Expected(mine));
  CHECK(Add(*reassembly, Cut(other, {0, 800, false})).whole == Expected(other));
  CHECK(Add(*reassembly, Build(mine)).outcome == Outcome::kWrong, "no fragment");
}

// What comes out is what went in, whatever comes in between.
void RandomFragments(uint64_t seed) {
  Random random(seed);
  auto reassembly = std::make_unique<Reassembly>();
  const bool ipv6 = random(2) == 0;
  const Packet whole = Whole(ipv6, 8 + random(5'000), seed);
  std::vector<Bytes> fragments;
  for (const Fragment& fragment : Fragments(whole, 8 * (13 + random(200))))
    fragments.push_back(Cut(whole, fragment));
  if (fragments.size() < 2) return;
  for (size_t i = fragments.size(); i > 1; i--)
    std::swap(fragments[i - 1], fragments[random(static_cast<uint32_t>(i))]);
  Added added{};
  for (const Bytes& fragment : fragments) {
    CHECK(added.outcome == Outcome::kWaiting, "seed %d", static_cast<int>(seed));
    Bytes garbage = fragments[random(static_cast<uint32_t>(fragments.size()))];
    garbage[ipv6 ? 23 : 15] ^= 0x55;  // another source
    for (uint32_t i = random(5); i > 0; i--)
      garbage[24 + random(static_cast<uint32_t>(garbage.size()) - 24)] = static_cast<uint8_t>(random(256));
    if (random(4) == 0) garbage.resize(1 + random(static_cast<uint32_t>(garbage.size())));
    (void)Add(*reassembly, garbage);
    added = Add(*reassembly, fragment);
  }
  CHECK(added.whole == Expected(whole), "seed %d", static_cast<int>(seed));
}

}  // namespace

int main() {
  EveryOrder();
  TheLargest();
  ExtensionHeaders();
  WrongFragments();
  OtherBytes();
  Limits();
  ThePacketsOfOthers();
  for (uint64_t seed = 1; seed <= 3'000; seed++) RandomFragments(seed);
  std::puts("reassembly: passed");
}
