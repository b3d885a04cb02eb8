/** The answer to a `get=1` request: written for wg(8), read from other devices. */

import { codedError } from '../arguments.js';
import type { DeviceState, PeerState } from './controlled-device.js';
import { parseNumber } from './prefix.js';

const hex = (key: Uint8Array): string => Buffer.from(key.buffer, key.byteOffset, key.length).toString('hex');
const NO_KEY = '0'.repeat(64);

/** The lines of a state, in the order of wireguard-go, without the errno. */
export function formatState(state: DeviceState): string {
  const { privateKey, listenPort, fwmark, peers } = state;
  const device = [
    ...(privateKey ? [`private_key=${hex(privateKey)}\n`] : []),
    ...(listenPort ? [`listen_port=${listenPort}\n`] : []),
    ...(fwmark ? [`fwmark=${fwmark}\n`] : []),
  ];
  return [...device, ...peers.map(formatPeer)].join('');
}

function formatPeer(peer: PeerState): string {
  const { publicKey, presharedKey, endpoint, latestHandshake = 0, allowedIps } = peer;
  const seconds = Math.floor(latestHandshake / 1000);
  const nanoseconds = Math.round((latestHandshake - seconds * 1000) * 1e6);
  return `public_key=${hex(publicKey)}
preshared_key=${presharedKey ? hex(presharedKey) : NO_KEY}
protocol_version=1
${endpoint === undefined ? '' : `endpoint=${endpoint}\n`}last_handshake_time_sec=${seconds}
last_handshake_time_nsec=${nanoseconds}
tx_bytes=${peer.txBytes}
rx_bytes=${peer.rxBytes}
persistent_keepalive_interval=${peer.persistentKeepalive}
${allowedIps.map((network) => `allowed_ip=${network}\n`).join('')}`;
}

type Draft<T> = { -readonly [K in keyof T]: T[K] };
interface DraftPeer extends Draft<Omit<PeerState, 'allowedIps'>> {
  allowedIps: string[];
}

function protocolError(): Error {
  return codedError('EPROTO', 'The device sent an answer that is not of the WireGuard protocol');
}

function number(text: string): number {
  const value = parseNumber(text, 2 ** 64);
  if (value === undefined) throw protocolError();
  return value;
}

function bytes(text: string): Buffer {
  if (!/^[0-9a-fA-F]{64}$/.test(text)) throw protocolError();
  return Buffer.from(text, 'hex');
}

/**
 * Reads the answer of a device. Unknown lines are skipped, as wg(8) does.
 * @returns the state, or the errno that the device answered with
 * @throws Error `EPROTO`
 */
export function parseState(text: string): DeviceState | number {
  const device: Draft<Omit<DeviceState, 'peers'>> & { peers: DraftPeer[] } = {
    listenPort: 0,
    fwmark: 0,
    peers: [],
  };
  let errno: number | undefined;
  for (const line of text.split('\n')) {
    if (line === '') break;
    const equals = line.indexOf('=');
    if (equals === -1) throw protocolError();
    const name = line.slice(0, equals);
    const value = line.slice(equals + 1);
    const peer = device.peers.at(-1);
    if (name === 'errno') errno = /^-?[0-9]+$/.test(value) ? Math.abs(Number(value)) : Number.NaN;
    else if (name === 'public_key') device.peers.push(newPeer(bytes(value)));
    else if (peer) readPeerLine(peer, name, value);
    else if (name === 'private_key') device.privateKey = bytes(value);
    else if (name === 'listen_port') device.listenPort = number(value);
    else if (name === 'fwmark') device.fwmark = number(value);
  }
  if (errno === undefined || Number.isNaN(errno)) throw protocolError();
  return errno === 0 ? device : errno;
}

function newPeer(publicKey: Buffer): DraftPeer {
  return { publicKey, txBytes: 0, rxBytes: 0, persistentKeepalive: 0, allowedIps: [] };
}

function readPeerLine(peer: DraftPeer, name: string, value: string): void {
  if (name === 'preshared_key') peer.presharedKey = value === NO_KEY ? undefined : bytes(value);
  else if (name === 'endpoint') peer.endpoint = value;
  else if (name === 'tx_bytes') peer.txBytes = number(value);
  else if (name === 'rx_bytes') peer.rxBytes = number(value);
  else if (name === 'persistent_keepalive_interval') peer.persistentKeepalive = number(value);
  else if (name === 'allowed_ip') peer.allowedIps.push(value);
  else if (name === 'last_handshake_time_sec') peer.latestHandshake = number(value) * 1000 || undefined;
  else if (name === 'last_handshake_time_nsec' && number(value) > 0) {
    peer.latestHandshake = (peer.latestHandshake ?? 0) + number(value) / 1e6;
  }
}
