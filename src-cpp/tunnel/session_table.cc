#include "tunnel/session_table.h"

#include <cerrno>

#include "crypto/little_endian.h"

namespace tuntap {
namespace {

// The bytes of an entry, or nullptr if it was dropped or lies outside the batch.
uint8_t* Bytes(const BatchView& batch, const BatchEntry& entry) {
  return batch.Contains(entry.offset, entry.length) ? batch.memory() + entry.offset : nullptr;
}

void Drop(BatchEntry* entry, int32_t status) {
  entry->length = kDropped;
  entry->status = status;
}

}  // namespace

size_t RunsByDestination(const BatchView& batch, size_t start, size_t end, const PrefixTable& prefixes,
                         PacketRun* runs) {
  size_t count = 0;
  for (size_t i = start; i < end; i++) {
    const BatchEntry entry = batch.entries()[i];
    uint8_t* const bytes = Bytes(batch, entry);
    const InnerPacket packet(bytes, bytes == nullptr ? 0 : entry.length);
    const uint32_t value = packet.length() == 0 ? kNoValue : prefixes.LookupDestination(packet);
    const uint32_t ecn = packet.length() == 0 ? 0 : packet.Ecn();
    if (count == 0 || runs[count - 1].value != value || runs[count - 1].ecn != ecn) {
      runs[count++] = {static_cast<uint32_t>(i), 0, value, ecn, 0, 0, 0, kNoValue};
    }
    runs[count - 1].end = static_cast<uint32_t>(i + 1);
  }
  return count;
}

int SessionTable::Set(uint32_t index, const uint8_t* key, size_t key_length, uint32_t value, double until) {
  auto session = std::make_unique<Session>();
  const int result = Aead::Create(cipher_, key, key_length, layout_.aead, 1, &session->aead);
  if (result < 0) return result;
  session->value = value;
  session->until = until;
  sessions_[index] = std::move(session);
  return 0;
}

// The index in a data message's header; false for any other datagram.
bool SessionTable::ReadIndex(const BatchView& batch, size_t i, uint32_t* index) const {
  const BatchEntry entry = batch.entries()[i];
  const uint8_t* const bytes = Bytes(batch, entry);
  if (bytes == nullptr || entry.length < layout_.aead.header_length + Aead::kTagSize ||
      LoadLittleEndian32(bytes) != layout_.type) {
    return false;
  }
  *index = LoadLittleEndian32(bytes + layout_.index_offset);
  return true;
}

SessionTable::Session* SessionTable::Find(uint32_t index, double now) const {
  const auto found = sessions_.find(index);
  return found == sessions_.end() || now >= found->second->until ? nullptr : found->second.get();
}

bool SessionTable::KnowAll(const BatchView& batch, double now) const {
  uint32_t known = 0;
  bool any = false;
  for (size_t i = 0; i < batch.count(); i++) {
    uint32_t index = 0;
    if (!ReadIndex(batch, i, &index)) return false;
    if (any && index == known) continue;
    if (Find(index, now) == nullptr) return false;
    known = index;
    any = true;
  }
  return true;
}

void SessionTable::OpenOne(const BatchView& batch, size_t i, Session* session, const PrefixTable* sources,
                           const DatagramEntry* datagrams, PacketRun* run) {
  BatchEntry& entry = batch.entries()[i];
  const BatchEntry sealed = entry;
  uint8_t* const datagram = Bytes(batch, sealed);
  const uint64_t counter = LoadLittleEndian64(datagram + layout_.aead.counter_offset);
  if (counter >= layout_.counter_limit) return Drop(&entry, -EBADMSG);
  if (!session->aead->OpenEntry(batch, i)) return;
  if (!session->window.Check(counter)) return Drop(&entry, -EALREADY);
  run->packets++;
  run->bytes += sealed.length;
  run->last = static_cast<uint32_t>(i);
  if (entry.length == 0) return;
  run->data++;
  if (sources == nullptr) return;
  InnerPacket packet(batch.memory() + entry.offset, entry.length);
  if (packet.length() == 0) return Drop(&entry, -ENOMSG);
  if (sources->LookupSource(packet) != session->value) return Drop(&entry, -EACCES);
  entry.length = static_cast<uint32_t>(packet.length());
  if (datagrams == nullptr || (datagrams[i].flags & kHasTos) == 0) return;
  if ((datagrams[i].tos & kEcnMask) == kEcnCongested) packet.MarkCongested();
}

size_t SessionTable::Open(const BatchView& batch, size_t start, size_t end, const PrefixTable* sources,
                          const DatagramEntry* datagrams, double now, PacketRun* runs) {
  size_t count = 0;
  Session* session = nullptr;
  for (size_t i = start; i < end; i++) {
    uint32_t index = 0;
    const bool is_data = ReadIndex(batch, i, &index);
    // Nearly all packets are of the session that the one before was of.
    const bool same = count > 0 && is_data && session != nullptr && runs[count - 1].ecn == index;
    if (!same) {
      session = is_data ? Find(index, now) : nullptr;
      const uint32_t value = session == nullptr ? kNoValue : session->value;
      runs[count++] = {static_cast<uint32_t>(i), 0, value, index, 0, 0, 0, kNoValue};
    }
    runs[count - 1].end = static_cast<uint32_t>(i + 1);
    if (session != nullptr) OpenOne(batch, i, session, sources, datagrams, &runs[count - 1]);
  }
  return count;
}

}  // namespace tuntap
