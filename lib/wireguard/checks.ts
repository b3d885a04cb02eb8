/** Checks of what users give for peers and endpoints. */

import { lookup } from 'node:dns/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { abortError, checkSignal, invalidArgType, requireInteger, requireObject } from '../arguments.js';
import { Endpoint } from '../endpoint.js';
import { allowedIpValue, endpointValue } from './config-values.js';
import { parseKey } from './keys.js';
import type { PeerOptions } from './options.js';
import { type Prefix, parsePrefix } from './prefix.js';

// As wg(8): 15 tries, the first pause a second, each a fifth longer, 20 s at most.
const LOOKUP_TRIES = 15;
const MAX_PAUSE = 20_000;
const TRANSIENT: ReadonlySet<string | undefined> = new Set(['EAI_AGAIN']);

/** A peer's options, checked. What is undefined stays as it is. */
export interface CheckedPeer {
  readonly publicKey: Buffer;
  readonly presharedKey?: Buffer;
  readonly endpoint?: string;
  readonly allowedIps?: readonly Prefix[];
  readonly persistentKeepalive?: number;
}

/** An error with one of the codes `ERR_WG_…`. */
export function wireGuardError(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}

export function checkPeer(name: string, options: PeerOptions): CheckedPeer {
  requireObject(name, options);
  const { publicKey, presharedKey, endpoint, allowedIps, persistentKeepalive } = options;
  if (allowedIps !== undefined && !Array.isArray(allowedIps)) {
    throw invalidArgType(`${name}.allowedIps`, 'an array of strings', allowedIps);
  }
  if (persistentKeepalive !== undefined) {
    requireInteger(`${name}.persistentKeepalive`, persistentKeepalive, 0, 65535);
  }
  return {
    publicKey: parseKey(`${name}.publicKey`, publicKey),
    presharedKey: presharedKey === undefined ? undefined : parseKey(`${name}.presharedKey`, presharedKey),
    endpoint: endpoint === undefined ? undefined : checkEndpoint(`${name}.endpoint`, endpoint),
    allowedIps: allowedIps?.map((text) => checkAllowedIp(`${name}.allowedIps`, text)),
    persistentKeepalive,
  };
}

export function checkAllowedIp(name: string, text: string): Prefix {
  const value = typeof text === 'string' ? allowedIpValue(text) : undefined;
  const prefix = value?.sign === '' ? parsePrefix(value.prefix) : undefined;
  if (!prefix) {
    throw wireGuardError(
      'ERR_WG_ALLOWED_IP',
      `"${name}" has '${text}', which is no network such as 10.0.0.0/24`,
    );
  }
  return prefix;
}

export function checkEndpoint(name: string, text: string): string {
  const value = typeof text === 'string' ? endpointValue(text) : undefined;
  if (value === undefined) {
    throw wireGuardError(
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
 * Looks an endpoint's host name up, and takes the first address.
 * @throws Error `ERR_WG_ENDPOINT` with the system's error as cause; AbortError
 */
export async function resolveEndpoint(
  text: string,
  signal?: AbortSignal,
  tries = LOOKUP_TRIES,
): Promise<Endpoint> {
  const numeric = numericEndpoint(text);
  if (numeric) return numeric;
  const { host, port } = splitEndpoint(text);
  for (let pause = 1000, tried = 1; ; tried++, pause = Math.min(pause * 1.2, MAX_PAUSE)) {
    try {
      const { address } = await lookup(host);
      return new Endpoint(address, port);
    } catch (cause) {
      if (signal?.aborted) throw abortError(signal);
      const { code } = cause as NodeJS.ErrnoException;
      if (!TRANSIENT.has(code) || tried >= tries) {
        const error = wireGuardError(
          'ERR_WG_ENDPOINT',
          `The host name '${host}' can't be looked up: ${code}`,
        );
        throw Object.assign(error, { cause });
      }
    }
    await delay(pause, undefined, { signal }).catch(() => checkSignal(signal));
  }
}
