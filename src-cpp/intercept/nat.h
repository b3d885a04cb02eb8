#pragma once

#include <unordered_map>
#include <vector>

#include "batch/appender.h"
#include "intercept/replies.h"
#include "intercept/slot_table.h"
#include "intercept/stack_addresses.h"

namespace tuntap {

// What the packets of a run are that Nat does not translate: PacketRun::value.
enum RunKind : uint32_t { kUdpRun = 1, kIcmpRun, kFragmentRun };

enum class NatEventKind : uint32_t {
  kNew = 1,
  kTimedOut,  // nobody decided in time
  kClosed,    // both ends sent FIN
  kReset,     // an end sent RST
  kIdle,      // no packet for long
};

// What happened to a connection, for JavaScript: a row of lib/intercept/nat.ts.
struct NatEvent {
  uint32_t slot;
  uint32_t generation;
  NatEventKind kind;
  uint32_t family;  // 4 or 6
  union {
    struct {
      uint16_t source_port;
      uint16_t destination_port;
      uint32_t reserved;
      uint8_t source[16];
      uint8_t destination[16];
    } ends;  // kNew
    struct {
      uint64_t reserved;
      double client_bytes;
      double server_bytes;
    } totals;  // the others, with which the connection ends
  };
};

// How a connection can be refused.
enum class RefusalKind : uint8_t { kReset, kPortUnreachable, kHostUnreachable, kProhibited, kSilence };

enum NatCounter : size_t {
  kConnectionsCount,   // SYNs that became connections
  kRefusedCount,       // connections that JavaScript refused
  kTimedOutCount,      // connections that nobody decided about
  kLoopsCount,         // SYNs of the interceptor's own connections
  kResetsCount,        // RSTs for segments of no connection
  kMalformedCount,     // dropped: headers contradict each other, or a SYN's checksum is wrong
  kUnknownCount,       // dropped: segments of no connection
  kPendingLimitCount,  // dropped: SYNs while too many connections wait
  kOpenLimitCount,     // dropped: SYNs while too many connections are open
  kProtocolCount,      // dropped: protocols other than TCP, UDP and ICMP, and addresses of no host
  kNatCounters,
};

struct NatOptions {
  size_t prefix = 0;    // bytes of the virtio_net_hdr before each packet
  bool shared = false;  // the stack's packets come from the client's device
  uint16_t ipv4_port = 0;
  uint16_t ipv6_port = 0;  // that the stack listens at, as they lie in memory; 0: not
  size_t max_pending = 0;
  size_t max_connections = 0;
  uint32_t decision_ms = 0;
  uint32_t idle_ms = 0;
};

// Where packets go that Nat makes itself.
struct NatOutput {
  Appender* to_client;
  Appender* to_stack;

  // Whether there is room for the RSTs of one connection.
  bool HasRoom() const {
    constexpr size_t kMaxAbortBytes = 512;
    return to_client->HasRoom(2, kMaxAbortBytes) && to_stack->HasRoom(2, kMaxAbortBytes);
  }
};

// Translates TCP between a client's packets and a TCP stack that listens at one address. A connection waits
// in its slot until JavaScript has decided. All times are milliseconds of one clock, which may wrap.
class Nat {
 public:
  explicit Nat(const NatOptions& options);

  // Translates the client's packets in place, so that they can be written to the stack. Other packets stay as
  // they are, in runs; what belongs to nobody is dropped. Returns the number of runs; `runs` has room for
  // the batch's length.
  size_t Translate(const BatchView& batch, PacketRun* runs, uint32_t now_ms, const NatOutput& out);
  // Translates the stack's packets, so that they can be written to the client. All others are dropped.
  void TranslateBack(const BatchView& batch, uint32_t now_ms, const NatOutput& out);

  // Both of a batch that has only TCP segments; returns false and leaves any other as it is.
  bool TranslateSegments(const BatchView& batch, bool back, uint32_t now_ms, const NatOutput& out);

  // Decisions about a connection that waits. They return false if it waits no more.
  bool Accept(uint32_t slot, uint32_t generation, uint32_t now_ms, const NatOutput& out);
  bool Refuse(uint32_t slot, uint32_t generation, RefusalKind how, uint32_t now_ms, const NatOutput& out);
  // Whether an end inside the stack, of a socket that was accepted, is that of a connection that lives.
  bool Arrived(bool ipv4, const PacketEnd& end, uint32_t now_ms, uint32_t* slot, uint32_t* generation);
  bool FindAccepted(bool ipv4, const PacketEnd& end, uint32_t* slot, uint32_t* generation) const;

  // Ends a connection: RST to both ends. Returns false if it has ended.
  bool Abort(uint32_t slot, uint32_t generation, const NatOutput& out);
  // Ends connections while there is room for their RSTs; returns whether some are left.
  bool AbortSome(const NatOutput& out);
  // Ends what is too old while there is room; returns whether something is left.
  bool Expire(uint32_t now_ms, const NatOutput& out);

  // Notes a connection of the interceptor itself: a SYN of it is refused. Returns its slot, or kNoValue.
  uint32_t AddOwn(const ConnectionKey& key, uint32_t* generation);
  void RemoveOwn(uint32_t slot, uint32_t generation);

  // The bytes that both ends have sent, until the connection's last event.
  bool Totals(uint32_t slot, uint32_t generation, double* client, double* server) const;
  // The connection of these ends, or nullptr.
  const Slot* Find(const ConnectionKey& key) const;

  // Moves events into `rows`; returns how many.
  size_t TakeEvents(NatEvent* rows, size_t capacity);
  bool has_events() const { return taken_events_ < events_.size(); }

  const uint64_t (&counters() const)[kNatCounters] { return counters_; }
  size_t pending() const { return slots_.Count(SlotState::kPending); }
  size_t open() const {
    return slots_.Count(SlotState::kOpening) + slots_.Count(SlotState::kOpen) +
           slots_.Count(SlotState::kClosing) + slots_.Count(SlotState::kReset);
  }

 private:
  // A packet of a batch, and what its virtio_net_hdr says.
  struct Framed {
    const uint8_t* bytes;  // with the prefix
    IpPacket packet;
    ChecksumState state;
  };
  // What becomes of a packet: dropped, translated, or one of RunKind.
  static constexpr uint32_t kDrop = 0;
  static constexpr uint32_t kTranslated = UINT32_MAX;

  bool Frame(const BatchView& batch, size_t i, Framed* framed);
  uint32_t TranslateOne(const Framed& framed, uint32_t now_ms, const NatOutput& out);
  bool TranslateSegment(const Framed& framed, uint32_t now_ms, const NatOutput& out);
  // An ICMP error about a segment that the client was sent. Returns whether it is translated now.
  bool TranslateError(const IpPacket& packet);
  bool TranslateOneBack(const Framed& framed, uint32_t now_ms, const NatOutput& out);
  bool ComesFromListener(const IpPacket& packet) const;

  uint32_t Lookup(const ConnectionKey& key);
  bool HasRightSyn(const Framed& framed);
  bool MayBegin(const Framed& framed, const ConnectionKey& key, const NatOutput& out);
  PacketEnd InsideEnd(uint32_t index, uint8_t (&address)[16]) const;
  void Begin(const Framed& framed, const ConnectionKey& key, uint32_t now_ms, const NatOutput& out);
  bool TakeSyn(const Framed& framed, uint32_t index, uint32_t now_ms, const NatOutput& out, bool* again);
  bool FromClient(const Framed& framed, uint32_t index, uint32_t now_ms, const NatOutput& out);
  void FromServer(const Framed& framed, uint32_t index, uint32_t now_ms);
  void NoteClientReset(uint32_t index, uint32_t now_ms, const NatOutput& out);
  void Resume(uint32_t index, uint32_t now_ms);

  void Answer(const IpPacket& packet, uint32_t now_ms, ReplyBudget* budget, Appender* out);
  void Silence(uint32_t index, uint32_t now_ms);
  void SendResets(uint32_t index, const NatOutput& out);
  bool EndOldestHandshake(const NatOutput& out);
  void Probe(uint32_t index, const NatOutput& out);
  void End(uint32_t index, NatEventKind kind);
  void AddEvent(uint32_t index, NatEventKind kind);
  void Remove(uint32_t index);
  template <typename Handle>
  bool ExpireList(SlotState state, uint32_t age_ms, uint32_t now_ms, const NatOutput& out, Handle handle);
  void LimitList(SlotState state);

  const NatOptions options_;
  const StackAddresses addresses_;
  SlotTable slots_;
  uint32_t last_found_ = kNoValue;  // most packets are of the connection that the one before was of
  // The SYNs of slots that wait, with their prefix.
  std::unordered_map<uint32_t, std::vector<uint8_t>> syns_;
  std::vector<NatEvent> events_;
  size_t taken_events_ = 0;
  // Of RSTs for segments of no connection.
  ReplyBudget client_resets_;
  ReplyBudget stack_resets_;
  uint64_t counters_[kNatCounters] = {};
};

}  // namespace tuntap
