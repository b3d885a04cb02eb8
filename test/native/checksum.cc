// The vectorised sums against RFC 1071 read literally: every length, every alignment, every version.

#include "../../src-cpp/offload/checksum.h"

#include "check.h"
#include "packets.h"

using namespace tuntap;

namespace {

using Partial = uint16_t (*)(const uint8_t*, size_t);
using Copy = uint16_t (*)(uint8_t*, const uint8_t*, size_t);

struct Version {
  const char* name;
  Partial partial;
  Copy copy;
};

uint32_t HostOrder(uint16_t sum) {
  uint8_t bytes[2];
  std::memcpy(bytes, &sum, 2);
  return bytes[0] * 256u + bytes[1];
}

void Compare(const Version& version, const Bytes& from, size_t length, size_t alignment) {
  // Allocated to the byte, so that AddressSanitizer sees the first one that is too many.
  Bytes source(alignment + length);
  if (length != 0) std::memcpy(source.data() + alignment, from.data(), length);
  Bytes target(length + alignment % 5 + 1, 0xaa);
  uint8_t* const to = target.data() + alignment % 5;
  const uint32_t expected = ReferenceSum(from.data(), length);
  const uint32_t sum = HostOrder(version.partial(source.data() + alignment, length));
  CHECK(sum == expected, "%s, length %zu, alignment %zu: %x, not %x", version.name, length, alignment, sum,
        expected);
  const uint32_t copied = HostOrder(version.copy(to, source.data() + alignment, length));
  CHECK(copied == expected, "copying %s, length %zu, alignment %zu: %x, not %x", version.name, length,
        alignment, copied, expected);
  CHECK(std::memcmp(to, from.data(), length) == 0, "copying %s, length %zu", version.name, length);
  CHECK(to[length] == 0xaa && (to == target.data() || to[-1] == 0xaa), "copying %s wrote around its target",
        version.name);
}

}  // namespace

int main() {
  std::vector<Version> versions = {
      {"dispatched", ChecksumPartial, ChecksumCopy},
      {"generic", checksum_versions::PartialGeneric, checksum_versions::CopyGeneric},
  };
#if defined(__x86_64__)
  if (checksum_versions::HasAvx2()) {
    versions.push_back({"avx2", checksum_versions::PartialAvx2, checksum_versions::CopyAvx2});
  }
#endif
  Random random(1071);
  const Bytes noise = RandomBytes(random, 65535 + 64);
  const Bytes ones(65535 + 64, 0xff);
  const Bytes zeros(65535 + 64, 0);
  for (const Version& version : versions) {
    for (const Bytes& bytes : {noise, ones, zeros}) {
      for (size_t length = 0; length <= 600; length++) {
        for (size_t alignment = 0; alignment < (length < 300 ? 33u : 4u); alignment++) {
          Compare(version, bytes, length, alignment);
        }
      }
      for (size_t length : {1440u, 1448u, 1460u, 1461u, 8948u, 9000u, 16384u, 65534u, 65535u}) {
        for (size_t alignment = 0; alignment < 9; alignment++) Compare(version, bytes, length, alignment);
      }
    }
  }

  // RFC 1071 section 3
  const uint8_t example[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  CHECK(HostOrder(ChecksumPartial(example, sizeof(example))) == 0xddf2, "the RFC's example");

  for (uint64_t sum :
       {uint64_t{0}, uint64_t{0xffff}, uint64_t{0x10000}, uint64_t{0x1fffe}, uint64_t{0xffffffff},
        uint64_t{0xffff0001}, ~uint64_t{0}, ~uint64_t{0} - 1, uint64_t{0xffffffff00000000}}) {
    const uint64_t rest = sum % 0xffff;
    const uint64_t expected = rest == 0 && sum != 0 ? 0xffff : rest;
    CHECK(ChecksumFold(sum) == expected, "fold of %llx", static_cast<unsigned long long>(sum));
  }
  std::puts("checksum: passed");
}
