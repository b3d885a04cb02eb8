/** The part of `doctor` that uses the addon: a program that prints a line of JSON for each check; see doctor-child.ts. */

import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { openTun } from '../device/open-tun-tap.js';
import type { TunDevice } from '../device/tun-tap-device.js';
import { PacketBatch } from '../io/packet-batch.js';
import { native } from '../native/addon.js';
import { NetworkNamespace } from '../net/index.js';
import { Aead, type AeadCipher, Endpoint, openUdp } from '../tunnel/index.js';
import { oneLine } from './command.js';
import type { ProbeLine } from './doctor-child.js';
import type { Finding } from './doctor-finding.js';

// Addresses for documentation (RFC 5737), which no network routes.
const HERE = '192.0.2.1';
const THERE = '192.0.2.2';
const ANSWER_MS = 5000;

// 16 zeros sealed with a key and a nonce of zeros: ciphertext and tag.
const KNOWN_ANSWERS: Readonly<Record<AeadCipher, string>> = {
  'chacha20-poly1305': '9f07e7be5551387a98ba977c732d080dc34a88047320f52aa2c6683ef8084d2f',
  'aes-128-gcm': '0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf',
  'aes-256-gcm': 'cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919',
};

type Verdict = Omit<Finding, 'check'>;

function print(line: ProbeLine): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/** Makes a check and prints what it found; what it throws becomes `otherwise`. @returns whether it is ok */
async function probe(
  check: string,
  otherwise: 'warn' | 'fail',
  body: () => Verdict | Promise<Verdict>,
  advice?: string,
): Promise<boolean> {
  print({ begins: check });
  let verdict: Verdict;
  try {
    verdict = await body();
  } catch (error) {
    verdict = { status: otherwise, detail: oneLine(error), advice };
  }
  print({ check, ...verdict });
  return verdict.status === 'ok';
}

function ok(detail: string): Verdict {
  return { status: 'ok', detail };
}

function engine(): Verdict {
  return ok(
    native().engine === 'uv'
      ? 'uv: the event loop of Node.js waits for packets'
      : 'thread: a thread waits for packets and wakes JavaScript',
  );
}

function ciphers(): Verdict {
  const sources = new Set<string>();
  for (const [cipher, expected] of Object.entries(KNOWN_ANSWERS) as [AeadCipher, string][]) {
    using aead = new Aead(cipher, new Uint8Array(cipher === 'aes-128-gcm' ? 16 : 32), {
      associatedDataLength: 0,
    });
    const batch = new PacketBatch({ headroom: aead.headerLength, tailroom: Aead.tagLength });
    batch.push(new Uint8Array(16));
    aead.sealBatch(batch);
    sources.add(
      aead.source === 'openssl' ? 'OpenSSL' : `the bundled ciphers for ${native().cipherLevels()[0]}`,
    );
    const sealed = Buffer.from(batch.at(0).subarray(aead.headerLength)).toString('hex');
    if (sealed !== expected) {
      return {
        status: 'fail',
        detail: `${cipher} gives ${sealed}, not ${expected}`,
        advice: 'Please report this.',
      };
    }
  }
  const names = Object.keys(KNOWN_ANSWERS).join(', ');
  return ok(`${names} give the known answers, from ${[...sources].join(' and ')}`);
}

/** What is switched off among some features, as a warning. */
function features(
  all: Readonly<Record<string, boolean>>,
  detail: string,
  without: string,
  advice: string,
): Verdict {
  const missing = Object.keys(all).filter((name) => !all[name]);
  if (missing.length === 0) return ok(`${Object.keys(all).join(', ')}: ${detail}`);
  return { status: 'warn', detail: `${missing.join(', ')} missing: ${without}`, advice };
}

/** A datagram leaves through the device, is sent back, and arrives. */
async function sendAndAnswer(tun: TunDevice, namespace: NetworkNamespace | undefined): Promise<Verdict> {
  const signal = AbortSignal.timeout(ANSWER_MS);
  await using socket = openUdp({ address: HERE, remote: new Endpoint(THERE, 9), namespace, signal });
  tun.on('data', (packet: Buffer) => {
    if (packet[0] >> 4 !== 4 || packet[9] !== 17) return;
    // Swapping the addresses and the ports leaves both checksums right.
    const [answer, end] = [Buffer.from(packet), 4 * (packet[0] & 15)];
    packet.copy(answer, 12, 16, 20);
    packet.copy(answer, 16, 12, 16);
    packet.copy(answer, end, end + 2, end + 4);
    packet.copy(answer, end + 2, end, end + 2);
    tun.write(answer);
  });
  socket.send(Buffer.from('doctor'));
  for await (const batch of socket.batches()) {
    if (batch.length > 0) return ok('a packet left through a new device, and its answer came back');
  }
  return { status: 'fail', detail: 'the socket closed before the answer came' };
}

async function tunnels(namespace: NetworkNamespace | undefined): Promise<void> {
  let tun: TunDevice | undefined;
  const opened = await probe('tun', 'fail', async () => {
    tun = openTun(undefined, { addresses: [`${HERE}/24`], up: true, namespace });
    return sendAndAnswer(tun, namespace);
  });
  if (tun === undefined) return;
  const { tso4, tso6, uso4, uso6 } = tun.offloads;
  if (opened) {
    await probe('tun offloads', 'warn', () =>
      features(
        { TSO: tso4 && tso6, USO: uso4 && uso6 },
        'large packets pass the kernel in one piece',
        'the kernel hands over each packet by itself, which is slower',
        'USO needs Linux 6.2.',
      ),
    );
  }
  const closed = once(tun, 'close');
  tun.destroy();
  await closed;
}

async function udpOffloads(): Promise<Verdict> {
  await using socket = openUdp({ address: '127.0.0.1' });
  return features(
    { UDP_SEGMENT: socket.offloads.gso, UDP_GRO: socket.offloads.gro },
    'many datagrams pass the kernel in one piece',
    'each datagram is sent or received by itself, which is slower',
    'UDP_GRO needs Linux 5.0.',
  );
}

async function userNamespaces(): Promise<Verdict> {
  const namespace = await NetworkNamespace.create(undefined, { user: true });
  await namespace.close();
  return ok('work: a program without rights can have namespaces and devices of its own');
}

async function netlink(): Promise<Verdict> {
  const here = await NetworkNamespace.current();
  const links = await here.links();
  await here.close();
  return ok(`the kernel lists ${links.length} link${links.length === 1 ? '' : 's'}`);
}

async function spawns(namespace: NetworkNamespace): Promise<Verdict> {
  // With files of its own, as the commands run and proxy start theirs.
  const etc = { 'resolv.conf': '' };
  const child = namespace.spawn('true', [], { stdio: ['ignore', 'ignore', 'pipe'], etc });
  const [said, [code]] = await Promise.all([text(child.stderr as Readable), once(child, 'exit')]);
  if (code === 0) return ok('a program ran in a new namespace');
  return { status: 'warn', detail: `namespace.spawn: true(1) ended with ${code}: ${said.trim()}` };
}

const loaded = await probe('addon', 'fail', () => ok(native().path));
if (loaded) {
  await probe(
    'user namespaces',
    'warn',
    userNamespaces,
    'Without CAP_SYS_ADMIN, labs, intercept() and the commands run and proxy need them, and so do devices without CAP_NET_ADMIN.',
  );
  await probe('engine', 'fail', engine);
  await probe('ciphers', 'warn', ciphers, 'Aead and WireGuard need them; the rest of the package does not.');
  await probe('netlink', 'fail', netlink);
  await probe('udp offloads', 'warn', udpOffloads);
  // Without CAP_SYS_ADMIN the device is for a moment in the namespace that the process is in.
  const namespace = await NetworkNamespace.create().catch(() => undefined);
  await tunnels(namespace);
  if (namespace !== undefined) {
    await probe(
      'spawn',
      'warn',
      () => spawns(namespace),
      'NetworkNamespace.spawn and labs need namespace_exec, beside the addon.',
    );
    await namespace.close();
  }
}
