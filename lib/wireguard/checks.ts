/** Checks of what users give for peers and endpoints. */

import { lookup } from 'node:dns/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { isIP } from '../address.js';
import {
  abortError,
  checkSignal,
  codedError,
  invalidArgType,
  requireBoolean,
  requireInteger,
  requireObject,
} from '../arguments.js';
import { Endpoint } from '../endpoint.js';
import { allowedIpValue, endpointValue } from './config-values.js';
import type { DeviceChanges, PeerChange } from './controlled-device.js';
import { parseKey } from './keys.js';
import { type Prefix, parsePrefix } from './prefix.js';
import type { InterfaceChanges, PeerChanges } from './tunnel-types.js';

// As wg(8): 15 tries, the first pause a second, each a fifth longer, 20 s at most.
const LOOKUP_TRIES = 15;
const MAX_PAUSE = 20_000;
const TRANSIENT: ReadonlySet<string | undefined> = new Set(['EAI_AGAIN']);

/** A peer's options, checked, as a change of it. What is left out stays as it is. */
export function peerChange(name: string, options: PeerChanges): PeerChange {
  requireObject(name, options);
  const { publicKey, presharedKey, endpoint, allowedIps, persistentKeepalive } = options;
  const { updateOnly = false, replaceAllowedIps = true } = options;
  requireBoolean(`${name}.updateOnly`, updateOnly);
  requireBoolean(`${name}.replaceAllowedIps`, replaceAllowedIps);
  if (allowedIps !== undefined && !Array.isArray(allowedIps)) {
    throw invalidArgType(`${name}.allowedIps`, 'an array of strings', allowedIps);
  }
  if (persistentKeepalive !== undefined) {
    requireInteger(`${name}.persistentKeepalive`, persistentKeepalive, 0, 65535);
  }
  return {
    publicKey: parseKey(`${name}.publicKey`, publicKey),
    updateOnly,
    remove: false,
    presharedKey: presharedKey === undefined ? undefined : parseKey(`${name}.presharedKey`, presharedKey),
    endpoint: endpoint === undefined ? undefined : checkEndpoint(`${name}.endpoint`, endpoint),
    persistentKeepalive,
    replaceAllowedIps: replaceAllowedIps && allowedIps !== undefined,
    allowedIps: (allowedIps ?? []).map((text) => ({
      ...checkAllowedIp(`${name}.allowedIps`, text),
      remove: false,
    })),
  };
}

/** An interface's options, checked, as a change of a device without its peers. */
export function interfaceChange(changes: InterfaceChanges): DeviceChanges {
  requireObject('changes', changes);
  const { privateKey, listenPort, fwmark, replacePeers = false } = changes;
  if (listenPort !== undefined) requireInteger('listenPort', listenPort, 0, 65535);
  if (fwmark !== undefined) requireInteger('fwmark', fwmark, 0, 0xffffffff);
  requireBoolean('replacePeers', replacePeers);
  const key = privateKey === undefined ? undefined : parseKey('privateKey', privateKey);
  return { privateKey: key, listenPort, fwmark, replacePeers, peers: [] };
}

export function checkAllowedIp(name: string, text: string): Prefix {
  const value = typeof text === 'string' ? allowedIpValue(text) : undefined;
  const prefix = value?.sign === '' ? parsePrefix(value.prefix) : undefined;
  if (!prefix) {
    throw codedError('ERR_WG_ALLOWED_IP', `"${name}" has '${text}', which is no network such as 10.0.0.0/24`);
  }
  return prefix;
}

export function checkEndpoint(name: string, text: string): string {
  const value = typeof text === 'string' ? endpointValue(text) : undefined;
  if (value === undefined) {
    throw codedError(
      'ERR_WG_ENDPOINT',
      `"${name}" is '${text}', which is no endpoint such as 192.0.2.1:51820, [2001:db8::1]:51820 or vpn.example.org:51820`,
    );
  }
  return value;
}

/** The host and the port of an endpoint that was checked. */
export function splitEndpoint(text: string): { readonly host: string; readonly port: number } {
  const colon = text.lastIndexOf(':');
  return { host: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) };
}

/** Whether a zone is a link's index, and not its name. */
const isIndex = (zone: string): boolean => /^[1-9][0-9]*$/.test(zone);

/** The endpoint if its host is an address, else undefined. */
export function numericEndpoint(text: string): Endpoint | undefined {
  const { host, port } = splitEndpoint(text);
  try {
    return new Endpoint(host, port);
  } catch {
    return undefined;
  }
}

/**
 * Looks an endpoint's host name up, and takes the first address; or the name of the link that is an address's zone.
 * @throws Error `ERR_WG_ENDPOINT` with the system's error as cause; AbortError; what `findLink` throws
 */
export async function resolveEndpoint(
  text: string,
  findLink: (name: string) => Promise<number>,
  signal?: AbortSignal,
  tries = LOOKUP_TRIES,
): Promise<Endpoint> {
  const { host, port } = splitEndpoint(text);
  const [address, zone] = host.split('%');
  if (zone !== undefined && isIP(address) === 6 && !isIndex(zone)) {
    return new Endpoint(`${address}%${await findLink(zone)}`, port);
  }
  const numeric = numericEndpoint(text);
  if (numeric) return numeric;
  for (let pause = 1000, tried = 1; ; tried++, pause = Math.min(pause * 1.2, MAX_PAUSE)) {
    try {
      const { address } = await lookup(host);
      return new Endpoint(address, port);
    } catch (cause) {
      if (signal?.aborted) throw abortError(signal);
      const { code } = cause as NodeJS.ErrnoException;
      if (!TRANSIENT.has(code) || tried >= tries) {
        const message = `The host name '${host}' can't be looked up: ${code}`;
        throw codedError('ERR_WG_ENDPOINT', message, { cause });
      }
    }
    await delay(pause, undefined, { signal }).catch(() => checkSignal(signal));
  }
}
