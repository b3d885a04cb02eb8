import { chmodSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { NetworkNamespace } from 'tuntap-native/net';
import { generatePresharedKey, generatePrivateKey, publicKey } from 'tuntap-native/wireguard';
import { inNamespace, run } from '../support.ts';
import { freeName, withFolder } from '../wireguard/oracle.ts';
import { fake, Running } from './programs.ts';

export const PRIVATE = generatePrivateKey();
export const A = publicKey(generatePrivateKey());
export const B = publicKey(generatePrivateKey());
export const PSK = generatePresharedKey();

export interface Setup {
  readonly namespace: NetworkNamespace;
  readonly folder: string;
  readonly name: string;
  readonly file: string;
  /** Starts the command; it ends with the test. */
  start(args?: string[], env?: NodeJS.ProcessEnv): Running;
}

/** A namespace with a link, and a file of that content (NAME and FOLDER stand for themselves). */
export async function withSetup(content: string, body: (setup: Setup) => Promise<void>): Promise<void> {
  await withFolder((folder) =>
    inNamespace(async (namespace) => {
      const name = freeName();
      const file = join(folder, `${name}.conf`);
      writeFileSync(file, content.replaceAll('FOLDER', folder).replaceAll('NAME', name), { mode: 0o600 });
      await namespace.addLink({ kind: 'veth', name: 'eth0', peer: { name: 'eth1' } });
      for (const link of ['lo', 'eth0', 'eth1']) await (await namespace.link(link)).set({ up: true });
      await (await namespace.link('eth0')).addAddress('192.168.1.2/24');
      await namespace.addRoute({ destination: 'default', via: '192.168.1.1' });
      const started: Running[] = [];
      const start = (args: string[] = [], env: NodeJS.ProcessEnv = {}): Running => {
        const running = new Running(fake('tuntap-native', 'up', file, ...args), { namespace, env });
        started.push(running);
        return running;
      };
      try {
        await body({ namespace, folder, name, file, start });
      } finally {
        for (const running of started) await running.stop('SIGKILL');
      }
    }),
  );
}

/** Links, routes, rules and firewall of a namespace. */
export async function surroundings(namespace: NetworkNamespace): Promise<string> {
  const lists = [
    ['ip', '-o', 'link'],
    ['ip', 'route', 'show', 'table', 'all'],
    ['ip', 'rule'],
    ['ip', '-6', 'rule'],
    ['nft', 'list', 'ruleset'],
  ];
  const outputs: string[] = [];
  for (const [program, ...args] of lists) outputs.push((await run(namespace, program, ...args)).stdout);
  const lines = outputs
    .join('\n')
    .replace(/ state \w+/g, '')
    .split('\n');
  // The kernel gives link-local addresses when it likes.
  return lines.filter((line) => !line.includes('fe80')).join('\n');
}

/** A resolvconf that writes what it is told into FOLDER/resolvconf.log. */
export function fakeResolvconf(folder: string, status = 0): NodeJS.ProcessEnv {
  const path = join(folder, 'resolvconf');
  writeFileSync(path, `#!/bin/sh\n{ echo "$@"; cat; } >> ${folder}/resolvconf.log\nexit ${status}\n`);
  chmodSync(path, 0o755);
  return { PATH: `${folder}:${process.env.PATH}` };
}

/** A PATH with Node's tools but without resolvconf and nft. */
export function bareEnv(folder: string): NodeJS.ProcessEnv {
  symlinkSync('/bin/bash', join(folder, 'bash'));
  return { PATH: folder };
}

export const FILE = `[Interface]
PrivateKey = ${PRIVATE}
ListenPort = 51999
Address = 10.9.0.1/24, fd09::1/64
MTU = 1380
[Peer]
PublicKey = ${A}
PresharedKey = ${PSK}
Endpoint = 192.0.2.1:51820
AllowedIPs = 10.9.0.2/32, 10.20.0.0/16
PersistentKeepalive = 25
[Peer]
PublicKey = ${B}
AllowedIPs = 0.0.0.0/0, ::/0
`;
