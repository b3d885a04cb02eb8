#include "tun_offload.h"

#include <linux/ethtool.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "file_descriptor.h"
#include "namespace.h"
#include "netlink_socket.h"
#include "tun_ioctl.h"

// linux/if_tun.h has them from Linux 6.2 on.
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

namespace tuntap {
namespace {

constexpr int kTimeoutMs = 10'000;
constexpr int kTurns = 100;
constexpr int kVirtioHeaderSize = 10;  // of a new device

// As `ethtool -k` names the features that TUNSETOFFLOAD sets (set_offload() in drivers/net/tun.c).
struct Feature {
  const char* name;
  int bits;
};
constexpr Feature kFeatures[] = {
    {"tx-checksum-ip-generic", TUN_F_CSUM},
    {"tx-tcp-segmentation", TUN_F_TSO4},
    {"tx-tcp6-segmentation", TUN_F_TSO6},
    {"tx-tcp-ecn-segmentation", TUN_F_TSO_ECN},
    {"tx-udp-segmentation", TUN_F_USO4 | TUN_F_USO6},
};

// The attribute `type` among those in [data, data + length), or nullptr.
const rtattr* Find(const void* data, int length, int type) {
  for (auto* each = static_cast<const rtattr*>(data); RTA_OK(each, length); each = RTA_NEXT(each, length)) {
    if (each->rta_type == type) return each;
  }
  return nullptr;
}

const rtattr* FindIn(const rtattr* parent, int type) {
  return parent == nullptr ? nullptr : Find(RTA_DATA(parent), static_cast<int>(RTA_PAYLOAD(parent)), type);
}

int Number(const rtattr* attribute) {
  int value = 0;
  if (attribute != nullptr && RTA_PAYLOAD(attribute) >= sizeof(value)) {
    memcpy(&value, RTA_DATA(attribute), sizeof(value));
  }
  return value;
}

// Queues that are attached and detached, from the kernel's answer to RTM_GETLINK.
int QueuesIn(const Datagrams& answer) {
  auto* header = reinterpret_cast<const nlmsghdr*>(answer.bytes.data());
  if (!NLMSG_OK(header, answer.bytes.size()) || header->nlmsg_type != RTM_NEWLINK) return -ENODEV;
  const void* attributes = static_cast<const uint8_t*>(NLMSG_DATA(header)) + NLMSG_ALIGN(sizeof(ifinfomsg));
  const int length = static_cast<int>(NLMSG_PAYLOAD(header, NLMSG_ALIGN(sizeof(ifinfomsg))));
  const rtattr* tun = FindIn(Find(attributes, length, IFLA_LINKINFO), IFLA_INFO_DATA);
  return Number(FindIn(tun, IFLA_TUN_NUM_QUEUES)) + Number(FindIn(tun, IFLA_TUN_NUM_DISABLED_QUEUES));
}

}  // namespace

int GetOffload(int socket, const std::string& name) {
  // struct ethtool_sset_info: the mask has 64 bits and stands at word 2; then the sizes of the sets.
  std::vector<uint32_t> set{ETHTOOL_GSSET_INFO, 0, 1U << ETH_SS_FEATURES, 0, 0};
  int result = Ethtool(socket, name, set.data());
  if (result < 0) return result;
  const uint32_t count = set.back();
  // struct ethtool_gstrings: three words before the names.
  std::vector<uint32_t> names(3 + size_t{count} * ETH_GSTRING_LEN / sizeof(uint32_t));
  names[0] = ETHTOOL_GSTRINGS;
  names[1] = ETH_SS_FEATURES;
  result = Ethtool(socket, name, names.data());
  if (result < 0) return result;
  // struct ethtool_gfeatures: two words before blocks of four, each for 32 features.
  const uint32_t blocks = (count + 31) / 32;
  std::vector<uint32_t> state(2 + blocks * 4);
  state[0] = ETHTOOL_GFEATURES;
  state[1] = blocks;
  result = Ethtool(socket, name, state.data());
  if (result < 0) return result;
  int offload = 0;
  for (size_t i = 0; i < count; i++) {
    const char* text = reinterpret_cast<const char*>(names.data() + 3) + i * ETH_GSTRING_LEN;
    const bool active = (state[2 + i / 32 * 4 + 2] >> (i % 32)) & 1;
    for (const Feature& feature : kFeatures) {
      if (active && strncmp(text, feature.name, ETH_GSTRING_LEN) == 0) offload |= feature.bits;
    }
  }
  return offload;
}

int CountQueues(int fd) {
  TunInterface interface;
  const int result = GetInterface(fd, &interface);
  if (result < 0) return result;
  if (!(interface.flags & IFF_MULTI_QUEUE)) return 1;
  // Without CAP_NET_ADMIN the device is taken to be in the process's own namespace.
  const FileDescriptor home(DeviceNamespace(fd));
  const FileDescriptor socket(SocketIn(home.get(), AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
  if (!socket.valid()) return socket.get();
  struct {
    nlmsghdr header;
    ifinfomsg link;
    rtattr attribute;
    char name[IFNAMSIZ];
  } request{};
  request.header = {sizeof(request), RTM_GETLINK, NLM_F_REQUEST, 0, 0};
  request.attribute = {RTA_LENGTH(IFNAMSIZ), IFLA_IFNAME};
  memcpy(request.name, interface.name.data(), interface.name.size());
  const int sent = SendNetlink(socket.get(), reinterpret_cast<const uint8_t*>(&request), sizeof(request));
  Datagrams answer;
  const int received = sent < 0 ? sent : ReceiveNetlink(socket.get(), kTimeoutMs, &answer);
  return received < 0 ? received : QueuesIn(answer);
}

void CloseQueue(int fd) {
  const FileDescriptor queue(fd);
  TunInterface interface;
  if (GetInterface(fd, &interface) < 0 || !(interface.flags & IFF_PERSIST)) return;
  // Of two queues that close at once, in any processes, each would find the other: they take turns.
  for (int i = 0; i < kTurns && flock(fd, LOCK_EX | LOCK_NB) != 0; i++) usleep(1000);
  if (CountQueues(fd) > 1) return;
  (void)SetOffload(fd, 0);
  (void)SetVirtioHeaderSize(fd, kVirtioHeaderSize);
}

}  // namespace tuntap
