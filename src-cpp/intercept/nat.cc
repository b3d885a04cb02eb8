#include "intercept/nat.h"

#include <algorithm>

#include "offload/virtio_net_header.h"

namespace tuntap {
namespace {

constexpr size_t kMaxSyn = 2048;
// A segment that is farther ahead than any window is not counted.
constexpr uint32_t kMaxAdvance = 1U << 30;

constexpr uint8_t kAllFins = kClientFin | kClientFinAccepted | kServerFin;
constexpr uint8_t kConnecting = kTcpSyn | kTcpAck | kTcpRst | kTcpFin;

// Moves `*next` to `end` if that is ahead; returns by how much.
uint32_t Advance(uint32_t* next, uint32_t end) {
  const uint32_t ahead = end - *next;
  if (ahead == 0 || ahead >= kMaxAdvance) return 0;
  *next = end;
  return ahead;
}

// What the stack acknowledges was the client's own: a FIN and data can come from anybody.
void NoteAcknowledgment(Slot* slot, uint32_t acknowledgment) {
  slot->client_bytes += Advance(&slot->server_acknowledged, acknowledgment);
  if ((slot->seen & (kClientFin | kClientFinAccepted)) != kClientFin || acknowledgment != slot->client_fin)
    return;
  slot->seen |= kClientFinAccepted;
  slot->client_bytes--;
}

}  // namespace

Nat::Nat(const NatOptions& options) : options_(options), addresses_(options.ipv4_port, options.ipv6_port) {}

bool Nat::Frame(const BatchView& batch, size_t i, Framed* framed) {
  const BatchEntry entry = batch.entries()[i];
  if (!batch.Contains(entry.offset, entry.length) || entry.length < options_.prefix) return false;
  uint8_t* const bytes = batch.memory() + entry.offset;
  framed->bytes = bytes;
  framed->packet = ReadIpPacket(bytes + options_.prefix, entry.length - options_.prefix);
  framed->state = ChecksumState::kComplete;
  const IpPacket& packet = framed->packet;
  if (options_.prefix < sizeof(VirtioNetHeader) || packet.sort != PacketSort::kTcp) return true;
  VirtioNetHeader header;
  std::memcpy(&header, bytes, sizeof(header));
  if ((header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) == 0) return true;
  framed->state = ChecksumState::kPartial;
  return header.csum_start == packet.transport && header.csum_offset == kTcpChecksumOffset;
}

size_t Nat::Translate(const BatchView& batch, PacketRun* runs, uint32_t now_ms, const NatOutput& out) {
  size_t count = 0;
  uint32_t before = kDrop;
  for (size_t i = 0; i < batch.count(); i++) {
    BatchEntry& entry = batch.entries()[i];
    if (entry.length == 0 || entry.length == kDropped) continue;
    Framed framed;
    uint32_t kind = kDrop;
    if (Frame(batch, i, &framed) && framed.packet.sort != PacketSort::kMalformed) {
      kind = TranslateOne(framed, now_ms, out);
    } else {
      counters_[kMalformedCount]++;
    }
    if (kind == kDrop) {
      entry.length = kDropped;
    } else if (kind != kTranslated) {
      const auto at = static_cast<uint32_t>(i);
      if (count == 0 || before != kind || runs[count - 1].end != at) {
        runs[count++] = {at, at, kind, 0, 0, 0, 0, kNoValue};
      }
      runs[count - 1].end = at + 1;
    }
    before = kind;
  }
  return count;
}

uint32_t Nat::TranslateOne(const Framed& framed, uint32_t now_ms, const NatOutput& out) {
  const IpPacket& packet = framed.packet;
  switch (packet.sort) {
    case PacketSort::kUdp:
      if (IsBetweenHosts(packet)) return kUdpRun;
      break;
    case PacketSort::kIcmp:
      return TranslateError(packet) ? kTranslated : kIcmpRun;
    case PacketSort::kFragment:
      return kFragmentRun;
    case PacketSort::kTcp: {
      const bool back = options_.shared && ComesFromListener(packet);
      const bool kept = back ? TranslateOneBack(framed, now_ms, out) : TranslateSegment(framed, now_ms, out);
      return kept ? kTranslated : kDrop;
    }
    default:
      break;
  }
  counters_[kProtocolCount]++;
  return kDrop;
}

void Nat::TranslateBack(const BatchView& batch, uint32_t now_ms, const NatOutput& out) {
  for (size_t i = 0; i < batch.count(); i++) {
    BatchEntry& entry = batch.entries()[i];
    if (entry.length == 0 || entry.length == kDropped) continue;
    Framed framed;
    const bool kept = Frame(batch, i, &framed) && framed.packet.sort == PacketSort::kTcp &&
                      ComesFromListener(framed.packet) && TranslateOneBack(framed, now_ms, out);
    if (!kept) entry.length = kDropped;
  }
}

bool Nat::TranslateSegments(const BatchView& batch, bool back, uint32_t now_ms, const NatOutput& out) {
  for (size_t i = 0; i < batch.count(); i++) {
    Framed framed;
    if (!Frame(batch, i, &framed) || framed.packet.sort != PacketSort::kTcp) return false;
  }
  if (back) {
    TranslateBack(batch, now_ms, out);
  } else {
    PacketRun unused;  // segments are in no run
    (void)Translate(batch, &unused, now_ms, out);
  }
  return true;
}

uint32_t Nat::Lookup(const ConnectionKey& key) {
  if (last_found_ == kNoValue || !(slots_[last_found_].key == key)) last_found_ = slots_.Find(key);
  return last_found_;
}

// From the client. Returns whether the packet is translated now; otherwise drop it.
bool Nat::TranslateSegment(const Framed& framed, uint32_t now_ms, const NatOutput& out) {
  const IpPacket& packet = framed.packet;
  const ConnectionKey key = ConnectionKey::Of(packet);
  uint32_t index = Lookup(key);
  if (index != kNoValue && (packet.tcp_flags() & kConnecting) == kTcpSyn) {
    bool again = false;
    if (!TakeSyn(framed, index, now_ms, out, &again)) {
      if (again) Begin(framed, key, now_ms, out);
      return false;
    }
  } else if (index == kNoValue) {
    if ((packet.tcp_flags() & kConnecting) == kTcpSyn) {
      Begin(framed, key, now_ms, out);
    } else {
      counters_[kUnknownCount]++;
      if ((packet.tcp_flags() & kTcpRst) == 0) Answer(packet, now_ms, &client_resets_, out.to_client);
    }
    return false;
  }
  return FromClient(framed, index, now_ms, out);
}

// A SYN of ends that have a slot. Returns whether it goes to the stack; `*again`: it begins anew.
bool Nat::TakeSyn(const Framed& framed, uint32_t index, uint32_t now_ms, const NatOutput& out, bool* again) {
  Slot& slot = slots_[index];
  const IpPacket& packet = framed.packet;
  switch (slot.state) {
    case SlotState::kPending: {
      if (HasRightSyn(framed)) {
        syns_[index].assign(framed.bytes, framed.bytes + options_.prefix + packet.length);
      }
      return false;
    }
    case SlotState::kSilenced:
      slot.seen_ms = now_ms;
      return false;
    case SlotState::kOwn:
      counters_[kLoopsCount]++;
      AppendUnreachable(out.to_client, options_.prefix, packet, Unreachable::kHost);
      return false;
    case SlotState::kLingering:
      if (slot.client_acknowledged == slot.server_next) {
        Remove(index);
        *again = true;
        return false;
      }
      break;
    default:
      if (slot.state == SlotState::kOpening && packet.tcp_sequence() + 1 == slot.server_acknowledged)
        return true;
  }
  // A stack that has the connection answers ACK; a client that has it no more answers that with RST. Then the
  // client's next SYN is new (RFC 5961 section 4).
  Probe(index, out);
  return false;
}

// Whether a SYN can be kept; counts it if not.
bool Nat::HasRightSyn(const Framed& framed) {
  const IpPacket& packet = framed.packet;
  const bool right = options_.prefix + packet.length <= kMaxSyn &&
                     (framed.state == ChecksumState::kPartial || HasRightChecksum(packet, kProtocolTcp));
  counters_[kMalformedCount] += right ? 0 : 1;
  return right;
}

PacketEnd Nat::InsideEnd(uint32_t index, uint8_t (&address)[16]) const {
  const Slot& slot = slots_[index];
  return addresses_.Of(slot.key.ipv4(), index, slot.generation, address);
}

// A segment of a client's connection. Returns whether it is translated now.
bool Nat::FromClient(const Framed& framed, uint32_t index, uint32_t now_ms, const NatOutput& out) {
  Slot& slot = slots_[index];
  const IpPacket& packet = framed.packet;
  const uint8_t flags = packet.tcp_flags();
  if (!IsAccepted(slot.state)) return false;
  uint8_t address[16];
  RewriteEnds(packet, InsideEnd(index, address), addresses_.Listener(packet.ipv4), slot.deltas, framed.state);
  slot.seen_ms = now_ms;
  slot.probes = 0;
  if ((flags & kTcpRst) != 0) {
    NoteClientReset(index, now_ms, out);
    return true;
  }
  if ((flags & kTcpAck) != 0) slot.client_acknowledged = packet.tcp_acknowledgment();
  const uint32_t end = packet.tcp_sequence() + packet.tcp_span();
  (void)Advance(&slot.client_next, end);
  if ((flags & kTcpFin) != 0) {
    slot.seen |= kClientFin;
    slot.client_fin = end;
    if (slot.state == SlotState::kOpen) Resume(index, now_ms);
  }
  return true;
}

// From the stack. Returns whether the packet is translated now; otherwise drop it.
bool Nat::TranslateOneBack(const Framed& framed, uint32_t now_ms, const NatOutput& out) {
  const IpPacket& packet = framed.packet;
  uint32_t index = 0;
  uint32_t generation = 0;
  const PacketEnd inside = {packet.destination(), LoadAsIs<uint16_t>(packet.header() + 2)};
  if (!FindAccepted(packet.ipv4, inside, &index, &generation)) {
    if ((packet.tcp_flags() & kTcpRst) == 0) Answer(packet, now_ms, &stack_resets_, out.to_stack);
    return false;
  }
  const Slot& slot = slots_[index];
  RewriteEnds(packet, slot.key.destination(), slot.key.source(), slot.deltas.Reversed(), framed.state);
  FromServer(framed, index, now_ms);
  return true;
}

void Nat::FromServer(const Framed& framed, uint32_t index, uint32_t now_ms) {
  Slot& slot = slots_[index];
  const IpPacket& packet = framed.packet;
  const uint8_t flags = packet.tcp_flags();
  // That a stack repeats its SYN-ACK tells nothing of the client.
  if (slot.state != SlotState::kOpening) slot.seen_ms = now_ms;
  if ((flags & kTcpRst) != 0) {
    // While the connection opens, the stack answers a wrong segment so, with that segment's number, and goes
    // on.
    if (slot.state != SlotState::kOpening ||
        ((slot.seen & kServerSyn) != 0 && packet.tcp_sequence() == slot.server_next)) {
      End(index, NatEventKind::kReset);
    }
    return;
  }
  if (slot.state == SlotState::kReset) Resume(index, now_ms);
  if ((flags & kTcpAck) != 0) NoteAcknowledgment(&slot, packet.tcp_acknowledgment());
  const uint32_t end = packet.tcp_sequence() + packet.tcp_span();
  if ((flags & kTcpSyn) != 0) {
    slot.server_next = end;
    slot.seen |= kServerSyn;
    return;
  }
  const bool fin = (flags & kTcpFin) != 0;
  const uint32_t ahead = Advance(&slot.server_next, end);
  if (ahead > 0) slot.server_bytes += ahead - fin;
  if (fin) {
    slot.seen |= kServerFin;
    if (slot.state == SlotState::kOpen) Resume(index, now_ms);
  }
  if ((slot.seen & kAllFins) != kAllFins || slot.state == SlotState::kLingering) return;
  AddEvent(index, NatEventKind::kClosed);
  slots_.Move(index, SlotState::kLingering, now_ms);
  LimitList(SlotState::kLingering);
}

// Only the stack knows whether it accepts the RST: it is asked, behind the RST and once more later.
void Nat::NoteClientReset(uint32_t index, uint32_t now_ms, const NatOutput& out) {
  const SlotState state = slots_[index].state;
  if (state == SlotState::kLingering) return;
  Probe(index, out);
  if (state == SlotState::kOpen || state == SlotState::kClosing)
    slots_.Move(index, SlotState::kReset, now_ms);
}

// The stack has the connection.
void Nat::Resume(uint32_t index, uint32_t now_ms) {
  const bool closing = (slots_[index].seen & (kClientFin | kServerFin)) != 0;
  slots_.Move(index, closing ? SlotState::kClosing : SlotState::kOpen, now_ms);
}

bool Nat::ComesFromListener(const IpPacket& packet) const {
  const PacketEnd listener = addresses_.Listener(packet.ipv4);
  return LoadAsIs<uint16_t>(packet.header()) == listener.port &&
         std::memcmp(packet.source(), listener.address, packet.address_length()) == 0;
}

// A segment for which there is no connection.
void Nat::Answer(const IpPacket& packet, uint32_t now_ms, ReplyBudget* budget, Appender* out) {
  if (!IsBetweenHosts(packet) || !budget->Take(now_ms)) return;
  counters_[kResetsCount]++;
  AppendReset(out, options_.prefix, packet);
}

}  // namespace tuntap
