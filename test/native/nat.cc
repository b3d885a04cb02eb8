// The translation of connections: random packets have right checksums afterwards and come back as they were;
// the life of a connection; limits; and garbage.

#include "../../src-cpp/intercept/nat.h"

#include <cstdio>
#include <cstdlib>

#include "batch.h"
#include "packets.h"

namespace {

using namespace tuntap;

constexpr uint8_t kSyn = 0x02, kAck = 0x10, kFin = 0x01, kRst = 0x04;

// The virtio_net_hdr that the kernel puts before a packet.
Bytes Framed(const Packet& packet, size_t prefix, bool partial) {
  Bytes bytes = partial ? BuildUnfinished(packet) : Build(packet);
  if (prefix == 0) return bytes;
  VirtioNetHeader header{};
  if (partial) {
    header.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
    header.csum_start = static_cast<uint16_t>(packet.TransportOffset());
    header.csum_offset = static_cast<uint16_t>(packet.ChecksumOffset());
  }
  Bytes framed(prefix);
  std::memcpy(framed.data(), &header, sizeof(header));
  Append(framed, bytes);
  return framed;
}

// Both sums of a packet, computed anew. A partial one is completed as the kernel does.
void CheckSums(Bytes framed, size_t prefix) {
  VirtioNetHeader header{};
  if (prefix > 0) std::memcpy(&header, framed.data(), sizeof(header));
  Bytes packet(framed.begin() + static_cast<ptrdiff_t>(prefix), framed.end());
  const bool ipv4 = packet[0] >> 4 == 4;
  const size_t start = ipv4 ? 4u * (packet[0] & 15u) : 40;
  if (ipv4) CHECK(ReferenceSum(packet.data(), start) == 0xffff);
  if (header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
    const size_t from = header.csum_start;
    Put16(packet, from + header.csum_offset,
          0xffff - ReferenceSum(packet.data() + from, packet.size() - from));
  }
  Bytes pseudo(packet.begin() + (ipv4 ? 12 : 8), packet.begin() + (ipv4 ? 20 : 40));
  size_t transport = start;
  if (!ipv4 && packet[6] != 6 && packet[6] != 58) transport += 8 + 8u * packet[41];
  const uint8_t protocol = ipv4 ? packet[9] : packet[6] == 58 ? 58 : 6;
  Append32(pseudo, static_cast<uint32_t>(packet.size() - transport));
  Append32(pseudo, protocol);
  if (protocol == 1) pseudo.clear();
  CHECK(AddSums(ReferenceSum(pseudo.data(), pseudo.size()),
                ReferenceSum(packet.data() + transport, packet.size() - transport)) == 0xffff);
}

struct Rig {
  Nat nat;
  const size_t prefix;
  TestBatch batch{64, 1 << 17}, client{64, 1 << 16}, stack{64, 1 << 16};
  bool garbage = false;  // a SYN whose partial checksum was wrong goes to the stack as it is
  std::vector<PacketRun> runs{256};
  uint32_t now = 0xfffffff0;  // wraps soon

  explicit Rig(const NatOptions& options) : nat(options), prefix(options.prefix) {}

  template <typename Use>
  void With(Use use) {
    client.Clear();
    stack.Clear();
    Appender to_client(client.view(), {});
    Appender to_stack(stack.view(), {});
    use(NatOutput{&to_client, &to_stack});
    to_client.Finish(0);
    to_stack.Finish(0);
    for (size_t i = 0; i < client.count(); i++) CheckSums(client.At(i), prefix);
    for (size_t i = 0; i < stack.count() && !garbage; i++) CheckSums(stack.At(i), prefix);
  }
  // What is to be written to the other side; empty: nothing.
  Bytes Translate(const Bytes& packet, size_t* runs_found = nullptr) {
    batch.Clear();
    batch.Push(packet);
    With([&](const NatOutput& out) {
      const size_t count = nat.Translate(batch.view(), runs.data(), now, out);
      if (runs_found != nullptr) *runs_found = count;
    });
    return batch.At(0);
  }
  Bytes Back(const Bytes& packet) {
    batch.Clear();
    batch.Push(packet);
    With([&](const NatOutput& out) { nat.TranslateBack(batch.view(), now, out); });
    return batch.At(0);
  }
  std::vector<NatEvent> Events() {
    std::vector<NatEvent> events(64);
    events.resize(nat.TakeEvents(events.data(), events.size()));
    return events;
  }
  NatEvent Event(NatEventKind kind) {
    const auto events = Events();
    CHECK(events.size() == 1 && events[0].kind == kind, "%zu events", events.size());
    return events[0];
  }
  bool Accept(const NatEvent& event) {
    bool done = false;
    With([&](const NatOutput& out) { done = nat.Accept(event.slot, event.generation, now, out); });
    return done;
  }
  void Expire(uint32_t later) {
    now += later;
    With([&](const NatOutput& out) { nat.Expire(now, out); });
  }
};

NatOptions Options(size_t prefix = 0) {
  NatOptions options;
  options.prefix = prefix;
  options.ipv4_port = options.ipv6_port = 0x1234;
  options.max_pending = 4;
  options.max_connections = 6;
  options.decision_ms = 5000;
  options.idle_ms = 100'000;
  return options;
}

// The answer of a stack to what it was given: the ends change places.
Bytes Answer(const Bytes& given, size_t prefix, uint8_t flags, uint32_t sequence, uint32_t acknowledgment) {
  Bytes bytes(given.begin() + static_cast<ptrdiff_t>(prefix), given.end());
  const IpPacket packet = ReadIpPacket(bytes.data(), bytes.size());
  CHECK(packet.sort == PacketSort::kTcp);
  BareSegment segment{};
  segment.ipv4 = packet.ipv4;
  segment.source = {packet.destination(), LoadAsIs<uint16_t>(packet.header() + 2)};
  segment.destination = {packet.source(), LoadAsIs<uint16_t>(packet.header())};
  segment.sequence = sequence;
  segment.acknowledgment = acknowledgment;
  segment.flags = flags;
  TestBatch batch(1, 1 << 12);
  Appender out(batch.view(), {});
  AppendSegment(&out, prefix, segment);
  out.Finish(0);
  CheckSums(batch.At(0), prefix);
  return batch.At(0);
}

Packet RandomPacket(Random& random) {
  Packet packet;
  packet.ipv6 = random(2) == 0;
  packet.host = static_cast<uint8_t>(1 + random(200));
  packet.source_port = static_cast<uint16_t>(1 + random(65535));
  packet.destination_port = static_cast<uint16_t>(1 + random(65535));
  packet.sequence = random(UINT32_MAX);
  packet.window = static_cast<uint16_t>(random(65536));
  packet.tos = static_cast<uint8_t>(random(256));
  packet.tcp_options.assign(4 * random(11), 1);
  if (!packet.ipv6 && random(8) == 0) packet.ip_options.assign(4, 1);
  if (packet.ipv6 && random(8) == 0) packet.extension_headers = {6, 0, 1, 4, 0, 0, 0, 0};
  return packet;
}

void TestRandom(uint64_t seed, int cases) {
  Random random(seed);
  for (int i = 0; i < cases; i++) {
    const size_t prefix = random(2) * 10;
    Rig rig(Options(prefix));
    Packet packet = RandomPacket(random);
    packet.flags = kSyn | (random(2) == 0 ? 0xc0 : 0);  // also with ECN: RFC 3168 section 6.1.1
    packet.acknowledgment = 0;
    const bool partial = prefix > 0 && random(2) == 0;
    CHECK(rig.Translate(Framed(packet, prefix, partial)).empty());
    const NatEvent begun = rig.Event(NatEventKind::kNew);
    CHECK(begun.ends.source_port == packet.source_port && begun.family == (packet.ipv6 ? 6 : 4));
    CHECK(rig.Accept(begun));
    CHECK(rig.stack.count() == 1);
    const Bytes syn = rig.stack.At(0);
    const Bytes syn_ack = rig.Back(Answer(syn, prefix, kSyn | kAck, 1000, packet.sequence + 1));
    CHECK(!syn_ack.empty());
    CheckSums(syn_ack, prefix);
    packet.flags = kAck;
    const uint32_t begin = packet.sequence++;
    for (int segment = 0; segment < 3; segment++) {
      packet.payload.resize(random(1400));
      for (uint8_t& byte : packet.payload) byte = static_cast<uint8_t>(random(256));
      const Bytes sent = Framed(packet, prefix, partial);
      const Bytes inside = rig.Translate(sent);
      CHECK(inside.size() == sent.size() && inside != sent);
      CheckSums(inside, prefix);
      packet.sequence += static_cast<uint32_t>(packet.payload.size());
      const Bytes outside = rig.Back(Answer(inside, prefix, kAck, 1001, packet.sequence));
      CHECK(!outside.empty());
      CheckSums(outside, prefix);
    }
    double read = 0, written = 0;
    CHECK(rig.nat.Totals(begun.slot, begun.generation, &read, &written));
    CHECK(static_cast<uint32_t>(read) == packet.sequence - begin - 1);
    // Nothing is made right that was not.
    Bytes wrong = Framed(packet, prefix, false);
    const size_t field = prefix + packet.TransportOffset() + packet.ChecksumOffset();
    wrong[field] ^= 0x55;
    const Bytes still = rig.Translate(wrong);
    wrong[field] ^= 0x55;
    CHECK(still != rig.Translate(wrong) && !still.empty());
  }
}

// A connection up to both FINs, and then the same ends again.
void TestLife() {
  Rig rig(Options());
  Packet packet;
  packet.flags = kSyn;
  packet.sequence = 100;
  rig.Translate(Build(packet));
  const NatEvent first = rig.Event(NatEventKind::kNew);
  rig.Translate(Build(packet));  // again: swallowed
  packet.flags = kRst;           // nobody who waits for a SYN-ACK sends RST
  CHECK(rig.Translate(Build(packet)).empty());
  CHECK(rig.Events().empty() && rig.nat.pending() == 1);
  CHECK(rig.Accept(first) && !rig.Accept(first));
  const Bytes syn = rig.stack.At(0);
  rig.Back(Answer(syn, 0, kSyn | kAck, 500, 101));
  packet.flags = kAck;
  packet.sequence = 101;
  packet.acknowledgment = 501;
  packet.payload = Bytes(10);
  rig.Translate(Build(packet));
  // An RST outside the window passes, and the connection goes on.
  packet.flags = kRst;
  packet.sequence = 90'000;
  packet.payload.clear();
  CHECK(!rig.Translate(Build(packet)).empty() && rig.Events().empty());
  rig.Expire(2000);  // the stack is asked
  CHECK(rig.stack.count() == 1 && rig.client.count() == 0 && rig.Events().empty());
  CHECK(!rig.Back(Answer(syn, 0, kAck, 501, 111)).empty() && rig.nat.open() == 1);
  // Nor do FINs that the stack does not acknowledge end it.
  packet.flags = kFin | kAck;
  packet.sequence = 70'000;
  rig.Translate(Build(packet));
  packet.sequence = 111;
  CHECK(!rig.Translate(Build(packet)).empty() && rig.Events().empty() && rig.nat.open() == 1);
  CHECK(!rig.Back(Answer(syn, 0, kFin | kAck, 501, 112)).empty());
  const NatEvent closed = rig.Event(NatEventKind::kClosed);
  CHECK(closed.totals.client_bytes == 10 && closed.totals.server_bytes == 0 && rig.nat.open() == 0);
  packet.flags = kAck;  // the last ACK, for which the slot is kept
  packet.sequence = 112;
  CHECK(!rig.Translate(Build(packet)).empty());
  packet.flags = kSyn;
  packet.sequence = 900'000;
  rig.Translate(Build(packet));
  const NatEvent second = rig.Event(NatEventKind::kNew);
  CHECK(second.slot != first.slot || second.generation != first.generation);
  CHECK(rig.Accept(second));
  CHECK(rig.stack.At(0) != syn);
  // What belongs to the first one does not reach the second one.
  CHECK(rig.Back(Answer(syn, 0, kAck, 502, 112)).empty() && rig.stack.count() == 1);
  // The client refuses the SYN-ACK: nothing is left.
  packet.flags = kRst;
  packet.sequence = 900'001;
  rig.Translate(Build(packet));
  rig.Event(NatEventKind::kReset);
  CHECK(rig.nat.open() == 0);
  packet.flags = kAck;
  CHECK(rig.Translate(Build(packet)).empty() && rig.client.count() == 1);  // RST
}

void TestRefusals() {
  for (const bool ipv6 : {false, true}) {
    for (const auto how : {RefusalKind::kReset, RefusalKind::kPortUnreachable, RefusalKind::kHostUnreachable,
                           RefusalKind::kProhibited, RefusalKind::kSilence}) {
      Rig rig(Options());
      Packet packet;
      packet.ipv6 = ipv6;
      packet.flags = kSyn;
      rig.Translate(Build(packet));
      const NatEvent event = rig.Event(NatEventKind::kNew);
      bool done = false;
      rig.With(
          [&](const NatOutput& out) { done = rig.nat.Refuse(event.slot, event.generation, how, 0, out); });
      const bool silent = how == RefusalKind::kSilence;
      CHECK(done && rig.client.count() == (silent ? 0u : 1u));
      CHECK(rig.client.At(0).size() == (silent                       ? 0u
                                        : how == RefusalKind::kReset ? (ipv6 ? 60u : 40u)
                                        : ipv6                       ? 108u
                                                                     : 68u));
      rig.Translate(Build(packet));
      CHECK(rig.Events().size() == (silent ? 0u : 1u));
      rig.Expire(200'000);
    }
  }
}

void TestLimitsAndTime() {
  Rig rig(Options());
  Packet packet;
  packet.flags = kSyn;
  std::vector<NatEvent> begun;
  for (uint16_t port = 1; port <= 6; port++) {
    packet.source_port = port;
    rig.Translate(Build(packet));
  }
  begun = rig.Events();
  CHECK(begun.size() == 4 && rig.nat.counters()[kPendingLimitCount] == 2);
  rig.Expire(6000);
  CHECK(rig.Events().size() == 4 && rig.nat.pending() == 0 && rig.nat.counters()[kTimedOutCount] == 4);
  CHECK(!rig.Accept(begun[0]));
  for (uint16_t port = 11; port <= 18; port++) {
    packet.source_port = port;
    rig.Translate(Build(packet));
    for (const NatEvent& event : rig.Events()) CHECK(rig.Accept(event));
  }
  CHECK(rig.nat.open() == 6 && rig.nat.counters()[kOpenLimitCount] == 2);
  packet.source_port = 11;
  packet.flags = kAck;
  packet.sequence = 2;
  rig.Translate(Build(packet));
  rig.Expire(80'000);  // the client of the others never answered
  CHECK(rig.Events().size() == 5 && rig.nat.open() == 1);
  rig.Expire(50'000);
  CHECK(rig.Event(NatEventKind::kIdle).slot < kMaxSlots && rig.client.count() >= 1 && rig.stack.count() >= 1);
  uint32_t generation = 0;
  const Packet own;
  const Bytes bytes = Build(own);
  const uint32_t slot = rig.nat.AddOwn(ConnectionKey::Of(true, {bytes.data() + 12, htons(own.source_port)},
                                                         {bytes.data() + 16, htons(own.destination_port)}),
                                       &generation);
  CHECK(slot != kNoValue);
  packet = own;
  packet.flags = kSyn;
  rig.Translate(Build(packet));
  CHECK(rig.Events().empty() && rig.nat.counters()[kLoopsCount] == 1 && rig.client.count() == 1);
  rig.nat.RemoveOwn(slot, generation);
  rig.Translate(Build(packet));
  rig.Event(NatEventKind::kNew);
  bool left = true;
  rig.With([&](const NatOutput& out) { left = rig.nat.AbortSome(out); });
  CHECK(!left && rig.nat.pending() == 0 && rig.client.count() == 1);
}

// Packets that are nearly right, in a rig that lives: nothing crashes, and no sum of a reply is wrong.
void TestGarbage(uint64_t seed, int cases) {
  Random random(seed);
  for (const size_t prefix : {size_t{0}, size_t{10}}) {
    NatOptions options = Options(prefix);
    options.shared = prefix == 0;
    Rig rig(options);
    rig.garbage = true;
    Bytes last;
    for (int i = 0; i < cases; i++) {
      Packet packet = RandomPacket(random);
      packet.host = 1;
      packet.source_port = static_cast<uint16_t>(1 + random(4));
      packet.destination_port = 80;
      packet.flags = static_cast<uint8_t>(random(3) == 0 ? kSyn : random(256));
      packet.payload.resize(random(30));
      Bytes bytes =
          random(4) == 0 && !last.empty() ? last : Framed(packet, prefix, prefix > 0 && random(2) == 0);
      for (uint32_t flips = random(3); flips > 0; flips--) {
        bytes[random(static_cast<uint32_t>(bytes.size()))] ^= static_cast<uint8_t>(1 << random(8));
      }
      if (random(5) == 0) bytes.resize(random(static_cast<uint32_t>(bytes.size() + 1)));
      if (random(2) == 0)
        rig.Translate(bytes);
      else
        rig.Back(bytes);
      for (const NatEvent& event : rig.Events()) {
        if (event.kind != NatEventKind::kNew || random(3) == 0) continue;
        if (rig.Accept(event) && rig.stack.count() > 0)
          last = Answer(rig.stack.At(0), prefix, kSyn | kAck, 1, 1);
      }
      if (random(50) == 0) rig.Expire(random(90'000));
      CHECK(rig.nat.pending() <= options.max_pending && rig.nat.open() <= options.max_connections);
    }
  }
}

}  // namespace

int main(int count, char** arguments) {
  const uint64_t seed = count > 1 ? std::strtoull(arguments[1], nullptr, 10) : 1;
  const int cases = count > 2 ? std::atoi(arguments[2]) : 2000;
  TestRandom(seed, cases);
  TestLife();
  TestRefusals();
  TestLimitsAndTime();
  TestGarbage(seed, 20 * cases);
  std::printf("passed\n");
}
