#include "intercept/datagrams.h"

#include <netinet/in.h>

#include <cerrno>

#include "intercept/ip_headers.h"
#include "intercept/ip_writer.h"

namespace tuntap {
namespace {

constexpr uint16_t kDnsPort = 53;
// More segments than this in one packet were refused before Linux 6.9 (UDP_MAX_SEGMENTS).
constexpr size_t kMaxRun = 64;

// An entry's remote, in whatever alignment JavaScript's memory has.
struct Remote {
  bool valid;
  bool ipv6;
  const uint8_t* address;
  uint16_t port;

  static Remote Of(const DatagramEntry& entry) {
    uint16_t family;
    std::memcpy(&family, entry.remote, sizeof(family));
    const bool ipv6 = family == AF_INET6;
    return {ipv6 || family == AF_INET, ipv6, entry.remote + (ipv6 ? 8 : 4), Load16(entry.remote + 2)};
  }
};

void SetRemote(const IpPacket& packet, DatagramEntry* entry) {
  const uint16_t family = packet.ipv4 ? AF_INET : AF_INET6;
  std::memcpy(entry->remote, &family, sizeof(family));
  std::memcpy(entry->remote + 2, packet.header(), 2);
  std::memcpy(entry->remote + (packet.ipv4 ? 4 : 8), packet.source(), packet.address_length());
}

// Whether the checksum is right, or left out, which only IPv4 allows (RFC 8200 section 8.1).
bool ChecksumValid(const IpPacket& packet) {
  if (LoadAsIs<uint16_t>(packet.header() + kUdpChecksumOffset) == 0) return packet.ipv4;
  return HasRightChecksum(packet, kProtocolUdp);
}

}  // namespace

bool DatagramTaker::Read(uint8_t* bytes, size_t length, Datagrams* datagrams, DatagramEntry* entry) {
  VirtioNetHeader virtio{};
  if (length <= prefix_) return false;
  if (prefix_ != 0) std::memcpy(&virtio, bytes, sizeof(virtio));
  IpPacket packet = ReadIpPacket(bytes + prefix_, length - prefix_);
  if (packet.sort != PacketSort::kUdp || !IsBetweenHosts(packet)) return false;
  const uint8_t* const udp = packet.header();
  const size_t udp_length = Load16(udp + kUdpLengthOffset);
  const uint16_t source_port = Load16(udp);
  const uint16_t port = Load16(udp + 2);
  if (udp_length < kUdpHeaderLength || udp_length > packet.length - packet.transport) return false;
  if (source_port == 0 || port == 0) return false;

  packet.length = packet.transport + udp_length;  // what follows is no part of the datagram
  const size_t payload_length = packet.length - packet.payload;
  size_t segment = payload_length;
  if (virtio.gso_type != VIRTIO_NET_HDR_GSO_NONE) {
    if (virtio.gso_type != VIRTIO_NET_HDR_GSO_UDP_L4 || virtio.gso_size == 0) return false;
    segment = virtio.gso_size;
  }
  // The kernel leaves the checksum to whoever sends the packet on; nothing can have changed the packet here.
  const bool unfinished = (virtio.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0;
  if (!unfinished && segment == payload_length && !ChecksumValid(packet)) return false;

  *datagrams = {packet.bytes + packet.payload, payload_length, segment};
  *entry = {};
  SetRemote(packet, entry);
  std::memcpy(entry->local, packet.destination(), packet.address_length());
  entry->local_family = packet.ipv4 ? AF_INET : AF_INET6;
  entry->local_port = port;
  entry->tos = packet.ipv4 ? packet.bytes[1] : static_cast<uint8_t>(Load16(packet.bytes) >> 4);
  entry->flags = kHasTos;
  source_ = FlowSource::Of(!packet.ipv4, packet.source(), source_port);
  return true;
}

size_t DatagramTaker::Take(const BatchView& batch, size_t start, size_t end, uint64_t now,
                           DatagramEntry* entries, size_t entry_count, Appender* out) {
  for (size_t i = start; i < end; i++) {
    BatchEntry& packet = batch.entries()[i];
    if (packet.length == 0 || packet.length == kDropped) continue;
    const size_t length = batch.Contains(packet.offset, packet.length) ? packet.length : 0;
    Datagrams datagrams;
    DatagramEntry entry;
    if (!Read(batch.memory() + packet.offset, length, &datagrams, &entry)) {
      counters_[kWrongDatagrams]++;
      packet.length = kDropped;
      taken_ = 0;
      continue;
    }
    // JavaScript may have changed the packet since the last call.
    size_t at = std::min(taken_, datagrams.length);
    taken_ = 0;
    do {
      const size_t size = std::min(datagrams.segment, datagrams.length - at);
      uint8_t* const to = out->count() < entry_count ? out->Reserve(size) : nullptr;
      if (to == nullptr) {
        taken_ = at;
        return i;
      }
      const FlowTable::Flow flow = flows_->Sent(source_, entry.local_port == kDnsPort, now);
      entry.flow = flow.slot;
      entry.flow_id = flow.id;
      std::memcpy(to, datagrams.payload + at, size);
      entries[out->count()] = entry;
      out->Commit(size);
      counters_[kDatagramsTaken]++;
      at += size;
    } while (at < datagrams.length);
    packet.length = kDropped;
  }
  return end;
}

// The end of the run of payloads that leave as one packet with payload `first`: those that follow it, go the
// same way, and have its length; the last one may be shorter.
size_t DatagramWriter::Run(const BatchView& batch, size_t first, const DatagramEntry* entries,
                           size_t entry_count) const {
  const uint32_t size = batch.entries()[first].length;
  size_t last = first + 1;
  if (!super_packets_) return last;
  size_t total = kIpv6HeaderLength + kUdpHeaderLength + size;
  const uint8_t* unused = nullptr;
  while (last < batch.count() && last - first < kMaxRun) {
    const int64_t length = batch.Packet(last, &unused);
    if (length <= 0 || length > size || total + static_cast<size_t>(length) > kMaxIpPacketLength) break;
    if (entry_count != 1 && std::memcmp(&entries[first], &entries[last], sizeof(DatagramEntry)) != 0) break;
    total += static_cast<size_t>(length);
    last++;
    if (length < size) break;
  }
  return last;
}

size_t DatagramWriter::Write(const BatchView& batch, size_t start, uint64_t now, const DatagramEntry* entries,
                             size_t entry_count, Appender* out) {
  for (size_t first = start; first < batch.count();) {
    BatchEntry* const payload = batch.entries() + first;
    if (payload->length == kDropped) {
      first++;
      continue;
    }
    const uint8_t* unused = nullptr;
    const int64_t length = batch.Packet(first, &unused);
    DatagramEntry entry{};
    const size_t index = entry_count == 1 ? 0 : first;
    if (index < entry_count) entry = entries[index];
    const Remote remote = Remote::Of(entry);
    const size_t headers = prefix_ + IpHeaderLength(remote.ipv6) + kUdpHeaderLength;
    payload->status = 0;
    if (length < 0) {
      payload->status = static_cast<int32_t>(length);
    } else if (index >= entry_count || !remote.valid || remote.port == 0) {
      payload->status = -EDESTADDRREQ;
    } else if (entry.local_family != (remote.ipv6 ? AF_INET6 : AF_INET) || entry.local_port == 0 ||
               entry.local_port > UINT16_MAX) {
      payload->status = -EADDRNOTAVAIL;
    } else if (headers - prefix_ + static_cast<size_t>(length) > kMaxIpPacketLength) {
      payload->status = -EMSGSIZE;
    }
    if (payload->status != 0) {
      first++;
      continue;
    }
    const size_t last = Run(batch, first, entries, entry_count);
    size_t total = headers;
    for (size_t i = first; i < last; i++) total += batch.entries()[i].length;
    uint8_t* const to = out->Reserve(total);
    if (to == nullptr) return first;
    Build(entry, batch, first, last, to);
    out->Commit(total);
    flows_->Answered(FlowSource::Of(remote.ipv6, remote.address, remote.port), now);
    counters_[kDatagramsWritten] += static_cast<double>(last - first);
    for (size_t i = first; i < last; i++) batch.entries()[i].status = 0;
    first = last;
  }
  return batch.count();
}

void DatagramWriter::Build(const DatagramEntry& entry, const BatchView& batch, size_t first, size_t last,
                           uint8_t* out) {
  const Remote remote = Remote::Of(entry);
  const size_t ip_length = IpHeaderLength(remote.ipv6);
  uint8_t* const ip = out + prefix_;
  uint8_t* const udp = ip + ip_length;
  std::memset(out, 0, prefix_ + ip_length + kUdpHeaderLength);

  uint8_t* to = udp + kUdpHeaderLength;
  const bool super_packet = last - first > 1;
  uint64_t payload_sum = 0;
  for (size_t i = first; i < last; i++) {
    const BatchEntry& payload = batch.entries()[i];
    const uint8_t* const from = batch.memory() + payload.offset;
    if (super_packet) {
      std::memcpy(to, from, payload.length);
    } else {
      payload_sum = ChecksumCopy(to, from, payload.length);
    }
    to += payload.length;
  }
  const auto udp_length = static_cast<size_t>(to - udp);
  IpHeaderFields fields{remote.ipv6, kProtocolUdp, entry.local, remote.address, udp_length};
  if (entry.flags & kHasTos) fields.tos = entry.tos;
  fields.identification = identification_;
  WriteIpHeader(ip, fields);
  if (!remote.ipv6) identification_ = static_cast<uint16_t>(identification_ + (last - first));

  Store16(udp, static_cast<uint16_t>(entry.local_port));
  Store16(udp + 2, remote.port);
  Store16(udp + kUdpLengthOffset, static_cast<uint16_t>(udp_length));
  const uint64_t pseudo = PseudoHeaderSum(ip, remote.ipv6, kProtocolUdp, udp_length);
  if (super_packet) {
    StoreAsIs16(udp + kUdpChecksumOffset, static_cast<uint16_t>(pseudo));
    const VirtioNetHeader virtio = {VIRTIO_NET_HDR_F_NEEDS_CSUM,
                                    VIRTIO_NET_HDR_GSO_UDP_L4,
                                    static_cast<uint16_t>(ip_length + kUdpHeaderLength),
                                    static_cast<uint16_t>(batch.entries()[first].length),
                                    static_cast<uint16_t>(ip_length),
                                    kUdpChecksumOffset};
    std::memcpy(out, &virtio, sizeof(virtio));
    return;
  }
  const auto checksum =
      static_cast<uint16_t>(~ChecksumFold(pseudo + ChecksumPartial(udp, kUdpHeaderLength) + payload_sum));
  StoreAsIs16(udp + kUdpChecksumOffset, checksum == 0 ? uint16_t{0xffff} : checksum);
}

void DatagramRefuser::Refuse(const DatagramEntry& entry, Unreachable why, uint64_t now, Appender* out) {
  const Remote remote = Remote::Of(entry);
  counters_[kDatagramsRefused]++;
  if (!remote.valid || !IsHost(remote.address, remote.ipv6) || !IsHost(entry.local, remote.ipv6)) return;
  if (!budget_.Take(static_cast<uint32_t>(now))) return;
  // The headers of the datagram, as much as its sender needs to know it by (RFC 1122 section 3.2.2).
  uint8_t bytes[kIpv6HeaderLength + kUdpHeaderLength] = {};
  IpPacket offender;
  offender.bytes = bytes;
  offender.ipv4 = !remote.ipv6;
  offender.transport = IpHeaderLength(remote.ipv6);
  offender.length = offender.transport + kUdpHeaderLength;
  WriteIpHeader(bytes, {remote.ipv6, kProtocolUdp, remote.address, entry.local, kUdpHeaderLength});
  uint8_t* const udp = offender.header();
  Store16(udp, remote.port);
  Store16(udp + 2, static_cast<uint16_t>(entry.local_port));
  Store16(udp + kUdpLengthOffset, kUdpHeaderLength);
  AppendUnreachable(out, prefix_, offender, why);
}

}  // namespace tuntap
