/**
 * The lines of a `set=1` request, which become one list of changes: nothing is applied unless all of it is valid.
 * @see https://www.wireguard.com/xplatform/#configuration-protocol
 */

import { isIPv4, isIPv6 } from 'node:net';
import { ipv6Text } from './config-values.js';
import type { AllowedIpChange, DeviceChanges, PeerChange } from './controlled-device.js';
import { secretBuffer } from './crypto.js';
import { parseNumber, parsePrefix } from './prefix.js';

export const EIO = 5;
export const ENOMEM = 12;
export const EINVAL = 22;
export const EPROTO = 71;
const MAX_PEERS = 0x10000;

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
interface DraftChanges extends Mutable<Omit<DeviceChanges, 'peers'>> {
  readonly peers: PeerChange[];
}
interface DraftPeer extends Mutable<Omit<PeerChange, 'allowedIps'>> {
  allowedIps: AllowedIpChange[];
}

function key(text: string): Buffer | undefined {
  if (!/^[0-9a-fA-F]{64}$/.test(text)) return undefined;
  const bytes = secretBuffer();
  bytes.write(text, 'hex');
  return bytes;
}

function privateKey(text: string): Buffer | null | undefined {
  const bytes = key(text);
  if (bytes === undefined) return undefined;
  if (bytes.every((byte) => byte === 0)) return null;
  return bytes;
}

function endpoint(text: string): string | undefined {
  const match = /^\[([^\]]+)\]:([0-9]+)$/.exec(text) ?? /^([^:[\]]+):([0-9]+)$/.exec(text);
  const port = match && parseNumber(match[2], 65535);
  if (!match || port === undefined) return undefined;
  if (text[0] === '[') return isIPv6(match[1]) ? `[${ipv6Text(match[1])}]:${port}` : undefined;
  return isIPv4(match[1]) ? `${match[1]}:${port}` : undefined;
}

function allowedIp(text: string): AllowedIpChange | undefined {
  const remove = text[0] === '-';
  const network = remove ? text.slice(1) : text;
  const prefix = network.includes('/') ? parsePrefix(network) : undefined;
  return prefix && { ...prefix, remove };
}

/** Assigns what `parse` makes of a value. */
function store<T>(target: T, property: keyof T, value: T[keyof T] | undefined): boolean {
  if (value === undefined) return false;
  target[property] = value;
  return true;
}

type Line<T> = (target: T, value: string) => boolean;

const DEVICE_LINES = new Map<string, Line<DraftChanges>>([
  ['private_key', (changes, value) => store(changes, 'privateKey', privateKey(value))],
  ['listen_port', (changes, value) => store(changes, 'listenPort', parseNumber(value, 65535))],
  ['fwmark', (changes, value) => store(changes, 'fwmark', parseNumber(value, 0xffffffff))],
  ['replace_peers', (changes, value) => store(changes, 'replacePeers', value === 'true' || undefined)],
]);

const PEER_LINES = new Map<string, Line<DraftPeer>>([
  ['update_only', (peer, value) => store(peer, 'updateOnly', value === 'true' || undefined)],
  ['remove', (peer, value) => store(peer, 'remove', value === 'true' || undefined)],
  ['preshared_key', (peer, value) => store(peer, 'presharedKey', key(value))],
  ['endpoint', (peer, value) => store(peer, 'endpoint', endpoint(value))],
  [
    'persistent_keepalive_interval',
    (peer, value) => store(peer, 'persistentKeepalive', parseNumber(value, 65535)),
  ],
  [
    'replace_allowed_ips',
    (peer, value) => {
      peer.allowedIps = [];
      return store(peer, 'replaceAllowedIps', value === 'true' || undefined);
    },
  ],
  [
    'allowed_ip',
    (peer, value) => {
      const change = allowedIp(value);
      if (change) peer.allowedIps.push(change);
      return change !== undefined;
    },
  ],
  ['protocol_version', (_peer, value) => value === '1'],
]);

/** Collects the lines of one request. */
export class SetRequest {
  readonly #changes: DraftChanges = { replacePeers: false, peers: [] };
  #peer: DraftPeer | undefined;

  /** Takes a line, without its end. @returns 0, or the positive errno to refuse the request with */
  add(line: string): number {
    const equals = line.indexOf('=');
    if (equals === -1) return EPROTO;
    const name = line.slice(0, equals);
    const value = line.slice(equals + 1);
    if (name === 'public_key') return this.#addPeer(value);
    const valid = this.#peer
      ? PEER_LINES.get(name)?.(this.#peer, value)
      : DEVICE_LINES.get(name)?.(this.#changes, value);
    return valid ? 0 : EINVAL;
  }

  #addPeer(value: string): number {
    const publicKey = key(value);
    if (publicKey === undefined || this.#changes.peers.length === MAX_PEERS) return EINVAL;
    this.#peer = { publicKey, updateOnly: false, remove: false, replaceAllowedIps: false, allowedIps: [] };
    this.#changes.peers.push(this.#peer);
    return 0;
  }

  /** All of the request, once its empty line has come. */
  get changes(): DeviceChanges {
    return this.#changes;
  }
}
