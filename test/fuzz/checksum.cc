// The vectorised sums against RFC 1071 read literally, at the alignment that the first byte says.

#include "../../src-cpp/offload/checksum.h"

#include "../native/check.h"
#include "../native/packets.h"

using namespace tuntap;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t alignment = data[0] % 64;
  const size_t length = size - 1;
  Bytes source(alignment + length), target(data[0] / 64 + length);
  uint8_t* const from = source.data() + alignment;
  uint8_t* const to = target.data() + data[0] / 64;
  if (length != 0) std::memcpy(from, data + 1, length);
  const uint32_t expected = ReferenceSum(from, length);
  const auto check = [&](const char* name, uint16_t sum) {
    uint8_t bytes[2];
    std::memcpy(bytes, &sum, 2);
    CHECK(bytes[0] * 256u + bytes[1] == expected, "%s", name);
  };
  check("generic", checksum_versions::PartialGeneric(from, length));
  check("dispatched", ChecksumPartial(from, length));
  check("copied", ChecksumCopy(to, from, length));
  CHECK(length == 0 || std::memcmp(to, from, length) == 0, "the copy");
  check("copied by the generic version", checksum_versions::CopyGeneric(to, from, length));
  return 0;
}
