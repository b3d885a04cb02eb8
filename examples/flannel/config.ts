/** Flannel's configuration, PREFIX/config in etcd: `{ "Network": "10.244.0.0/16", "Backend": { "Type": "vxlan" } }`. */

import { contains, formatNetwork, type Network, network, networkOf, parseAddress, size } from './network.ts';

export interface NetworkConfig {
  /** Of all containers. */
  readonly network: Network;
  /** The prefix length of a host's part of it. */
  readonly subnetLength: number;
  /** The first and the last part that a host may take, as unsigned numbers. */
  readonly subnetMin: number;
  readonly subnetMax: number;
  readonly backend: Section;
}

/** An object of JSON. As for Flannel, upper and lower case of its keys are the same. */
export class Section {
  readonly #name: string;
  readonly #fields: ReadonlyMap<string, unknown>;

  constructor(name: string, value: unknown) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new Error(`${name} must be an object of JSON`);
    }
    this.#name = name;
    this.#fields = new Map(Object.entries(value).map(([key, field]) => [key.toLowerCase(), field]));
  }

  string(key: string): string | undefined;
  string(key: string, fallback: string): string;
  string(key: string, fallback?: string): string | undefined {
    return this.#get(key, (value) => typeof value === 'string', 'a string') ?? fallback;
  }

  boolean(key: string, fallback = false): boolean {
    return this.#get(key, (value) => typeof value === 'boolean', 'true or false') ?? fallback;
  }

  integer(key: string, min: number, max: number): number | undefined;
  integer(key: string, min: number, max: number, fallback: number): number;
  integer(key: string, min: number, max: number, fallback?: number): number | undefined {
    const fits = (value: unknown): value is number =>
      Number.isInteger(value) && (value as number) >= min && (value as number) <= max;
    return this.#get(key, fits, `an integer from ${min} to ${max}`) ?? fallback;
  }

  section(key: string): Section | undefined {
    const value = this.#fields.get(key.toLowerCase());
    return value === undefined || value === null ? undefined : new Section(`${this.#name}.${key}`, value);
  }

  #get<T>(key: string, fits: (value: unknown) => value is T, expected: string): T | undefined {
    const value = this.#fields.get(key.toLowerCase());
    // Go's encoding/json passes over null.
    if (value === undefined || value === null) return undefined;
    if (!fits(value))
      throw new Error(`${this.#name}.${key} must be ${expected}, not ${JSON.stringify(value)}`);
    return value;
  }
}

/** @throws Error that says what is wrong. The rules are those of CheckNetworkConfig in Flannel 0.28's pkg/subnet */
export function parseConfig(text: string): NetworkConfig {
  const config = new Section('config', parseJson('config', text));
  if (!config.boolean('EnableIPv4', true))
    throw new Error('config.EnableIPv4 is false: this daemon knows IPv4 only');
  if (config.boolean('EnableIPv6'))
    console.error('passes over config.EnableIPv6: this daemon knows IPv4 only');
  const all = networkOf(config.string('Network', ''));
  // A daemon needs some addresses of its subnet, and never takes the first subnet of four or more.
  if (all.prefixLength > 28) throw new Error('config.Network is too small: /28 is the smallest');
  const usual = all.prefixLength <= 22 ? 24 : all.prefixLength + 2;
  const subnetLength = config.integer('SubnetLen', 0, 30) || usual;
  if (subnetLength < all.prefixLength + 2)
    throw new Error(
      `config.SubnetLen must be an integer from ${all.prefixLength + 2} to 30, not ${subnetLength}`,
    );
  const one = size(network(0, subnetLength));
  const first = all.address >>> 0;
  const limit = (key: string, fallback: number): number => {
    const value = config.string(key);
    if (value === undefined) return fallback;
    const address = parseAddress(value);
    if (!contains(all, address)) throw new Error(`config.${key}: ${value} is not in ${formatNetwork(all)}`);
    if ((address >>> 0) % one !== 0)
      throw new Error(`config.${key}: no /${subnetLength} begins with ${value}`);
    return address >>> 0;
  };
  return {
    network: all,
    subnetLength,
    subnetMin: limit('SubnetMin', first + one),
    subnetMax: limit('SubnetMax', first + size(all) - one),
    backend: config.section('Backend') ?? new Section('config.Backend', { Type: 'udp' }),
  };
}

/** Whether a host may have that subnet. */
export function allows({ subnetLength, subnetMin, subnetMax }: NetworkConfig, subnet: Network): boolean {
  const address = subnet.address >>> 0;
  return subnet.prefixLength === subnetLength && address >= subnetMin && address <= subnetMax;
}

export function parseJson(name: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${name} is no JSON: ${(error as Error).message}`);
  }
}
