// Datagrams taken out of packets and put into packets, against packets built the slow way.

#include "../../src-cpp/intercept/datagrams.h"

#include <netinet/in.h>

#include <cerrno>

#include "batch.h"

using namespace tuntap;

namespace {

constexpr size_t kPrefix = sizeof(VirtioNetHeader);

struct Bench {
  FlowTable flows{{1000, 120'000, 10'000}, {{1, 2}}};
  double counters[kDatagramCounters] = {};
};

Bytes WithHeader(const VirtioNetHeader& header, const Bytes& packet) {
  Bytes bytes(kPrefix);
  std::memcpy(bytes.data(), &header, kPrefix);
  Append(bytes, packet);
  return bytes;
}

Packet Datagram(bool ipv6, size_t length, uint8_t fill = 7) {
  Packet packet;
  packet.udp = true;
  packet.ipv6 = ipv6;
  packet.tos = 0xb9;
  packet.payload.assign(length, fill);
  return packet;
}

void CheckEntry(const DatagramEntry& entry, const Packet& packet) {
  uint16_t family;
  std::memcpy(&family, entry.remote, 2);
  CHECK(family == (packet.ipv6 ? AF_INET6 : AF_INET) && entry.local_family == family);
  CHECK(Load16(entry.remote + 2) == packet.source_port && entry.local_port == packet.destination_port);
  const Bytes source = Address(packet, true), destination = Address(packet, false);
  CHECK(std::memcmp(entry.remote + (packet.ipv6 ? 8 : 4), source.data(), source.size()) == 0);
  CHECK(std::memcmp(entry.local, destination.data(), destination.size()) == 0);
  CHECK(entry.tos == packet.tos && entry.flags == kHasTos);
}

void TakesPlainDatagrams() {
  for (const bool ipv6 : {false, true}) {
    for (const size_t prefix : {size_t{0}, kPrefix}) {
      Bench bench;
      TestBatch batch, out;
      DatagramTaker taker(&bench.flows, bench.counters, prefix);
      std::vector<Packet> packets;
      for (const size_t length : {0u, 1u, 2u, 1472u, 60'000u}) packets.push_back(Datagram(ipv6, length));
      packets.push_back(Datagram(ipv6, 5));
      if (ipv6) {
        packets.back().extension_headers = {17, 0, 1, 4, 0, 0, 0, 0};
      } else {
        packets.back().ip_options = {1, 1, 1, 0};
      }
      for (const Packet& packet : packets) {
        Bytes bytes = Build(packet);
        bytes.resize(bytes.size() + 3);  // padding
        batch.Push(prefix == 0 ? bytes : WithHeader({}, bytes));
      }
      Packet other = Datagram(ipv6, 9);
      other.source_port = 1001;
      packets.push_back(other);
      // As the kernel gives it to a device that completes checksums.
      const VirtioNetHeader unfinished = {VIRTIO_NET_HDR_F_NEEDS_CSUM, 0, 0, 0, 0, 0};
      batch.Push(prefix == 0 ? Build(other) : WithHeader(unfinished, BuildUnfinished(other)));

      DatagramEntry entries[256];
      Appender appender(out.view(), {8, 4});
      CHECK(taker.Take(batch.view(), 0, batch.count(), 0, entries, 256, &appender) == batch.count());
      appender.Finish(0);
      CHECK(out.count() == packets.size(), "%u of %zu, IPv%d", out.count(), packets.size(), ipv6 ? 6 : 4);
      for (size_t i = 0; i < packets.size(); i++) {
        CHECK(out.At(i) == packets[i].payload, "%zu", i);
        CHECK(batch.entry(i).length == kDropped);
        CheckEntry(entries[i], packets[i]);
        CHECK((entries[i].flow == entries[0].flow) == (i + 1 < packets.size()), "%zu", i);
      }
      CHECK(bench.counters[kDatagramsTaken] == static_cast<double>(packets.size()));
      CHECK(bench.flows.size() == 2 && bench.counters[kWrongDatagrams] == 0);
    }
  }
}

void TakesSuperPackets() {
  for (const bool ipv6 : {false, true}) {
    Bench bench;
    TestBatch batch;
    DatagramTaker taker(&bench.flows, bench.counters, kPrefix);
    Random random(9);
    Packet super = Datagram(ipv6, 0);
    super.payload = RandomBytes(random, 10'000);
    batch.Push(WithHeader(SuperHeader(super, 1'200), BuildUnfinished(super)));
    batch.Push(WithHeader({}, Build(Datagram(ipv6, 30))));
    // Room for three: the rest comes with the next calls.
    Bytes whole;
    size_t at = 0, calls = 0, datagrams = 0;
    while (at < batch.count()) {
      TestBatch out(3, 8'192);
      DatagramEntry entries[3];
      Appender appender(out.view(), {});
      at = taker.Take(batch.view(), at, batch.count(), 0, entries, 3, &appender);
      appender.Finish(0);
      for (size_t i = 0; i < out.count(); i++, datagrams++) {
        CHECK(out.At(i).size() == (datagrams < 8 ? 1'200u : datagrams == 8 ? 400u : 30u), "%zu", datagrams);
        if (datagrams < 9) Append(whole, out.At(i));
      }
      CHECK(++calls < 9);
    }
    CHECK(datagrams == 10 && whole == super.payload);
  }
}

// The table of entries may be shorter than the batch.
void StopsAtTheEndOfTheTable() {
  Bench bench;
  TestBatch batch, out;
  DatagramTaker taker(&bench.flows, bench.counters, 0);
  for (int i = 0; i < 5; i++) batch.Push(Build(Datagram(false, 10)));
  DatagramEntry entries[2];
  Appender appender(out.view(), {});
  CHECK(taker.Take(batch.view(), 0, 5, 0, entries, 2, &appender) == 2);
}

void RefusesWrongDatagrams() {
  struct Row {
    const char* name;
    void (*change)(Bytes&, bool ipv6);
  };
  const Row rows[] = {
      {"a wrong checksum", [](Bytes& bytes, bool) { bytes.back() ^= 1; }},
      {"a UDP length beyond the packet", [](Bytes& bytes, bool ipv6) { bytes[ipv6 ? 45 : 25]++; }},
      {"a UDP length below the header", [](Bytes& bytes, bool ipv6) { Put16(bytes, ipv6 ? 44 : 24, 7); }},
      {"an IP length beyond the packet", [](Bytes& bytes, bool ipv6) { Put16(bytes, ipv6 ? 4 : 2, 4000); }},
      {"a cut header", [](Bytes& bytes, bool ipv6) { bytes.resize(ipv6 ? 44 : 24); }},
      {"one byte", [](Bytes& bytes, bool) { bytes.resize(1); }},
      {"another version", [](Bytes& bytes, bool) { bytes[0] ^= 0x10; }},
      {"source port 0", [](Bytes& bytes, bool ipv6) { Put16(bytes, ipv6 ? 40 : 20, 0); }},
      {"destination port 0", [](Bytes& bytes, bool ipv6) { Put16(bytes, ipv6 ? 42 : 22, 0); }},
      {"a multicast source", [](Bytes& bytes, bool ipv6) { bytes[ipv6 ? 8 : 12] = ipv6 ? 0xff : 224; }},
      {"a loopback source",
       [](Bytes& bytes, bool ipv6) {
         if (ipv6) std::memset(bytes.data() + 8, 0, 15);
         bytes[ipv6 ? 23 : 12] = ipv6 ? 1 : 127;
       }},
  };
  for (const Row& row : rows) {
    for (const bool ipv6 : {false, true}) {
      for (const bool fix : {false, true}) {
        Bench bench;
        TestBatch batch, out;
        DatagramTaker taker(&bench.flows, bench.counters, 0);
        Bytes bytes = Build(Datagram(ipv6, 100));
        row.change(bytes, ipv6);
        if (fix && bytes.size() > 24 &&
            !ipv6) {  // so that it is not the header's checksum that gives it away
          Put16(bytes, 10, 0);
          Put16(bytes, 10, 0xffff - ReferenceSum(bytes.data(), 20));
          if (std::strcmp(row.name, "a wrong checksum") != 0) Put16(bytes, 26, 0);  // none
        }
        batch.Push(bytes);
        DatagramEntry entries[8];
        Appender appender(out.view(), {});
        CHECK(taker.Take(batch.view(), 0, 1, 0, entries, 8, &appender) == 1);
        appender.Finish(0);
        CHECK(out.count() == 0 && bench.flows.size() == 0, "%s, IPv%d", row.name, ipv6 ? 6 : 4);
        CHECK(bench.counters[kWrongDatagrams] == 1 && batch.entry(0).length == kDropped, "%s", row.name);
      }
    }
  }
}

void ChecksumZero() {
  for (const bool ipv6 : {false, true}) {
    Bench bench;
    TestBatch batch, out;
    DatagramTaker taker(&bench.flows, bench.counters, 0);
    Bytes bytes = Build(Datagram(ipv6, 20));
    Put16(bytes, ipv6 ? 46 : 26, 0);
    batch.Push(bytes);
    DatagramEntry entries[8];
    Appender appender(out.view(), {});
    (void)taker.Take(batch.view(), 0, 1, 0, entries, 8, &appender);
    CHECK(appender.count() == (ipv6 ? 0u : 1u), "only IPv4 may leave it out (RFC 8200 section 8.1)");
  }
}

DatagramEntry EntryOf(const Packet& packet) {
  DatagramEntry entry{};
  const uint16_t family = packet.ipv6 ? AF_INET6 : AF_INET;
  std::memcpy(entry.remote, &family, 2);
  Store16(entry.remote + 2, packet.destination_port);
  const Bytes source = Address(packet, true), destination = Address(packet, false);
  std::memcpy(entry.remote + (packet.ipv6 ? 8 : 4), destination.data(), destination.size());
  std::memcpy(entry.local, source.data(), source.size());
  entry.local_family = family;
  entry.local_port = packet.source_port;
  entry.tos = packet.tos;
  entry.flags = kHasTos;
  return entry;
}

// What the writer makes has these fields as well.
Packet Written(bool ipv6, size_t length, uint16_t identification) {
  Packet packet = Datagram(ipv6, length);
  packet.flow_label = 0;
  packet.fragment = 0;
  packet.identification = identification;
  return packet;
}

void WritesPackets() {
  for (const bool ipv6 : {false, true}) {
    for (const size_t prefix : {size_t{0}, kPrefix}) {
      Bench bench;
      TestBatch payloads, out;
      DatagramWriter writer(&bench.flows, bench.counters, prefix, false);
      DatagramEntry entries[8];
      const size_t lengths[] = {0, 1, 1472, 1472, 60'001};
      for (size_t i = 0; i < 5; i++) {
        const Packet packet = Written(ipv6, lengths[i], static_cast<uint16_t>(i));
        payloads.Push(packet.payload);
        entries[i] = EntryOf(packet);
      }
      Appender appender(out.view(), {});
      CHECK(writer.Write(payloads.view(), 0, 0, entries, 5, &appender) == 5);
      appender.Finish(0);
      CHECK(out.count() == 5 && bench.counters[kDatagramsWritten] == 5);
      for (size_t i = 0; i < 5; i++) {
        const Bytes expected = Build(Written(ipv6, lengths[i], static_cast<uint16_t>(i)));
        CHECK(out.At(i) == (prefix == 0 ? expected : WithHeader({}, expected)), "%zu: %s, not %s", i,
              Hex(out.At(i)).c_str(), Hex(expected).c_str());
      }
    }
  }
}

void WritesSuperPackets() {
  for (const bool ipv6 : {false, true}) {
    Bench bench;
    TestBatch payloads, out;
    DatagramWriter writer(&bench.flows, bench.counters, kPrefix, true);
    for (int i = 0; i < 4; i++) payloads.Push(Bytes(1'000, 7));
    payloads.Push(Bytes(300, 7));
    payloads.Push(Bytes(1'000, 7));  // after a shorter one, a new packet
    const DatagramEntry entry = EntryOf(Written(ipv6, 0, 0));
    Appender appender(out.view(), {});
    CHECK(writer.Write(payloads.view(), 0, 0, &entry, 1, &appender) == 6);
    appender.Finish(0);
    CHECK(out.count() == 2 && bench.counters[kDatagramsWritten] == 6, "%u", out.count());
    const Packet super = Written(ipv6, 4'300, 0);
    VirtioNetHeader header = SuperHeader(super, 1'000);
    header.hdr_len = ipv6 ? 48 : 28;
    CHECK(out.At(0) == WithHeader(header, BuildUnfinished(super)), "%s", Hex(out.At(0)).c_str());
    CHECK(out.At(1) == WithHeader({}, Build(Written(ipv6, 1'000, 5))));
  }
}

// What the writer makes, the taker takes apart again, whatever the sizes and whoever they are for.
void RoundTrip(uint64_t seed) {
  Random random(seed);
  Bench bench;
  const bool super = random(2) == 0;
  const size_t prefix = super || random(2) == 0 ? kPrefix : 0;
  TestBatch payloads(200, 4 << 20), packets(200, 4 << 20), again(4096, 4 << 20);
  std::vector<DatagramEntry> entries(200), taken(4096);
  const uint32_t kinds = 1 + random(3);
  for (int i = 0; i < 200; i++) {
    Packet packet = Written(random(kinds) == 1, 0, 0);
    packet.destination_port = static_cast<uint16_t>(1 + random(kinds));
    entries[static_cast<size_t>(i)] = EntryOf(packet);
    payloads.Push(RandomBytes(random, random(3) != 0 ? 500 : random(2'000)));
  }
  DatagramWriter writer(&bench.flows, bench.counters, prefix, super);
  DatagramTaker taker(&bench.flows, bench.counters, prefix);
  Appender out(packets.view(), {});
  CHECK(writer.Write(payloads.view(), 0, 0, entries.data(), 200, &out) == 200);
  out.Finish(0);
  Appender back(again.view(), {});
  CHECK(taker.Take(packets.view(), 0, packets.count(), 0, taken.data(), 4096, &back) == packets.count());
  back.Finish(0);
  CHECK(again.count() == 200, "seed %d: %u", static_cast<int>(seed), again.count());
  for (size_t i = 0; i < 200; i++) {
    CHECK(again.At(i) == payloads.At(i), "seed %d, %zu", static_cast<int>(seed), i);
    CHECK(taken[i].local_port == Load16(entries[i].remote + 2), "seed %d, %zu", static_cast<int>(seed), i);
  }
}

// Addresses that are no host's own, whatever the checksum: the kernel left it to the device.
void RefusesOtherAddresses() {
  const VirtioNetHeader unfinished = {VIRTIO_NET_HDR_F_NEEDS_CSUM, 0, 0, 0, 0, 0};
  const Bytes addresses[] = {
      {224, 0, 0, 251},
      {255, 255, 255, 255},
      {0, 0, 0, 0},
      {127, 0, 0, 1},
      {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
      Bytes(16),
      {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
      {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 127, 0, 0, 1},
      {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1},
      {198, 51, 100, 7},
      {0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
  };
  Bench bench;
  TestBatch batch, out;
  DatagramTaker taker(&bench.flows, bench.counters, kPrefix);
  for (const Bytes& address : addresses) {
    for (const bool source : {false, true}) {
      const bool ipv6 = address.size() == 16;
      Bytes bytes = BuildUnfinished(Datagram(ipv6, 100));
      std::copy(address.begin(), address.end(),
                bytes.begin() + (ipv6 ? 8 : 12) + (source ? 0 : address.size()));
      if (!ipv6) {
        Put16(bytes, 10, 0);
        Put16(bytes, 10, 0xffff - ReferenceSum(bytes.data(), 20));
      }
      batch.Push(WithHeader(unfinished, bytes));
    }
  }
  DatagramEntry entries[32];
  Appender appender(out.view(), {});
  CHECK(taker.Take(batch.view(), 0, batch.count(), 0, entries, 32, &appender) == batch.count());
  appender.Finish(0);
  CHECK(out.count() == 4 && bench.counters[kWrongDatagrams] == 18, "%u", out.count());
}

void RefusesWrongPayloads() {
  Bench bench;
  TestBatch payloads, out;
  DatagramWriter writer(&bench.flows, bench.counters, 0, false);
  const Packet packet = Written(false, 0, 0);
  DatagramEntry entries[8];
  for (DatagramEntry& entry : entries) entry = EntryOf(packet);
  for (int i = 0; i < 8; i++) payloads.Push(Bytes(10, 1));
  entries[0] = {};
  Store16(entries[1].remote + 2, 0);
  entries[2].local_port = 0;
  entries[3].local_port = 65'536;
  entries[4].local_family = AF_INET6;
  payloads.entry(5).length = kDropped;
  payloads.entry(6).offset = 1 << 30;
  payloads.Push(Bytes(65'508, 1));
  Appender appender(out.view(), {});
  CHECK(writer.Write(payloads.view(), 0, 0, entries, 8, &appender) == 9);
  const int expected[] = {
      -EDESTADDRREQ, -EDESTADDRREQ, -EADDRNOTAVAIL, -EADDRNOTAVAIL, -EADDRNOTAVAIL, 0, -EFAULT, 0,
      -EDESTADDRREQ};
  for (size_t i = 0; i < 9; i++) CHECK(payloads.entry(i).status == expected[i], "%zu", i);
  CHECK(appender.count() == 1);
  Appender more(out.view(), {});
  CHECK(writer.Write(payloads.view(), 8, 0, entries, 1, &more) == 9);
  CHECK(payloads.entry(8).status == -EDESTADDRREQ);
  CHECK(writer.Write(payloads.view(), 8, 0, entries + 7, 1, &more) == 9);
  CHECK(payloads.entry(8).status == -EMSGSIZE);
}

// Bytes that lie, to the end of their allocation.
void Garbage(uint64_t seed, const TestBatch& out) {
  Random random(seed);
  Bench bench;
  const size_t prefix = random(2) == 0 ? kPrefix : 0;
  DatagramTaker taker(&bench.flows, bench.counters, prefix);
  Packet packet = Datagram(random(2) == 0, random(2'000));
  Bytes bytes = Build(packet);
  if (prefix != 0) bytes = WithHeader(random(2) == 0 ? SuperHeader(packet, 100) : VirtioNetHeader{}, bytes);
  for (uint32_t i = random(6); i > 0; i--) {
    bytes[random(static_cast<uint32_t>(std::min<size_t>(bytes.size(), 70)))] =
        static_cast<uint8_t>(random(256));
  }
  if (random(3) == 0) bytes.resize(random(static_cast<uint32_t>(bytes.size())) + 1);
  TestBatch batch(1, sizeof(BatchHeader) + sizeof(BatchEntry) + bytes.size());
  batch.Push(bytes);
  static DatagramEntry entries[4096];
  Appender appender(out.view(), {});
  (void)taker.Take(batch.view(), 0, 1, 0, entries, 4096, &appender);
  CHECK(appender.count() <= bytes.size());
}

}  // namespace

int main() {
  TakesPlainDatagrams();
  TakesSuperPackets();
  StopsAtTheEndOfTheTable();
  RefusesWrongDatagrams();
  RefusesOtherAddresses();
  ChecksumZero();
  WritesPackets();
  WritesSuperPackets();
  RefusesWrongPayloads();
  const TestBatch out(4096, 8 << 20);
  for (uint64_t seed = 1; seed <= 40; seed++) RoundTrip(seed);
  for (uint64_t seed = 1; seed <= 20'000; seed++) Garbage(seed, out);
  std::puts("datagrams: passed");
}
