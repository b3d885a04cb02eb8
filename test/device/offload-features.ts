/** The offloads of a link as ethtool(8) tells them. */

import type { NetworkNamespace, Offloads } from 'tuntap-native';
import { run } from '../support.ts';

const FEATURES = {
  checksum: 'tx-checksum-ip-generic',
  tso4: 'tx-tcp-segmentation',
  tso6: 'tx-tcp6-segmentation',
  tsoEcn: 'tx-tcp-ecn-segmentation',
  uso4: 'tx-udp-segmentation',
  uso6: 'tx-udp-segmentation',
};

export async function features(namespace: NetworkNamespace, name: string): Promise<Omit<Offloads, 'mode'>> {
  const { stdout } = await run(namespace, 'ethtool', '-k', name);
  const states = Object.entries(FEATURES).map(([key, name]) => [key, stdout.includes(`${name}: on`)]);
  return Object.fromEntries(states);
}
