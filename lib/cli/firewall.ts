/** The firewall rules of wg-quick(8) for a tunnel that takes everything, through nft(8). */

import { readDevice } from '../wireguard/control-client.js';
import type { ParsedConfig } from '../wireguard/index.js';
import { findProgram, runProgram } from './programs.js';

const FAMILIES = [
  { table: 'ip', all: '0.0.0.0/0', separator: '.' },
  { table: 'ip6', all: '::/0', separator: ':' },
] as const;

/**
 * The commands of nft for the families of which the tunnel takes everything: packets for the tunnel's addresses that
 * come by another link are dropped, since they would tell others which addresses these are (CVE-2019-14899). Answers to
 * the tunnel's own packets get their mark, so that strict reverse path filtering lets them pass.
 */
export function firewallCommands(config: ParsedConfig, name: string, mark: number): string {
  const { routes = 'auto', peers, addresses } = config;
  const allowedIps = peers.flatMap((peer) => peer.allowedIps);
  const families = FAMILIES.filter(({ all }) => routes === 'auto' && allowedIps.includes(all));
  return families
    .map(({ table, separator }) => {
      const place = `${table} ${tableName(name)}`;
      const own = addresses
        .filter((address) => address.includes(separator))
        .map((address) => address.split('/')[0]);
      return `add table ${place}
add chain ${place} preraw { type filter hook prerouting priority -300; }
add chain ${place} premangle { type filter hook prerouting priority -150; }
add chain ${place} postmangle { type filter hook postrouting priority -150; }
${own
  .map(
    (address) =>
      `add rule ${place} preraw iifname != "${name}" ${table} daddr ${address} fib saddr type != local drop\n`,
  )
  .join('')}add rule ${place} postmangle meta l4proto udp mark ${mark} ct mark set mark
add rule ${place} premangle meta l4proto udp meta mark set ct mark
`;
    })
    .join('');
}

function tableName(name: string): string {
  return `tuntap-native-${name.replace(/[^a-zA-Z0-9_.-]/g, '_')}`;
}

/**
 * Adds the rules, if the tunnel takes everything and nft is installed.
 * @param warn is told if they can't be added, which is no reason to do without the tunnel
 * @returns what removes them
 */
export async function dropForeignPackets(
  config: ParsedConfig,
  name: string,
  env: NodeJS.ProcessEnv,
  warn: (line: string) => void,
): Promise<(() => Promise<void>) | undefined> {
  const nft = findProgram('nft', env);
  if (nft === undefined || firewallCommands(config, name, 0) === '') return undefined;
  const run = (commands: string) => runProgram('nft', nft, ['-f', '-'], { env }, commands);
  try {
    const { fwmark } = await readDevice(name);
    const commands = firewallCommands(config, name, fwmark);
    await run(commands);
    const tables = commands.split('\n').filter((line) => line.startsWith('add table'));
    return () => run(tables.map((line) => `${line.replace('add', 'delete')}\n`).join(''));
  } catch (error) {
    warn(`no firewall rules: ${(error as Error).message}`);
    return undefined;
  }
}
