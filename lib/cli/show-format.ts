/** A device's state in the words of `wg show`, to the letter. */

import { isIPv4 } from 'node:net';
import { formatIpv6, parseIpv6 } from '../address.js';
import type { DeviceState, PeerState } from '../wireguard/controlled-device.js';
import { publicKey } from '../wireguard/index.js';

/** How to print. */
export interface ShowStyle {
  /** Escape sequences for colours. */
  readonly hasColor: boolean;
  /** Whether secrets are printed. */
  readonly showsKeys: boolean;
  /** In milliseconds since 1970. */
  readonly now: number;
  /** The name of a link by its index, if it has one. */
  readonly linkName: (index: number) => string | undefined;
}

// terminal.h of wireguard-tools.
const RESET = '\x1b[0m';
const BOLD = '\x1b[1m';
const RED = '\x1b[31m';
const GREEN = '\x1b[32m';
const YELLOW = '\x1b[33m';
const CYAN = '\x1b[36m';

const base64 = (key: Uint8Array): string => Buffer.from(key).toString('base64');
const isSecret = (key: Uint8Array | undefined): key is Uint8Array => key?.some((byte) => byte !== 0) ?? false;

/** Everything about a device. */
export function formatDevice(name: string, state: DeviceState, style: ShowStyle): string {
  const { privateKey, listenPort, fwmark } = state;
  const secret = (key: Uint8Array) => (style.showsKeys ? base64(key) : '(hidden)');
  const field = (label: string, value: string) => `  ${BOLD}${label}${RESET}: ${value}\n`;
  const text = [
    `${RESET}${GREEN}${BOLD}interface${RESET}: ${GREEN}${name}${RESET}\n`,
    ...(privateKey
      ? [field('public key', publicKey(privateKey)), field('private key', secret(privateKey))]
      : []),
    ...(listenPort ? [field('listening port', String(listenPort))] : []),
    ...(fwmark ? [field('fwmark', `0x${fwmark.toString(16)}`)] : []),
    ...sortPeers(state.peers).map((peer) => `\n${formatPeer(peer, style, field, secret)}`),
  ].join('');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the escape sequences above
  return style.hasColor ? text : text.replace(/\x1b\[[0-9]+m/g, '');
}

/** The latest handshake first. */
function sortPeers(peers: readonly PeerState[]): PeerState[] {
  return peers.toSorted((a, b) => (b.latestHandshake ?? 0) - (a.latestHandshake ?? 0));
}

function formatPeer(
  peer: PeerState,
  style: ShowStyle,
  field: (label: string, value: string) => string,
  secret: (key: Uint8Array) => string,
): string {
  const {
    presharedKey,
    endpoint,
    allowedIps,
    latestHandshake = 0,
    rxBytes,
    txBytes,
    persistentKeepalive,
  } = peer;
  return [
    `${YELLOW}${BOLD}peer${RESET}: ${YELLOW}${base64(peer.publicKey)}${RESET}\n`,
    ...(isSecret(presharedKey) ? [field('preshared key', secret(presharedKey))] : []),
    ...(endpoint ? [field('endpoint', formatEndpoint(endpoint, style))] : []),
    field('allowed ips', allowedIps.map(formatNetwork).join(', ') || '(none)'),
    ...(latestHandshake >= 1000 ? [field('latest handshake', formatAge(latestHandshake, style.now))] : []),
    ...(rxBytes || txBytes
      ? [field('transfer', `${formatBytes(rxBytes)} received, ${formatBytes(txBytes)} sent`)]
      : []),
    ...(persistentKeepalive
      ? [field('persistent keepalive', `every ${formatTime(persistentKeepalive)}`)]
      : []),
  ].join('');
}

function formatNetwork(network: string): string {
  const [address, length] = network.split('/');
  return `${isIPv4(address) ? address : inet6(address)}${CYAN}/${RESET}${length}`;
}

/**
 * An IPv6 address as inet_ntop(3) of glibc writes it: unlike RFC 5952, the last 32 bits of what begins with exactly 96
 * zeros are an IPv4 address.
 */
function inet6(address: string): string {
  const bytes = parseIpv6(address);
  const isCompatible =
    bytes.subarray(0, 12).every((byte) => byte === 0) && (bytes[12] !== 0 || bytes[13] !== 0);
  return isCompatible ? `::${bytes.subarray(12).join('.')}` : formatIpv6(bytes);
}

/** A zone is the name of a link. */
function formatEndpoint(endpoint: string, { linkName }: ShowStyle): string {
  const match = /^\[([^%\]]+)(?:%([^\]]+))?\]:([0-9]+)$/.exec(endpoint);
  if (match === null) return endpoint;
  const [, address, zone, port] = match;
  const link = zone && (/^[0-9]+$/.test(zone) ? (linkName(Number(zone)) ?? zone) : zone);
  return `[${inet6(address)}${link ? `%${link}` : ''}]:${port}`;
}

function formatAge(time: number, now: number): string {
  const [then, present] = [Math.floor(time / 1000), Math.floor(now / 1000)];
  if (present === then) return 'Now';
  if (present > then) return `${formatTime(present - then)} ago`;
  return `(${RED}System clock wound backward; connection problems may ensue.${RESET})`;
}

function formatTime(seconds: number): string {
  const units: [unit: string, count: number][] = [
    ['year', Math.floor(seconds / 31_536_000)],
    ['day', Math.floor((seconds % 31_536_000) / 86_400)],
    ['hour', Math.floor((seconds % 86_400) / 3600)],
    ['minute', Math.floor((seconds % 3600) / 60)],
    ['second', seconds % 60],
  ];
  return units
    .filter(([, count]) => count > 0)
    .map(([unit, count]) => `${count} ${CYAN}${unit}${count === 1 ? '' : 's'}${RESET}`)
    .join(', ');
}

function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} ${CYAN}B${RESET}`;
  const exponent = Math.min(Math.floor(Math.log2(bytes) / 10), 4);
  const unit = ['KiB', 'MiB', 'GiB', 'TiB'][exponent - 1];
  return `${twoDecimals(bytes / 1024 ** exponent)} ${CYAN}${unit}${RESET}`;
}

/** As printf(3): a tie goes to the even digit, where toFixed() rounds up. */
function twoDecimals(value: number): string {
  const hundredths = value * 100;
  const floor = Math.floor(hundredths);
  const isTie = value * 8 === Math.floor(value * 8) && hundredths - floor === 0.5;
  return isTie ? ((floor + (floor % 2)) / 100).toFixed(2) : value.toFixed(2);
}
