/** The VPNs that bench/vpn.ts compares: each joins two namespaces that a veth pair joins already. */

import { type ChildProcess, execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { NetworkNamespace } from 'tuntap-native';
import { formatConfig, generatePrivateKey, publicKey } from 'tuntap-native/wireguard';
import { configure, wireGuardGo } from '../examples/demo/wireguard-go.ts';

const TUNNEL = fileURLToPath(new URL('../examples/demo/tunnel.js', import.meta.url));
const PORT = 51820;
export const MTU = 1420;

/** Two hosts: `a` has 192.0.2.1 on the wire and 10.9.0.1 in the tunnel, `b` 192.0.2.2 and 10.9.0.2. */
export interface Hosts {
  readonly a: NetworkNamespace;
  readonly b: NetworkNamespace;
  /** For keys and configurations. */
  readonly folder: string;
}

/** Starts a VPN and gives the processes that carry it. */
export type Contender = (hosts: Hosts) => Promise<readonly ChildProcess[]> | readonly ChildProcess[];

/** What the processes of a VPN print, for whom it does not start. */
const LOUD = process.argv.includes('--verbose');
const stdio: ['ignore', 'pipe' | 'inherit' | 'ignore', 'inherit'] = [
  'ignore',
  LOUD ? 'inherit' : 'ignore',
  'inherit',
];

type Program = 'tuntap-native' | 'wireguard-go';

/** WireGuard between these two programs. */
function wireGuard(...programs: readonly [a: Program, b: Program]): Contender {
  return async (hosts) => {
    const privateKeys = programs.map(generatePrivateKey);
    const children: ChildProcess[] = [];
    for (const [i, program] of programs.entries()) {
      const namespace = [hosts.a, hosts.b][i];
      const configuration = {
        privateKey: privateKeys[i],
        listenPort: PORT,
        addresses: [`10.9.0.${i + 1}/24`],
        peers: [
          {
            publicKey: publicKey(privateKeys[1 - i]),
            endpoint: `192.0.2.${2 - i}:${PORT}`,
            allowedIps: [`10.9.0.${2 - i}/32`],
          },
        ],
      };
      if (program === 'tuntap-native') {
        const file = join(hosts.folder, `${i}.conf`);
        writeFileSync(file, formatConfig({ ...configuration, mtu: MTU }), { mode: 0o600 });
        children.push(namespace.spawn(process.execPath, [TUNNEL, file], { stdio }));
      } else {
        const name = `wgb${process.pid % 1e6}${'ab'[i]}`;
        const [command, ...args] = wireGuardGo(name);
        children.push(namespace.spawn(command, args, { stdio }));
        await configure(namespace, name, MTU, configuration);
      }
    }
    return children;
  };
}

/** examples/vpn of an older checkout, which is built: a protocol of its own. */
export function exampleOf(tree: string): Contender {
  const main = join(tree, 'out/examples/vpn/main.js');
  return ({ a, b, folder }) => {
    writeFileSync(join(folder, 'keys'), `b ${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
    const write = (name: string, config: object): string => {
      const common = { interface: 'vpn0', cipher: 'chacha20-poly1305', mtu: MTU, keys: 'keys' };
      writeFileSync(join(folder, name), JSON.stringify({ ...common, ...config }));
      return join(folder, name);
    };
    const clients = { b: { allowed: ['10.9.0.2/32'] } };
    const server = write('server.json', { addresses: ['10.9.0.1/24'], clients });
    const client = write('client.json', {
      addresses: ['10.9.0.2/24'],
      name: 'b',
      server: `192.0.2.1:${PORT}`,
      allowed: ['10.9.0.0/24'],
    });
    return [
      a.spawn(process.execPath, [main, 'server', server], { stdio }),
      b.spawn(process.execPath, [main, 'client', client], { stdio }),
    ];
  };
}

function openvpn({ a, b, folder }: Hosts): readonly ChildProcess[] {
  const prints = (['a', 'b'] as const).map((name) => {
    const [key, certificate] = [join(folder, `${name}.key`), join(folder, `${name}.crt`)];
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:prime256v1',
        '-nodes',
        '-subj',
        `/CN=${name}`,
        '-days',
        '2',
        '-keyout',
        key,
        '-out',
        certificate,
      ],
      { stdio: 'ignore' },
    );
    const text = execFileSync('openssl', ['x509', '-in', certificate, '-noout', '-fingerprint', '-sha256'], {
      encoding: 'utf8',
    });
    return { key, certificate, fingerprint: text.trim().split('=')[1] };
  });
  return ([a, b] as const).map((namespace, i) => {
    const [own, peer] = [i + 1, 2 - i];
    const { key, certificate } = prints[i];
    const args = [
      ...['--dev', 'tun0', '--proto', 'udp4', '--port', '1194', '--remote', `192.0.2.${peer}`],
      ...['--ifconfig', `10.9.0.${own}`, `10.9.0.${peer}`, '--tun-mtu', `${MTU}`],
      ...(i === 0 ? ['--tls-server', '--dh', 'none'] : ['--tls-client']),
      ...['--cert', certificate, '--key', key, '--peer-fingerprint', prints[1 - i].fingerprint],
      ...['--data-ciphers', 'AES-256-GCM', '--disable-dco', '--verb', LOUD ? '3' : '0'],
    ];
    return namespace.spawn('openvpn', args, { stdio });
  });
}

/** No tunnel: what the wire alone carries, at the addresses of a tunnel. */
async function wire({ a, b }: Hosts): Promise<readonly ChildProcess[]> {
  for (const [i, namespace] of [a, b].entries()) {
    await (await namespace.link('eth0')).addAddress(`10.9.0.${i + 1}/24`);
  }
  return [];
}

/** Each sends from the second program to the first one. */
export const CONTENDERS: Readonly<Record<string, Contender>> = {
  'tuntap-native to tuntap-native': wireGuard('tuntap-native', 'tuntap-native'),
  'tuntap-native to wireguard-go': wireGuard('wireguard-go', 'tuntap-native'),
  'wireguard-go to tuntap-native': wireGuard('tuntap-native', 'wireguard-go'),
  'wireguard-go to wireguard-go': wireGuard('wireguard-go', 'wireguard-go'),
  'OpenVPN, AES-256-GCM': openvpn,
  'the wire alone': wire,
};
