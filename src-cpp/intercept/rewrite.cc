#include "intercept/rewrite.h"

#include "offload/header_checksums.h"

namespace tuntap {
namespace {

uint16_t Complement(uint16_t sum) { return static_cast<uint16_t>(~sum); }

void AddToSum(uint8_t* field, uint16_t delta) {
  StoreAsIs16(field, ChecksumFold(uint64_t{LoadAsIs<uint16_t>(field)} + delta));
}

// RFC 1624 equation 3.
void AddToChecksum(uint8_t* field, uint16_t delta) {
  StoreAsIs16(field, Complement(ChecksumFold(uint64_t{Complement(LoadAsIs<uint16_t>(field))} + delta)));
}

}  // namespace

ChecksumDeltas DeltasBetween(const PacketEnd& old_source, const PacketEnd& old_destination,
                             const PacketEnd& source, const PacketEnd& destination, size_t address_length) {
  const auto sum = [&](const PacketEnd& end) { return ChecksumPartial(end.address, address_length); };
  ChecksumDeltas deltas;
  deltas.addresses = ChecksumFold(uint64_t{sum(source)} + sum(destination) + Complement(sum(old_source)) +
                                  Complement(sum(old_destination)));
  deltas.ports = ChecksumFold(uint64_t{source.port} + destination.port + Complement(old_source.port) +
                              Complement(old_destination.port));
  return deltas;
}

void RewriteEnds(const IpPacket& packet, const PacketEnd& source, const PacketEnd& destination,
                 ChecksumDeltas deltas, ChecksumState state) {
  std::memcpy(packet.source(), source.address, packet.address_length());
  std::memcpy(packet.destination(), destination.address, packet.address_length());
  uint8_t* const header = packet.header();
  StoreAsIs16(header, source.port);
  StoreAsIs16(header + 2, destination.port);
  if (packet.ipv4) AddToChecksum(packet.bytes + kIpv4ChecksumOffset, deltas.addresses);
  uint8_t* const field = header + kTcpChecksumOffset;
  if (state == ChecksumState::kPartial) {
    AddToSum(field, deltas.addresses);
  } else {
    AddToChecksum(field, ChecksumFold(uint64_t{deltas.addresses} + deltas.ports));
  }
}

uint16_t PseudoHeaderSum(const IpPacket& packet, uint8_t protocol) {
  return PseudoHeaderSum(packet.bytes, !packet.ipv4, protocol, packet.length - packet.transport);
}

bool HasRightChecksum(const IpPacket& packet, uint8_t protocol) {
  const uint64_t sum = ChecksumPartial(packet.header(), packet.length - packet.transport);
  return ChecksumFold(sum + PseudoHeaderSum(packet, protocol)) == 0xffff;
}

}  // namespace tuntap
