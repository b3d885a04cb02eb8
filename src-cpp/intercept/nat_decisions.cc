#include <algorithm>

#include "intercept/nat.h"
#include "offload/virtio_net_header.h"

// How connections of a Nat begin, and what JavaScript and time do to them.

namespace tuntap {
namespace {

// A client repeats its SYN within 64 seconds (tcp_syn_retries), and a stack its SYN-ACK.
constexpr uint32_t kOpeningMs = 75'000;
constexpr uint32_t kSilenceMs = 75'000;
constexpr uint32_t kLingerMs = 60'000;  // TIME_WAIT of Linux
constexpr uint32_t kProbeMs = 1000;
constexpr uint32_t kClosingMs = 240'000;  // RFC 5382's transitory time
// Handshakes under way, for each connection that may wait for a decision: each may hold a connection to
// another host. Beyond that the oldest goes, as forged ones never end.
constexpr size_t kHandshakesPerPending = 4;
// Slots that are over but kept: beyond that the oldest goes.
constexpr size_t kMaxKept = 65'536;

}  // namespace

// Whether a SYN can become a connection; counts why not.
bool Nat::MayBegin(const Framed& framed, const ConnectionKey& key, const NatOutput& out) {
  const IpPacket& packet = framed.packet;
  const bool listens = (packet.ipv4 ? options_.ipv4_port : options_.ipv6_port) != 0;
  if (!listens || !IsBetweenHosts(packet) || key.source().port == 0 || key.destination().port == 0) {
    counters_[kProtocolCount]++;
    return false;
  }
  if (!HasRightSyn(framed)) return false;
  if (pending() >= options_.max_pending) {
    counters_[kPendingLimitCount]++;
    return false;
  }
  if (pending() + open() < options_.max_connections || EndOldestHandshake(out)) return true;
  counters_[kOpenLimitCount]++;
  return false;
}

void Nat::Begin(const Framed& framed, const ConnectionKey& key, uint32_t now_ms, const NatOutput& out) {
  if (!MayBegin(framed, key, out)) return;
  const uint32_t index = slots_.Insert(key, SlotState::kPending, now_ms);
  if (index == kNoValue) {
    counters_[kOpenLimitCount]++;
    return;
  }
  last_found_ = index;
  const IpPacket& packet = framed.packet;
  syns_[index].assign(framed.bytes, framed.bytes + options_.prefix + packet.length);
  counters_[kConnectionsCount]++;
  NatEvent event{};
  event.slot = index;
  event.generation = slots_[index].generation;
  event.kind = NatEventKind::kNew;
  event.family = packet.ipv4 ? 4 : 6;
  event.ends.source_port = ntohs(key.source().port);
  event.ends.destination_port = ntohs(key.destination().port);
  std::memcpy(event.ends.source, packet.source(), packet.address_length());
  std::memcpy(event.ends.destination, packet.destination(), packet.address_length());
  events_.push_back(event);
}

bool Nat::Accept(uint32_t index, uint32_t generation, uint32_t now_ms, const NatOutput& out) {
  if (!slots_.Has(index, generation) || slots_[index].state != SlotState::kPending) return false;
  if (slots_.Count(SlotState::kOpening) >= kHandshakesPerPending * options_.max_pending) {
    (void)EndOldestHandshake(out);
  }
  Slot& slot = slots_[index];
  std::vector<uint8_t>& syn = syns_[index];
  const IpPacket packet = ReadIpPacket(syn.data() + options_.prefix, syn.size() - options_.prefix);
  slot.client_next = packet.tcp_sequence() + packet.tcp_span();
  slot.server_acknowledged = packet.tcp_sequence() + 1;
  uint8_t address[16];
  const PacketEnd inside = InsideEnd(index, address);
  const PacketEnd listener = addresses_.Listener(packet.ipv4);
  slot.deltas =
      DeltasBetween(slot.key.source(), slot.key.destination(), inside, listener, slot.key.address_length());
  const bool partial = options_.prefix > 0 && (syn[0] & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0;
  RewriteEnds(packet, inside, listener, slot.deltas,
              partial ? ChecksumState::kPartial : ChecksumState::kComplete);
  uint8_t* const at = out.to_stack->Reserve(syn.size());
  // Without room it is as if the network had lost it: the client sends another one.
  if (at != nullptr) {
    std::memcpy(at, syn.data(), syn.size());
    out.to_stack->Commit(syn.size());
  }
  syns_.erase(index);
  slot.seen_ms = now_ms;
  slots_.Move(index, SlotState::kOpening, now_ms);
  return true;
}

bool Nat::Refuse(uint32_t index, uint32_t generation, RefusalKind how, uint32_t now_ms,
                 const NatOutput& out) {
  if (!slots_.Has(index, generation) || slots_[index].state != SlotState::kPending) return false;
  counters_[kRefusedCount]++;
  if (how == RefusalKind::kSilence) {
    Silence(index, now_ms);
    return true;
  }
  std::vector<uint8_t>& syn = syns_[index];
  const IpPacket packet = ReadIpPacket(syn.data() + options_.prefix, syn.size() - options_.prefix);
  if (how == RefusalKind::kReset) {
    AppendReset(out.to_client, options_.prefix, packet);
  } else {
    const Unreachable why = how == RefusalKind::kPortUnreachable   ? Unreachable::kPort
                            : how == RefusalKind::kHostUnreachable ? Unreachable::kHost
                                                                   : Unreachable::kProhibited;
    AppendUnreachable(out.to_client, options_.prefix, packet, why);
  }
  Remove(index);
  return true;
}

// Keeps the slot, so that the client's next SYNs are no new connections.
void Nat::Silence(uint32_t index, uint32_t now_ms) {
  syns_.erase(index);
  slots_[index].seen_ms = now_ms;
  slots_.Move(index, SlotState::kSilenced, now_ms);
  LimitList(SlotState::kSilenced);
}

bool Nat::FindAccepted(bool ipv4, const PacketEnd& end, uint32_t* index, uint32_t* generation) const {
  if (!StackAddresses::Decode(ipv4, end, index, generation) || !slots_.Has(*index, *generation)) return false;
  const Slot& slot = slots_[*index];
  return slot.key.ipv4() == ipv4 && IsAccepted(slot.state);
}

bool Nat::Arrived(bool ipv4, const PacketEnd& end, uint32_t now_ms, uint32_t* index, uint32_t* generation) {
  if (!FindAccepted(ipv4, end, index, generation)) return false;
  if (slots_[*index].state == SlotState::kOpening) Resume(*index, now_ms);
  return true;
}

bool Nat::Abort(uint32_t index, uint32_t generation, const NatOutput& out) {
  if (!slots_.Has(index, generation)) return false;
  SendResets(index, out);
  Remove(index);
  return true;
}

bool Nat::AbortSome(const NatOutput& out) {
  for (const SlotState state :
       {SlotState::kPending, SlotState::kOpening, SlotState::kOpen, SlotState::kClosing, SlotState::kReset}) {
    while (slots_.First(state) != kNoValue) {
      if (!out.HasRoom()) return true;
      SendResets(slots_.First(state), out);
      Remove(slots_.First(state));
    }
  }
  return false;
}

// Both ends accept an RST only with the number that they expect next, which they have told or been told of.
void Nat::SendResets(uint32_t index, const NatOutput& out) {
  const Slot& slot = slots_[index];
  if (slot.state == SlotState::kPending) {
    std::vector<uint8_t>& syn = syns_[index];
    AppendReset(out.to_client, options_.prefix,
                ReadIpPacket(syn.data() + options_.prefix, syn.size() - options_.prefix));
    return;
  }
  if (!IsAccepted(slot.state) || slot.state == SlotState::kLingering) return;
  const auto send = [&](Appender* to, BareSegment reset, uint32_t expected, uint32_t acknowledged) {
    reset.flags = kTcpRst | kTcpAck;
    reset.sequence = expected;
    AppendSegment(to, options_.prefix, reset);
    if (acknowledged == expected) return;
    reset.sequence = acknowledged;
    AppendSegment(to, options_.prefix, reset);
  };
  BareSegment reset{};
  reset.ipv4 = slot.key.ipv4();
  reset.source = slot.key.destination();
  reset.destination = slot.key.source();
  reset.acknowledgment = slot.client_next;
  send(out.to_client, reset, slot.server_next, slot.client_acknowledged);
  uint8_t address[16];
  reset.source = InsideEnd(index, address);
  reset.destination = addresses_.Listener(reset.ipv4);
  reset.acknowledgment = slot.server_next;
  send(out.to_stack, reset, slot.client_next, slot.server_acknowledged);
}

// Makes room for a new connection: clients that never end their handshakes must not shut others out.
bool Nat::EndOldestHandshake(const NatOutput& out) {
  const uint32_t index = slots_.First(SlotState::kOpening);
  if (index == kNoValue || !out.HasRoom()) return false;
  SendResets(index, out);
  End(index, NatEventKind::kIdle);
  return true;
}

// Asks the stack whether it still has the connection, as a keepalive does: it answers with ACK, or with RST.
// Before its SYN-ACK there is no number to ask with.
void Nat::Probe(uint32_t index, const NatOutput& out) {
  const Slot& slot = slots_[index];
  if ((slot.seen & kServerSyn) == 0) return;
  uint8_t address[16];
  BareSegment probe{};
  probe.ipv4 = slot.key.ipv4();
  probe.flags = kTcpAck;
  probe.source = InsideEnd(index, address);
  probe.destination = addresses_.Listener(probe.ipv4);
  probe.sequence = slot.server_acknowledged - 1;
  probe.acknowledgment = slot.server_next;
  AppendSegment(out.to_stack, options_.prefix, probe);
}

// Returns false when there is no room for more.
template <typename Handle>
bool Nat::ExpireList(SlotState state, uint32_t age_ms, uint32_t now_ms, const NatOutput& out, Handle handle) {
  for (;;) {
    const uint32_t index = slots_.First(state);
    if (index == kNoValue || now_ms - slots_[index].queued_ms < age_ms) return true;
    if (!out.HasRoom()) return false;
    if (now_ms - slots_[index].seen_ms < age_ms) {
      slots_.Move(index, state, now_ms);  // looked at again after that time
    } else {
      handle(index);
    }
  }
}

bool Nat::Expire(uint32_t now_ms, const NatOutput& out) {
  const auto remove = [&](uint32_t index) { Remove(index); };
  const auto reset = [&](uint32_t index) {
    SendResets(index, out);
    End(index, NatEventKind::kIdle);
  };
  const auto forget = [&](uint32_t index) {
    counters_[kTimedOutCount]++;
    AddEvent(index, NatEventKind::kTimedOut);
    Silence(index, now_ms);
  };
  const auto ask = [&](uint32_t index) {
    Probe(index, out);
    Resume(index, now_ms);
  };
  // The stack's answers are packets, too: only those of the client tell that somebody is there.
  const uint32_t closing_ms = std::min(kClosingMs, options_.idle_ms);
  const auto ask_or_reset = [&](uint32_t index) {
    Slot& slot = slots_[index];
    if ((uint64_t{slot.probes} + 1) * closing_ms >= options_.idle_ms) return reset(index);
    slot.probes++;
    ask(index);
  };
  return !ExpireList(SlotState::kPending, options_.decision_ms, now_ms, out, forget) ||
         !ExpireList(SlotState::kOpening, kOpeningMs, now_ms, out, reset) ||
         !ExpireList(SlotState::kOpen, options_.idle_ms, now_ms, out, reset) ||
         !ExpireList(SlotState::kClosing, closing_ms, now_ms, out, ask_or_reset) ||
         !ExpireList(SlotState::kReset, kProbeMs, now_ms, out, ask) ||
         !ExpireList(SlotState::kLingering, kLingerMs, now_ms, out, remove) ||
         !ExpireList(SlotState::kSilenced, kSilenceMs, now_ms, out, remove);
}

void Nat::LimitList(SlotState state) {
  while (slots_.Count(state) > kMaxKept) End(slots_.First(state), NatEventKind::kReset);
}

uint32_t Nat::AddOwn(const ConnectionKey& key, uint32_t* generation) {
  if (slots_.Find(key) != kNoValue) return kNoValue;
  const uint32_t index = slots_.Insert(key, SlotState::kOwn, 0);
  if (index == kNoValue) return kNoValue;
  last_found_ = kNoValue;
  *generation = slots_[index].generation;
  return index;
}

void Nat::RemoveOwn(uint32_t index, uint32_t generation) {
  if (slots_.Has(index, generation) && slots_[index].state == SlotState::kOwn) Remove(index);
}

bool Nat::Totals(uint32_t index, uint32_t generation, double* client, double* server) const {
  if (!slots_.Has(index, generation)) return false;
  *client = static_cast<double>(slots_[index].client_bytes);
  *server = static_cast<double>(slots_[index].server_bytes);
  return true;
}

const Slot* Nat::Find(const ConnectionKey& key) const {
  const uint32_t index = slots_.Find(key);
  return index == kNoValue ? nullptr : &slots_[index];
}

// The slot is over; JavaScript hears of it unless it has heard already.
void Nat::End(uint32_t index, NatEventKind kind) {
  const SlotState state = slots_[index].state;
  if (state != SlotState::kLingering && state != SlotState::kSilenced) AddEvent(index, kind);
  Remove(index);
}

void Nat::AddEvent(uint32_t index, NatEventKind kind) {
  const Slot& slot = slots_[index];
  NatEvent event{};
  event.slot = index;
  event.generation = slot.generation;
  event.kind = kind;
  event.family = slot.key.ipv4() ? 4 : 6;
  event.totals = {0, static_cast<double>(slot.client_bytes), static_cast<double>(slot.server_bytes)};
  events_.push_back(event);
}

void Nat::Remove(uint32_t index) {
  if (slots_[index].state == SlotState::kPending) syns_.erase(index);
  if (last_found_ == index) last_found_ = kNoValue;
  slots_.Remove(index);
}

size_t Nat::TakeEvents(NatEvent* rows, size_t capacity) {
  const size_t count = std::min(capacity, events_.size() - taken_events_);
  std::copy_n(events_.begin() + static_cast<ptrdiff_t>(taken_events_), count, rows);
  taken_events_ += count;
  if (taken_events_ == events_.size()) {
    events_.clear();
    taken_events_ = 0;
  }
  return count;
}

}  // namespace tuntap
