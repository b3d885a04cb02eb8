/** `SaveConfig = true`: the interface's state, as it is when it goes down, becomes its file. */

import { NetworkNamespace } from '../net/index.js';
import { readDevice } from '../wireguard/control-client.js';
import type { DeviceState } from '../wireguard/controlled-device.js';
import { formatConfig, type ParsedConfig, type WireGuardConfig } from '../wireguard/index.js';
import { type ConfigFile, replaceFile } from './config-file.js';

/** What wg-quick(8) would write: the state's values, and of the file what the state does not tell. */
export function savedConfig(
  config: ParsedConfig,
  state: DeviceState,
  addresses: readonly string[],
  mtu: number,
): WireGuardConfig {
  const { privateKey, listenPort, fwmark, peers } = state;
  return {
    ...config,
    privateKey,
    listenPort: listenPort || undefined,
    fwmark: fwmark || undefined,
    addresses,
    mtu: config.mtu === undefined ? undefined : mtu,
    peers: peers.map(({ publicKey, presharedKey, endpoint, allowedIps, persistentKeepalive }) => ({
      publicKey,
      presharedKey: presharedKey?.some((byte) => byte !== 0) ? presharedKey : undefined,
      endpoint,
      allowedIps,
      persistentKeepalive: persistentKeepalive || undefined,
    })),
  };
}

/** Writes the present state of a file's interface into the file. */
export async function saveConfig({ path, name, config }: ConfigFile): Promise<void> {
  await using namespace = await NetworkNamespace.current();
  const state = await readDevice(name);
  const addresses = (await namespace.addresses({ device: name }))
    .map(({ address, prefixLength }) => `${address}/${prefixLength}`)
    // The kernel gives a TUN device a link-local address.
    .filter((address) => config.addresses.includes(address) || !/^fe[89ab]/.test(address));
  const { mtu } = await (await namespace.link(name)).get();
  replaceFile(path, formatConfig(savedConfig(config, state, addresses, mtu)));
}
