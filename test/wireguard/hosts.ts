/** Hosts for whole tunnels. */

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createVethPair, NetworkNamespace } from 'tuntap-native/net';
import {
  generatePrivateKey,
  openWireGuard,
  publicKey,
  type WireGuard,
  type WireGuardOptions,
} from 'tuntap-native/wireguard';
import { run } from '../support.ts';

/** Two hosts on one wire, and a folder. */
export interface Hosts {
  readonly a: NetworkNamespace;
  readonly b: NetworkNamespace;
  readonly folder: string;
}

/** Two hosts on one wire: 192.0.2.1 and 2001:db8::1, 192.0.2.2 and 2001:db8::2. */
export async function withHosts(body: (hosts: Hosts) => Promise<void>): Promise<void> {
  const a = await NetworkNamespace.create();
  const b = await NetworkNamespace.create();
  const folder = mkdtempSync(join(tmpdir(), 'tuntap-wireguard-'));
  try {
    await createVethPair(
      { name: 'eth0', namespace: a, addresses: ['192.0.2.1/24', '2001:db8::1/64'], noDad: true, up: true },
      { name: 'eth0', namespace: b, addresses: ['192.0.2.2/24', '2001:db8::2/64'], noDad: true, up: true },
    );
    await body({ a, b, folder });
  } finally {
    rmSync(folder, { recursive: true });
    await Promise.all([a.close(), b.close()]);
  }
}

/** Two tunnels of ours that know each other: `wga` with 10.9.0.1 and fd00::1 on host `a`, `wgb` with .2 on `b`. */
export async function withTunnels(
  options: { readonly wire?: 'ipv4' | 'ipv6'; readonly a?: WireGuardOptions; readonly b?: WireGuardOptions },
  body: (hosts: Hosts, a: WireGuard, b: WireGuard) => Promise<void>,
): Promise<void> {
  await withHosts(async (hosts) => {
    const keys = [generatePrivateKey(), generatePrivateKey()];
    const open = (name: 'a' | 'b', own: number, other: number) => {
      const address = options.wire === 'ipv6' ? `[2001:db8::${other}]` : `192.0.2.${other}`;
      return openWireGuard(`wg${name}`, {
        privateKey: keys[own - 1],
        namespace: hosts[name],
        socketNamespace: hosts[name],
        listenPort: 51820,
        addresses: [`10.9.0.${own}/24`, `fd00::${own}/64`],
        mtu: 1420,
        control: false,
        peers: [
          {
            publicKey: publicKey(keys[other - 1]),
            allowedIps: [`10.9.0.${other}/32`, `fd00::${other}/128`],
            endpoint: `${address}:51820`,
          },
        ],
        ...options[name],
      });
    };
    await using a = await open('a', 1, 2);
    await using b = await open('b', 2, 1);
    await body(hosts, a, b);
  });
}

/** Pings twice, and both must be answered. */
export async function ping(from: NetworkNamespace, to: string): Promise<void> {
  const { status, stdout } = await run(from, 'ping', '-n', '-c2', '-i0.1', '-W5', to);
  assert.equal(status, 0, stdout);
}
