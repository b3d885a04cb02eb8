/** The VPNs that bench/vpn.ts compares: each joins two namespaces that a veth pair joins already. */

import type { ChildProcess } from 'node:child_process';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { NetworkNamespace } from 'tuntap-native';
import type { AeadCipher } from 'tuntap-native/tunnel';

const MAIN = fileURLToPath(new URL('../examples/vpn/main.js', import.meta.url));
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

function example(cipher: AeadCipher): Contender {
  return ({ a, b, folder }) => {
    writeFileSync(join(folder, 'keys'), `b ${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
    const common = { interface: 'vpn0', cipher, mtu: MTU, keys: 'keys' };
    const server = join(folder, 'server.json');
    writeFileSync(
      server,
      JSON.stringify({ ...common, addresses: ['10.9.0.1/24'], clients: { b: { allowed: ['10.9.0.2/32'] } } }),
    );
    const client = join(folder, 'client.json');
    writeFileSync(
      client,
      JSON.stringify({
        ...common,
        addresses: ['10.9.0.2/24'],
        name: 'b',
        server: '192.0.2.1:51820',
        allowed: ['10.9.0.0/24'],
      }),
    );
    return [
      a.spawn(process.execPath, [MAIN, 'server', server], { stdio }),
      b.spawn(process.execPath, [MAIN, 'client', client], { stdio }),
    ];
  };
}

async function wireguardGo({ a, b, folder }: Hosts): Promise<readonly ChildProcess[]> {
  const ends = (['a', 'b'] as const).map((name, i) => {
    const key = execFileSync('wg', ['genkey']);
    const path = join(folder, `${name}.wg`);
    writeFileSync(path, key, { mode: 0o600 });
    const publicKey = execFileSync('wg', ['pubkey'], { input: key, encoding: 'utf8' }).trim();
    // The socket that wg(8) talks to is a file, which namespaces have in common.
    const device = `wg${process.pid % 1e6}${name}`;
    return {
      namespace: { a, b }[name],
      device,
      path,
      publicKey,
      address: `10.9.0.${i + 1}`,
      wire: `192.0.2.${i + 1}`,
    };
  });
  const children: ChildProcess[] = [];
  for (const [i, { namespace, device, path, address }] of ends.entries()) {
    const peer = ends[1 - i];
    const child = namespace.spawn('wireguard-go', ['-f', device], {
      stdio: ['ignore', 'pipe', LOUD ? 'inherit' : 'ignore'],
      env: { ...process.env, LOG_LEVEL: 'verbose' },
    });
    children.push(child);
    await printed(child, /UAPI listener started/);
    child.stdout?.resume();
    const commands =
      `wg set ${device} private-key ${path} listen-port 51820 peer ${peer.publicKey} ` +
      `allowed-ips ${peer.address}/32 endpoint ${peer.wire}:51820 && ip address add ${address}/24 dev ${device} && ` +
      `ip link set ${device} up mtu ${MTU}`;
    await once(namespace.spawn('sh', ['-c', commands], { stdio: 'inherit' }), 'close');
  }
  return children;
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

/** Waits until a process prints something. */
function printed(child: ChildProcess, pattern: RegExp): Promise<void> {
  return new Promise((resolve, reject) => {
    let text = '';
    child.stdout?.on('data', (data) => {
      text += data;
      if (pattern.test(text)) resolve();
    });
    child.once('close', (status) =>
      reject(new Error(`${child.spawnargs[2]} ended with status ${status}\n${text}`)),
    );
  });
}

export const CONTENDERS: Readonly<Record<string, Contender>> = {
  'vpn chacha20-poly1305': example('chacha20-poly1305'),
  'vpn aes-256-gcm': example('aes-256-gcm'),
  'wireguard-go': wireguardGo,
  'openvpn aes-256-gcm': openvpn,
};
