#!/bin/sh
# As root, where apt-get is: installs the programs that the tests compare with, or with the argument `lint` those that
# `npm run lint` needs, with `arm64`, `musl-x64` or `musl-arm64` those of test/platforms-arm64.sh or test/platforms-musl.sh. Elsewhere it names those that are missing: each test that needs one is skipped and says so.
case ${1:-test} in
lint) tools='clang-format:clang-format clang-tidy:clang-tidy' ;;
arm64)
  tools='qemu-aarch64-static:qemu-user-static /usr/aarch64-linux-gnu/lib/libc.so.6:libc6-arm64-cross
    /usr/aarch64-linux-gnu/lib/libstdc++.so.6:libstdc++6-arm64-cross'
  ;;
musl-x64) tools='/lib/ld-musl-x86_64.so.1:musl g++:g++' ;;
musl-arm64) tools='qemu-aarch64-static:qemu-user-static aarch64-linux-gnu-g++:g++-aarch64-linux-gnu' ;;
*)
  tools='ip:iproute2 bridge:iproute2 tc:iproute2 ss:iproute2 nstat:iproute2 ping:iputils-ping tcpdump:tcpdump
    ethtool:ethtool setpriv:util-linux curl:curl getent:libc-bin unshare:util-linux etcd:etcd-server openssl:openssl iperf3:iperf3 ovs-vsctl:openvswitch-switch strace:strace
    wireguard-go:wireguard-go wg:wireguard-tools wg-quick:wireguard-tools nft:nftables bash:bash python3:python3 cc:gcc g++:g++ make:make tar:tar objdump:binutils'
  ;;
esac

# Prints the missing programs and files (1) or their packages (2).
missing() {
  for tool in $tools; do
    case $tool in
    /*) [ -e "${tool%%:*}" ] ;;
    *) command -v "${tool%%:*}" >/dev/null 2>&1 ;;
    esac || echo "$tool"
  done | cut -d: -f"$1" | sort -u | tr '\n' ' '
}

try() {
  log=$(LC_ALL=C DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 "$@" 2>&1)
}

install() {
  echo "Installing $(missing 2)"
  attempts=0
  deadline=$(($(date +%s) + 300))
  # shellcheck disable=SC2046
  until try update -qq && try install -qq --no-install-recommends $(missing 2); do
    attempts=$((attempts + 1))
    # Only a lock is waited for: apt-get itself does not wait for the one of its lists.
    case $log in
    *' lock'*) [ "$(date +%s)" -lt "$deadline" ] || break ;;
    *) [ "$attempts" -lt 3 ] || break ;;
    esac
    sleep 5
  done
}

[ -z "$(missing 1)" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then install; fi
[ -z "$(missing 1)" ] && exit 0
[ -z "$log" ] || echo "$log"
echo "Missing programs: $(missing 1)(Debian's packages: $(missing 2))" >&2
