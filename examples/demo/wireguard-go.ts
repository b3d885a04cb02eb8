/** wireguard-go as the other end of the demo's tunnel, configured through its control socket. */

import { spawnSync } from 'node:child_process';
import { accessSync, constants, mkdirSync } from 'node:fs';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout } from 'node:timers/promises';
import type { NetworkNamespace } from 'tuntap-native/net';

const SOCKETS = '/var/run/wireguard';
const TRIES = 100;
const TRY_MS = 50;

/**
 * What starts it. Its control socket is a file that namespaces have in common, so the name of its interface must be
 * unique. The variable keeps it in the foreground, and from recommending the kernel's WireGuard.
 */
export const wireGuardGo = (name: string): readonly [string, ...string[]] => [
  'env',
  'WG_PROCESS_FOREGROUND=1',
  'wireguard-go',
  name,
];

/** Whether wireguard-go is installed, and can make its control socket. */
export function hasWireGuardGo(): boolean {
  if (spawnSync('wireguard-go', ['--version']).status !== 0) return false;
  try {
    mkdirSync(SOCKETS, { recursive: true });
    accessSync(SOCKETS, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** An interface and its peers. */
export interface Configuration {
  readonly privateKey: string;
  readonly listenPort: number;
  readonly addresses: readonly string[];
  readonly peers: readonly {
    readonly publicKey: string;
    readonly endpoint?: string;
    readonly allowedIps: readonly string[];
  }[];
}

/** Configures the interface once its control socket is there, and sets it up. */
export async function configure(
  namespace: NetworkNamespace,
  name: string,
  mtu: number,
  { privateKey, listenPort, addresses, peers }: Configuration,
): Promise<void> {
  const hex = (key: string): string => Buffer.from(key, 'base64').toString('hex');
  const answer = await request(name, [
    'set=1',
    `private_key=${hex(privateKey)}`,
    `listen_port=${listenPort}`,
    ...peers.flatMap(({ publicKey, endpoint, allowedIps }) => [
      `public_key=${hex(publicKey)}`,
      ...(endpoint === undefined ? [] : [`endpoint=${endpoint}`]),
      ...allowedIps.map((network) => `allowed_ip=${network}`),
    ]),
  ]);
  if (answer !== 'errno=0') throw new Error(`wireguard-go refuses its configuration: ${answer}`);
  const link = await namespace.link(name);
  for (const address of addresses) await link.addAddress(address);
  await link.set({ mtu, up: true });
}

/** @see https://www.wireguard.com/xplatform/ */
async function request(name: string, lines: readonly string[]): Promise<string> {
  for (let tries = 1; ; tries++) {
    const socket = connect(`${SOCKETS}/${name}.sock`);
    socket.end(`${lines.join('\n')}\n\n`);
    try {
      return (await text(socket)).trim();
    } catch (error) {
      if (tries === TRIES) throw error;
      await setTimeout(TRY_MS);
    }
  }
}
