/** Files of wg-quick(8), which hold what wg(8) calls a configuration. */

import { invalidArgType, requireObject } from '../arguments.js';
import {
  type DraftConfig,
  type DraftPeer,
  type Field,
  interfaceFields,
  peerFields,
} from './config-fields.js';
import { allowedIpValue, lowerCase } from './config-values.js';
import { parseKey } from './keys.js';
import type { Key, ParsedConfig, ParsedPeer, PeerOptions, WireGuardConfig } from './options.js';

/** What {@link parseConfig} throws. No message ever shows a value, which may be a secret. */
export interface ConfigError extends Error {
  /** Always this. */
  code: 'ERR_WG_CONFIG';
  /** The line's number, from 1 on. Undefined if {@link formatConfig} threw the error. */
  line?: number;
}

/** Something in a file that is allowed, but hardly meant. */
export interface ConfigWarning {
  /** The line's number, from 1 on. */
  readonly line: number;
  /** A sentence that begins with the line's number. */
  readonly message: string;
}

function configError(reason: string, line?: number): ConfigError {
  const message = line === undefined ? reason : `line ${line}: ${reason}`;
  return Object.assign(new Error(message), {
    code: 'ERR_WG_CONFIG' as const,
    ...(line !== undefined && { line }),
  });
}

const trim = (text: string): string => text.replace(/^[\t-\r ]+|[\t-\r ]+$/g, '');
const fieldMap = <T>(fields: readonly Field<T>[]): ReadonlyMap<string, Field<T>> =>
  new Map(fields.map((field) => [lowerCase(field.name), field]));
const INTERFACE = fieldMap(interfaceFields);
const PEER = fieldMap(peerFields);
const HOOKS = /^(pre|post)(up|down)$/;

function emptyConfig(): DraftConfig {
  return {
    addresses: [],
    dns: [],
    searchDomains: [],
    preUp: [],
    postUp: [],
    preDown: [],
    postDown: [],
    saveConfig: false,
  };
}

/**
 * Reads a file of wg-quick(8).
 *
 * Host names of endpoints stay names. Host bits of allowed IPs are cleared. Two sections about one peer become one, and
 * `+` and `-` before an allowed IP add to or take from what stands above, so the result is what `wg setconf` makes of it.
 * @param text the file's content
 * @param onWarning is told of what is allowed, but hardly meant. **Default:** nobody is
 * @throws Error `ERR_WG_CONFIG`; its `line` is the number of the line at fault, and its message is one line that never
 * shows a value. TypeError `ERR_INVALID_ARG_TYPE` if `text` is no string
 * @example
 * ```ts
 * const { dns, ...options } = parseConfig(await readFile('/etc/wireguard/wg0.conf', 'utf8'));
 * const tunnel = await openWireGuard('wg0', options);
 * ```
 * @see wg(8), wg-quick(8)
 */
export function parseConfig(
  text: string,
  onWarning: (warning: ConfigWarning) => void = () => {},
): ParsedConfig {
  if (typeof text !== 'string') throw invalidArgType('text', 'of type string', typeof text);
  const config = emptyConfig();
  const peers = new Map<string, ParsedPeer>();
  let section: 'interface' | 'peer' | undefined;
  let peer: DraftPeer = { allowedIps: [] };
  let peerLine = 0;
  const endPeer = (): void => {
    if (section !== 'peer') return;
    if (peer.publicKey === undefined) throw configError('this [Peer] has no PublicKey', peerLine);
    peers.set(peer.publicKey, mergePeer(peers.get(peer.publicKey), peer, peer.publicKey));
  };

  text
    .replace(/^\ufeff/, '')
    .split('\n')
    .forEach((raw, index) => {
      const line = index + 1;
      const content = trim(raw.split('#', 1)[0]);
      if (content === '') return;
      const header = lowerCase(content.replace(/[\t-\r ]/g, ''));
      if (header === '[interface]' || header === '[peer]') {
        endPeer();
        section = header === '[peer]' ? 'peer' : 'interface';
        peer = { allowedIps: [] };
        peerLine = line;
        return;
      }
      const { name, value } = splitLine(raw, content, line);
      if (section === undefined) throw configError('[Interface] or [Peer] must come first', line);
      const networks = peer.allowedIps.length;
      if (section === 'interface') readField(INTERFACE, config, name, value, line);
      else readField(PEER, peer, name, value, line);
      for (const { hasHostBits, prefix } of peer.allowedIps.slice(networks)) {
        if (hasHostBits) {
          onWarning({
            line,
            message: `line ${line}: AllowedIPs has bits set beyond the prefix, ${prefix} is used`,
          });
        }
      }
    });
  endPeer();
  return { ...config, peers: [...peers.values()] };
}

/** A hook keeps what looks like a comment: it may be part of the command. */
function splitLine(raw: string, content: string, line: number): { name: string; value: string } {
  const equals = content.indexOf('=');
  if (equals === -1) {
    throw configError(
      content[0] === '[' ? 'the sections are [Interface] and [Peer]' : 'a line must be KEY = VALUE',
      line,
    );
  }
  const name = content.slice(0, equals).replace(/[\t-\r ]/g, '');
  const whole = HOOKS.test(lowerCase(name)) ? raw.slice(raw.indexOf('=') + 1) : content.slice(equals + 1);
  return { name, value: trim(whole) };
}

function readField<T>(
  fields: ReadonlyMap<string, Field<T>>,
  into: T,
  name: string,
  value: string,
  line: number,
): void {
  const field = fields.get(lowerCase(name));
  if (field === undefined) throw unknownKey(name, value, line);
  if (!field.read(into, value)) throw configError(`${field.name} must be ${field.expects}`, line);
}

function unknownKey(name: string, value: string, line: number): ConfigError {
  const key = lowerCase(name);
  const other = INTERFACE.has(key) ? '[Interface]' : PEER.has(key) ? '[Peer]' : undefined;
  const known = INTERFACE.get(key)?.name ?? PEER.get(key)?.name;
  if (other) return configError(`${known} belongs into the section ${other}`, line);
  // A key alone on its line ends in '=', so what is before it may be a secret.
  const harmless = /^[A-Za-z]{1,20}$/.test(name) && value !== '' && value !== '=';
  return configError(harmless ? `there is no key ${name} in this section` : 'there is no such key', line);
}

/** As `wg setconf` does: a later section replaces the allowed IPs, unless it has signs, and adds what else it names. */
function mergePeer(earlier: ParsedPeer | undefined, draft: DraftPeer, publicKey: string): ParsedPeer {
  const adds = draft.allowedIps.some(({ sign }) => sign !== '');
  const networks = new Set(adds ? earlier?.allowedIps : []);
  for (const { prefix, sign } of draft.allowedIps) {
    if (sign === '-') networks.delete(prefix);
    else networks.add(prefix);
  }
  return { ...earlier, ...draft, publicKey, allowedIps: [...networks] };
}

/**
 * Writes a file of wg-quick(8), which {@link parseConfig} reads back and wg-quick takes.
 * @throws Error `ERR_WG_CONFIG` if a value is none that such a file can hold, TypeError `ERR_WG_KEY` if a key is none;
 * no message shows a value
 * @example
 * ```ts
 * await writeFile('wg0.conf', formatConfig({ ...config, listenPort: 51820 }), { mode: 0o600 });
 * ```
 */
export function formatConfig(config: WireGuardConfig): string {
  requireObject('config', config);
  const { peers = [], privateKey, ...rest } = config;
  const given = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
  const draft = { ...emptyConfig(), ...given, ...keyText('privateKey', privateKey) } as DraftConfig;
  const { saveConfig, ...withoutSave } = draft;
  const sections = [
    sectionText(
      'Interface',
      interfaceFields,
      saveConfig === false ? (withoutSave as DraftConfig) : draft,
      emptyConfig,
    ),
    ...asList(peers).map((peer) =>
      sectionText('Peer', peerFields, draftPeer(peer), () => ({ allowedIps: [] })),
    ),
  ];
  return sections.join('\n');
}

function asList<T>(value: readonly T[]): readonly T[] {
  if (!Array.isArray(value)) throw configError('peers must be an array');
  return value;
}

function draftPeer(peer: PeerOptions): DraftPeer {
  requireObject('peer', peer);
  const { publicKey, presharedKey, endpoint, allowedIps = [], persistentKeepalive } = peer;
  return {
    ...keyText('publicKey', publicKey ?? ''),
    ...keyText('presharedKey', presharedKey),
    ...(endpoint !== undefined && { endpoint }),
    allowedIps: asList(allowedIps).map((network) => {
      const parsed = typeof network === 'string' ? allowedIpValue(network) : undefined;
      if (parsed === undefined || parsed.sign !== '') throw configError('allowedIps must be networks');
      return parsed;
    }),
    ...(persistentKeepalive !== undefined && { persistentKeepalive }),
  };
}

function keyText<N extends string>(name: N, key: Key | undefined): { [K in N]?: string } {
  if (key === undefined) return {};
  const bytes = parseKey(name, key);
  const text = bytes.toString('base64');
  bytes.fill(0);
  return { [name]: text } as { [K in N]?: string };
}

/** Reads each line back, so that no value can be wrong, or be more than one line. */
function sectionText<T>(header: string, fields: readonly Field<T>[], from: T, empty: () => T): string {
  const lines = fields.flatMap((field) => {
    let values: readonly string[];
    try {
      values = field.write(from);
      if (!Array.isArray(values)) throw new TypeError();
    } catch {
      throw configError(`${field.name} must be ${field.expects}`);
    }
    return values.map((value) => {
      const text = trim(String(value));
      if (/[\n\0]/.test(text) || !field.read(empty(), text)) {
        throw configError(`${field.name} must be ${field.expects}`);
      }
      return `${field.name} = ${text}`;
    });
  });
  return `[${header}]\n${lines.map((line) => `${line}\n`).join('')}`;
}
