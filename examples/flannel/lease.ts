/**
 * The lease of a host's subnet, as Flannel writes it into etcd: the key PREFIX/subnets/10.244.1.0-24 has the value
 * `{"PublicIP":"192.0.2.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"…"}}`.
 */

import { parseJson, Section } from './config.ts';
import { formatNetwork, type Network, parseAddress, parseNetwork } from './network.ts';

/** What a host tells the others. */
export interface Attributes {
  /** Where the other hosts reach it. */
  readonly publicIp: string;
  readonly backendType: string;
  /** What the backend needs to know of it. */
  readonly backendData?: Readonly<Record<string, unknown>>;
}

export interface Lease extends Omit<Attributes, 'backendData'> {
  readonly subnet: Network;
  readonly data: Section;
}

export const configKey = (prefix: string): string => `${prefix}/config`;
/** All keys of subnets begin with it. */
export const subnetsPrefix = (prefix: string): string => `${prefix}/subnets/`;

export function subnetKey(prefix: string, subnet: Network): string {
  return subnetsPrefix(prefix) + formatNetwork(subnet).replace('/', '-');
}

/** The subnet that a key names. An IPv6 subnet may follow after `&`. @throws Error if it names none */
export function parseSubnetKey(key: string): Network {
  const [, address, length] = key.match(/\/([\d.]+)-(\d+)(?:&[^/]*)?$/) ?? [];
  if (address === undefined) throw new Error(`the key ${key} names no subnet`);
  return parseNetwork(`${address}/${length}`);
}

export function formatAttributes({ publicIp, backendType, backendData }: Attributes): string {
  // Flannel's UDP mode leaves the type out.
  const type = backendType === 'udp' ? undefined : backendType;
  return JSON.stringify({
    PublicIP: publicIp,
    PublicIPv6: null,
    BackendType: type,
    BackendData: backendData,
  });
}

/** @throws Error that says what is wrong */
export function parseLease(key: string, value: string): Lease {
  const subnet = parseSubnetKey(key);
  const lease = new Section('its value', parseJson('its value', value));
  const publicIp = lease.string('PublicIP', '');
  parseAddress(publicIp);
  return {
    subnet,
    publicIp,
    backendType: lease.string('BackendType')?.toLowerCase() || 'udp',
    data: lease.section('BackendData') ?? new Section('its value.BackendData', {}),
  };
}
