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
  // The stack's socket is accepted, of the connection whose SYN the stack was given.
  bool Arrive(const Bytes& syn) {
    Bytes bytes(syn.begin() + static_cast<ptrdiff_t>(prefix), syn.end());
    const IpPacket packet = ReadIpPacket(bytes.data(), bytes.size());
    uint32_t slot = 0, generation = 0;
    const PacketEnd end = {packet.source(), LoadAsIs<uint16_t>(packet.header())};
    return nat.Arrived(packet.ipv4, end, now, &slot, &generation);
  }
  // A client's SYN, which is accepted. Returns what the stack is given.
  Bytes Handshake(Packet packet, uint16_t port, NatEvent* begun) {
    packet.source_port = port;
    Translate(Build(packet));
    *begun = Event(NatEventKind::kNew);
    CHECK(Accept(*begun));
    return stack.At(0);
  }
  bool Expire(uint32_t later) {
    bool left = false;
    now += later;
    With([&](const NatOutput& out) { left = nat.Expire(now, out); });
    return left;
  }
  SlotState State(const NatEvent& event, const Bytes& packet) {
    Bytes bytes = packet;
    const Slot* slot = nat.Find(ConnectionKey::Of(ReadIpPacket(bytes.data(), bytes.size())));
    CHECK(slot == nullptr || slot->generation == event.generation);
    return slot == nullptr ? SlotState::kFree : slot->state;
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
  CHECK(rig.Arrive(syn));
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
  CHECK(rig.stack.count() == 1 && rig.client.count() == 0);  // the stack is asked
  rig.Expire(2000);                                          // and again
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
  packet.flags = kSyn;  // from somebody who has not seen the server's FIN
  packet.sequence = 5;
  CHECK(rig.Translate(Build(packet)).empty() && rig.Events().empty() && rig.stack.count() == 1);
  packet.flags = kAck;  // the last ACK, for which the slot is kept
  packet.sequence = 112;
  packet.acknowledgment = 502;
  CHECK(!rig.Translate(Build(packet)).empty());
  packet.flags = kSyn;
  packet.sequence = 900'000;
  rig.Translate(Build(packet));
  const NatEvent second = rig.Event(NatEventKind::kNew);
  CHECK(second.slot != first.slot || second.generation != first.generation);
  CHECK(rig.Accept(second));
  const Bytes syn_of_second = rig.stack.At(0);
  CHECK(syn_of_second != syn);
  // What belongs to the first one does not reach the second one.
  CHECK(rig.Back(Answer(syn, 0, kAck, 502, 112)).empty() && rig.stack.count() == 1);
  // The client refuses the SYN-ACK, and the stack has it no more: nothing is left.
  packet.flags = kRst;
  packet.sequence = 900'001;
  CHECK(!rig.Translate(Build(packet)).empty() && rig.stack.count() == 0);  // no number to ask with
  rig.Back(Answer(syn_of_second, 0, kSyn | kAck, 800, 900'001));
  CHECK(!rig.Translate(Build(packet)).empty() && rig.stack.count() == 1);
  CHECK(rig.Events().empty() && rig.nat.open() == 1);
  CHECK(!rig.Back(Answer(syn_of_second, 0, kRst, 801, 0)).empty());
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
  for (uint16_t port = 1; port <= 6; port++) {
    packet.source_port = port;
    rig.Translate(Build(packet));
  }
  const std::vector<NatEvent> begun = rig.Events();
  CHECK(begun.size() == 4 && rig.nat.counters()[kPendingLimitCount] == 2);
  rig.Expire(6000);
  CHECK(rig.Events().size() == 4 && rig.nat.pending() == 0 && rig.nat.counters()[kTimedOutCount] == 4);
  CHECK(!rig.Accept(begun[0]));
  std::vector<Bytes> syns;
  NatEvent event;
  CHECK(rig.Arrive(rig.Handshake(packet, 11, &event)));
  for (uint16_t port = 12; port <= 16; port++) syns.push_back(rig.Handshake(packet, port, &event));
  CHECK(rig.nat.open() == 6);
  rig.Expire(31'000);
  for (const Bytes& syn : syns) rig.Back(Answer(syn, 0, kSyn | kAck, 500, packet.sequence + 1));  // again
  packet.source_port = 11;
  packet.flags = kAck;
  packet.sequence = 2;
  rig.Translate(Build(packet));
  rig.Expire(49'000);  // the clients of the others never answered
  CHECK(rig.Events().size() == 5 && rig.nat.open() == 1);
  rig.Expire(70'000);
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

// When there are as many connections as may be, the oldest handshake makes way; an open connection does not.
void TestFullOfHandshakes() {
  Rig rig(Options());
  Packet packet;
  packet.flags = kSyn;
  NatEvent oldest, event;
  std::vector<Bytes> syns = {rig.Handshake(packet, 1, &oldest)};
  for (uint16_t port = 2; port <= 6; port++) syns.push_back(rig.Handshake(packet, port, &event));
  packet.source_port = 7;
  rig.Translate(Build(packet));
  CHECK(rig.client.count() >= 1 && rig.stack.count() >= 1);
  const std::vector<NatEvent> events = rig.Events();
  CHECK(events.size() == 2 && events[0].kind == NatEventKind::kIdle && events[0].slot == oldest.slot);
  CHECK(events[1].kind == NatEventKind::kNew && rig.Accept(events[1]));
  syns.push_back(rig.stack.At(0));
  CHECK(rig.nat.open() == 6 && rig.nat.counters()[kOpenLimitCount] == 0);
  CHECK(!rig.Arrive(syns[0]));
  for (size_t i = 1; i < syns.size(); i++) CHECK(rig.Arrive(syns[i]));
  packet.source_port = 8;
  rig.Translate(Build(packet));
  CHECK(rig.Events().empty() && rig.nat.open() == 6 && rig.nat.counters()[kOpenLimitCount] == 1);
}

// So do handshakes beyond four times as many as may wait for a decision.
void TestManyHandshakes() {
  NatOptions options = Options();
  options.max_connections = 100;
  Rig rig(options);
  Packet packet;
  packet.flags = kSyn;
  for (uint16_t port = 1; port <= 20; port++) {
    NatEvent begun;
    rig.Handshake(packet, port, &begun);
    const bool full = port > 4 * options.max_pending;
    CHECK(rig.Events().size() == (full ? 1 : 0) && rig.nat.open() == (full ? 16 : port));
  }
}

// A connection that the stack has accepted.
struct Opened {
  Packet packet;
  NatEvent event;
  Bytes syn;

  Opened(Rig& rig, bool arrives, uint16_t port = 1000) {
    packet.flags = kSyn;
    packet.sequence = 100;
    packet.acknowledgment = 0;
    packet.source_port = port;
    rig.Translate(Build(packet));
    event = rig.Event(NatEventKind::kNew);
    CHECK(rig.Accept(event));
    syn = rig.stack.At(0);
    rig.Back(Answer(syn, 0, kSyn | kAck, 500, 101));
    if (arrives) CHECK(rig.Arrive(syn));
    packet.flags = kAck;
    packet.sequence = 101;
    packet.acknowledgment = 501;
  }
  SlotState State(Rig& rig) const { return rig.State(event, Build(packet)); }
};

// Whoever does not know the numbers ends nothing, and moves nothing on.
void TestForgeries() {
  Rig rig(Options());
  Opened opening(rig, false);
  const auto send = [&](Packet packet, uint8_t flags, uint32_t sequence, uint32_t acknowledgment,
                        bool wrong) {
    packet.flags = flags;
    packet.sequence = sequence;
    packet.acknowledgment = acknowledgment;
    Bytes bytes = Build(packet);
    bytes[packet.TransportOffset() + packet.ChecksumOffset()] ^= wrong ? 0x55 : 0;
    return !rig.Translate(bytes).empty();
  };
  // An ACK with a wrong number, which the stack answers with RST, and one with a wrong checksum.
  CHECK(send(opening.packet, kAck, 7777, 12'345, false) && opening.State(rig) == SlotState::kOpening);
  CHECK(!rig.Back(Answer(opening.syn, 0, kRst, 12'345, 0)).empty());
  CHECK(send(opening.packet, kAck, 101, 501, true) && opening.State(rig) == SlotState::kOpening);
  // A SYN with another number does not reach the stack, which is asked; the same SYN again does.
  CHECK(!send(opening.packet, kSyn, 9999, 0, false) && rig.stack.count() == 1);
  CHECK(send(opening.packet, kSyn, 100, 0, false) && rig.stack.count() == 0);
  CHECK(rig.Arrive(opening.syn) && opening.State(rig) == SlotState::kOpen);

  // An RST whose number is right, but not its checksum: the stack is asked, and has it.
  CHECK(send(opening.packet, kRst, 101, 0, true) && rig.stack.count() == 1);
  CHECK(opening.State(rig) == SlotState::kReset && rig.nat.open() == 1);
  // Nor do an RST with any number and a SYN end it: the stack is asked again.
  CHECK(send(opening.packet, kRst, 5555, 0, false) && rig.stack.count() == 1);
  CHECK(!send(opening.packet, kSyn, 9999, 0, false) && rig.stack.count() == 1);
  CHECK(rig.Events().empty() && rig.nat.pending() == 0);
  CHECK(!rig.Back(Answer(opening.syn, 0, kAck, 501, 101)).empty());
  CHECK(opening.State(rig) == SlotState::kOpen && rig.Events().empty());
  // A client that has forgotten it begins anew: the stack is asked, and then has it no more.
  CHECK(!send(opening.packet, kSyn, 9999, 0, false) && rig.stack.count() == 1);
  CHECK(send(opening.packet, kRst, 101, 0, false) && rig.stack.count() == 1);
  CHECK(!rig.Back(Answer(opening.syn, 0, kRst, 501, 0)).empty());
  rig.Event(NatEventKind::kReset);
  CHECK(!send(opening.packet, kSyn, 9999, 0, false));
  const NatEvent again = rig.Event(NatEventKind::kNew);

  // A SYN that waits is replaced by a right one only.
  CHECK(!send(opening.packet, kSyn, 1, 0, true) && rig.nat.counters()[kMalformedCount] == 1);
  CHECK(rig.Accept(again));
  Bytes kept = rig.stack.At(0);
  CHECK(ReadIpPacket(kept.data(), kept.size()).tcp_sequence() == 9999);
}

// After a FIN the stack is asked each 240 seconds; what only the stack has ends with the idle timeout.
void TestClosing() {
  for (const bool by_client : {false, true}) {
    NatOptions options = Options();
    options.idle_ms = 1'000'000;
    Rig rig(options);
    Opened opened(rig, true);
    if (by_client) {
      opened.packet.flags = kFin | kAck;
      rig.Translate(Build(opened.packet));
    } else {
      rig.Back(Answer(opened.syn, 0, kFin | kAck, 501, 101));
    }
    CHECK(opened.State(rig) == SlotState::kClosing && rig.nat.open() == 1);
    rig.Expire(239'000);
    CHECK(rig.stack.count() == 0);
    for (int i = 0; i < 4; i++) {
      rig.Expire(241'000);
      CHECK(rig.stack.count() == 1 && rig.client.count() == 0 && rig.Events().empty());
      if (i == 2) {
        opened.packet.flags = kAck;
        opened.packet.acknowledgment = 502;
        rig.Translate(Build(opened.packet));
      }
      if (i < 3) rig.Back(Answer(opened.syn, 0, kAck, 501, 101));
    }
    if (by_client) {  // an orphan is gone
      rig.Back(Answer(opened.syn, 0, kRst, 501, 0));
      rig.Event(NatEventKind::kReset);
    } else {
      for (int i = 0; i < 4; i++) {
        rig.Back(Answer(opened.syn, 0, kAck, 501, 101));
        rig.Expire(241'000);
      }
      rig.Event(NatEventKind::kIdle);
    }
    CHECK(rig.nat.open() == 0);
  }
}

// What ends at once needs more room than there is: nothing is lost.
void TestMassExpiry() {
  NatOptions options = Options();
  options.max_connections = 500;
  Rig rig(options);
  for (uint16_t port = 1; port <= 200; port++) Opened(rig, true, port);
  size_t calls = 1, resets = 0;
  for (bool left = rig.Expire(150'000); left; left = rig.Expire(0), calls++) resets += rig.stack.count();
  resets += rig.stack.count();
  size_t ended = 0;
  for (size_t count = 1; count > 0; ended += count) count = rig.Events().size();
  CHECK(calls > 3 && resets >= 200 && ended == 200 && rig.nat.open() == 0, "%zu %zu %zu", calls, resets,
        ended);
}

// Segments of no connection: one side's flood takes nothing from the other's RSTs.
void TestResetBudgets() {
  Rig rig(Options());
  Opened opened(rig, true);
  Packet packet = opened.packet;
  packet.source_port = 999;
  for (int i = 0; i < 1100; i++) rig.Translate(Build(packet));
  CHECK(rig.client.count() == 0 && rig.nat.counters()[kResetsCount] == 1000);
  rig.With([&](const NatOutput& out) { rig.nat.Abort(opened.event.slot, opened.event.generation, out); });
  rig.Back(Answer(opened.syn, 0, kAck, 501, 101));
  CHECK(rig.stack.count() == 1);
}

// Addresses and routes that must not become connections.
void TestAddresses() {
  Rig rig(Options());
  Packet packet;
  packet.ipv6 = true;
  packet.flags = kSyn;
  const auto refused = [&](std::vector<uint8_t> start) {
    Bytes bytes = Build(packet);
    start.resize(16, 1);
    std::memcpy(bytes.data() + 24, start.data(), 16);
    const uint64_t before = rig.nat.counters()[kProtocolCount];
    rig.Translate(bytes);
    return rig.Events().empty() && rig.nat.counters()[kProtocolCount] == before + 1;
  };
  CHECK(refused(std::vector<uint8_t>(12)) && refused(std::vector<uint8_t>(15)) && refused({0xff, 2}));
  CHECK(refused({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1}));
  CHECK(!refused({0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 127, 0, 0, 1}));  // no such address
  packet.udp = true;
  CHECK(refused(std::vector<uint8_t>(15)) && !refused({0x20, 1}));
  packet.udp = false;

  packet.ipv6 = false;
  const auto begins = [&](std::vector<uint8_t> options) {
    packet.ip_options = options;
    packet.source_port++;
    rig.Translate(Build(packet));
    rig.Expire(200'000);
    return rig.Events().size() == 2;
  };
  CHECK(begins({1, 1, 1, 0}) && begins({131, 7, 8, 1, 2, 3, 4, 0}) && begins({0, 131, 7, 4}));
  CHECK(!begins({131, 7, 4, 1, 2, 3, 4, 0}) && !begins({1, 137, 7, 4, 1, 2, 3, 4}));
  CHECK(!begins({131, 2, 1, 1}) && !begins({7, 9, 4, 0}) && !begins({1, 1, 1, 131}));
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
        if (!rig.Accept(event) || rig.stack.count() == 0) continue;
        last = Answer(rig.stack.At(0), prefix, kSyn | kAck, 1, 1);
        if (random(2) == 0) rig.Arrive(rig.stack.At(0));
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
  TestFullOfHandshakes();
  TestManyHandshakes();
  TestForgeries();
  TestClosing();
  TestMassExpiry();
  TestResetBudgets();
  TestAddresses();
  TestGarbage(seed, 20 * cases);
  std::printf("passed\n");
}
