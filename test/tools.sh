#!/bin/sh
# Installs the programs that the tests compare with, where apt-get and the right to use it are there.
# Without them, each test that needs one is skipped and says so.
missing=
for pair in ip:iproute2 ping:iputils-ping tcpdump:tcpdump ethtool:ethtool setpriv:util-linux iperf3:iperf3 \
  ovs-vsctl:openvswitch-switch; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair##*:}"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  echo "Not installed, so their tests are skipped:$missing"
  exit 0
fi
echo "Installing what the tests compare with:$missing"
export DEBIAN_FRONTEND=noninteractive
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing; } >/dev/null || echo "apt-get failed for:$missing"
