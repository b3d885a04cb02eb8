// The property: whatever is coalesced, splitting it gives the same packets back, in order within each flow.
// Arguments: the first seed and the number of cases.

#include "round_trip.h"

#include <csignal>

#include "random_batch.h"

namespace {

uint64_t current_seed;

void PrintSeed(int) {
  std::fprintf(stderr, "seed %llu\n", static_cast<unsigned long long>(current_seed));
  std::_Exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  const uint64_t first = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1;
  const uint64_t cases = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 20000;
  std::signal(SIGABRT, PrintSeed);  // how CHECK ends, and a sanitizer with abort_on_error=1
  const auto coalescer = std::make_unique<tuntap::Coalescer>();
  const Link links[] = {Link::kIp, Link::kEthernet, Link::kVlan, Link::kTwoVlans};
  uint64_t packets_in = 0, writes = 0;
  for (current_seed = first; current_seed < first + cases; current_seed++) {
    Random random(current_seed);
    const Choose choose = [&](uint32_t below) { return random(below); };
    const Link link = links[current_seed % 4];
    const size_t count = current_seed % 5000 == 0 ? 4096 : 1 + random(current_seed % 50 == 0 ? 300 : 24);
    const std::vector<Bytes> packets = ChooseBatch(choose, link, count);
    const tuntap::CoalescedProtocols protocols = {random(8) != 0, random(8) != 0};
    const Plan plan = CheckPlan(*coalescer, packets, LayerOf(link), protocols);
    packets_in += packets.size();
    writes += plan.writes;
  }
  // The generator must give what can be merged, or nothing is shown.
  CHECK(cases < 1000 || writes < packets_in * 7 / 10, "%llu packets in %llu writes",
        static_cast<unsigned long long>(packets_in), static_cast<unsigned long long>(writes));
  std::printf("round trip: passed, %llu cases, %llu packets in %llu writes\n",
              static_cast<unsigned long long>(cases), static_cast<unsigned long long>(packets_in),
              static_cast<unsigned long long>(writes));
}
