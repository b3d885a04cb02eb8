/** Names of hosts, looked up in a namespace: by its hosts file, and by the name servers that it reaches. */

import { readFileSync } from 'node:fs';
import { isIP } from '../../address.js';
import { abortError, codedError, invalidArgType, invalidArgValue } from '../../arguments.js';
import { Endpoint } from '../../endpoint.js';
import { type AddressType, type DnsAnswer, decodeAnswer, dnsName, encodeQuestion } from './dns-message.js';
import { bindDatagrams, dial } from './sockets.js';

/** An address of a host. */
export interface ResolvedAddress {
  /** The address as text. */
  readonly address: string;
  /** 4 or 6. */
  readonly family: 4 | 6;
}

/** Options of {@link NetworkNamespace.resolve}. */
export interface ResolveOptions {
  /** 4 or 6: addresses of that family alone. */
  readonly family?: 0 | 4 | 6;
  /** Addresses of name servers, instead of those of resolv.conf. */
  readonly servers?: readonly string[];
  /** Ends the attempt with an AbortError. */
  readonly signal?: AbortSignal;
}

/** What resolv.conf(5) says. */
interface Configuration {
  readonly servers: readonly string[];
  readonly search: readonly string[];
  readonly ndots: number;
  readonly timeout: number;
  readonly attempts: number;
}

const PORT = 53;
const FAMILIES = { A: 4, AAAA: 6 } as const;
const NO_SUCH_NAME = 3;
// Deno adopts none: there, all questions go by TCP.
const ADOPTS_DATAGRAMS = process.versions.deno === undefined;

/** Addresses of a host, those of IPv6 and IPv4 in turn. Throws an Error with the code of node:dns. */
export async function resolveIn(
  namespace: { readonly fd: number; readonly name: string | undefined },
  host: string,
  { family = 0, servers, signal }: ResolveOptions,
): Promise<readonly ResolvedAddress[]> {
  if (typeof host !== 'string') throw invalidArgType('host', 'a string', host);
  if (![0, 4, 6].includes(family)) throw invalidArgValue('options.family', family, 'must be 0, 4 or 6');
  if (servers !== undefined && !Array.isArray(servers)) {
    throw invalidArgType('options.servers', 'an array of addresses', servers);
  }
  const remotes = servers?.map((server) => new Endpoint(server, PORT));
  const literal = isIP(host.split('%')[0]);
  if (literal !== 0) return matching([host], family, host);
  const name = dnsName(host);
  if (name === 'localhost' || name.endsWith('.localhost'))
    return matching(['::1', '127.0.0.1'], family, host);
  const listed = inHosts(readEtc(namespace.name, 'hosts'), name);
  if (listed.length > 0) return matching(listed, family, host);
  const configuration = parseResolvConf(readEtc(namespace.name, 'resolv.conf'));
  const asked = remotes ?? configuration.servers.map((server) => new Endpoint(server, PORT));
  const types: AddressType[] = family === 4 ? ['A'] : family === 6 ? ['AAAA'] : ['AAAA', 'A'];
  let failure: Error | undefined;
  for (const candidate of candidates(name, host.endsWith('.'), configuration)) {
    const answers = await Promise.allSettled(
      types.map((type) => ask(namespace.fd, asked, configuration, candidate, type, signal)),
    );
    const found = answers.map((answer) => (answer.status === 'fulfilled' ? answer.value : []));
    if (found.some((addresses) => addresses.length > 0)) return alternating(found);
    failure ??= answers.find((answer) => answer.status === 'rejected')?.reason as Error | undefined;
  }
  throw failure ?? dnsError('ENOTFOUND', host);
}

/** The names to ask for, as resolv.conf's `search` and `ndots` say. */
function candidates(name: string, absolute: boolean, { search, ndots }: Configuration): readonly string[] {
  const searched = absolute ? [] : search.map((domain) => `${name}.${domain}`);
  return name.split('.').length > ndots ? [name, ...searched] : [...searched, name];
}

/** Asks one server after the other until one answers. */
async function ask(
  namespace: number,
  servers: readonly Endpoint[],
  { timeout, attempts }: Configuration,
  name: string,
  type: AddressType,
  signal: AbortSignal | undefined,
): Promise<readonly string[]> {
  let failure = dnsError('ECONNREFUSED', name);
  for (let attempt = 0; attempt < attempts; attempt++) {
    for (const server of servers) {
      const question = encodeQuestion(crypto.getRandomValues(new Uint16Array(1))[0], name, type);
      const limit = AbortSignal.timeout(1000 * timeout);
      const both = signal ? AbortSignal.any([signal, limit]) : limit;
      try {
        let answer = ADOPTS_DATAGRAMS && (await exchange(namespace, server, question, type, both));
        if (!answer || answer.truncated)
          answer = await exchangeByTcp(namespace, server, question, type, both);
        if (answer.code === 0 || answer.code === NO_SUCH_NAME) return answer.addresses;
        failure = dnsError('ESERVFAIL', name);
      } catch (error) {
        if (signal?.aborted) throw abortError(signal);
        failure = limit.aborted ? dnsError('ETIMEOUT', name) : (error as Error);
      }
    }
  }
  throw failure;
}

/** Asks by UDP. Datagrams that are no answer are passed over. */
async function exchange(
  namespace: number,
  server: Endpoint,
  question: Buffer,
  type: AddressType,
  signal: AbortSignal,
): Promise<DnsAnswer> {
  const any = new Endpoint(server.family === 4 ? '0.0.0.0' : '::', 0);
  const socket = await bindDatagrams(namespace, any, {});
  try {
    return await new Promise<DnsAnswer>((resolve, reject) => {
      socket.on('error', reject);
      socket.on('message', (bytes) => {
        const answer = decodeAnswer(bytes, question, type);
        if (answer) resolve(answer);
      });
      if (signal.aborted) reject(signal.reason);
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      // Connected, so that the kernel takes nobody else's answer and tells of a closed port.
      // An error of this call is the callback's, and no event.
      const connected = (error?: Error | null) => (error ? reject(error) : socket.send(question));
      socket.connect(server.port, server.address, connected as () => void);
    });
  } finally {
    socket.close();
  }
}

/** Asks by TCP, whose answers have a length of 16 bits before them. */
async function exchangeByTcp(
  namespace: number,
  server: Endpoint,
  question: Buffer,
  type: AddressType,
  signal: AbortSignal,
): Promise<DnsAnswer> {
  const socket = await dial(namespace, server, { signal });
  try {
    const chunks: Buffer[] = [];
    const length = Buffer.alloc(2);
    length.writeUInt16BE(question.length);
    return await new Promise<DnsAnswer>((resolve, reject) => {
      socket.on('error', reject);
      socket.on('close', () => reject(dnsError('ECONNREFUSED', server.address)));
      socket.on('data', (chunk) => {
        chunks.push(chunk);
        const all = Buffer.concat(chunks);
        if (all.length < 2 || all.length < 2 + all.readUInt16BE(0)) return;
        const answer = decodeAnswer(all.subarray(2, 2 + all.readUInt16BE(0)), question, type);
        if (answer) resolve(answer);
        else reject(dnsError('EBADRESP', server.address));
      });
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      socket.write(Buffer.concat([length, question]));
    });
  } finally {
    socket.destroy();
  }
}

function alternating(lists: readonly (readonly string[])[]): readonly ResolvedAddress[] {
  const length = Math.max(...lists.map((list) => list.length));
  const addresses = Array.from({ length }, (_, i) => lists.flatMap((list) => list.slice(i, i + 1))).flat();
  return addresses.map(withFamily);
}

function matching(addresses: readonly string[], family: 0 | 4 | 6, host: string): readonly ResolvedAddress[] {
  const found = addresses.map(withFamily).filter((found) => family === 0 || found.family === family);
  if (found.length === 0) throw dnsError('ENOTFOUND', host);
  return found;
}

function withFamily(address: string): ResolvedAddress {
  return { address, family: address.includes(':') ? FAMILIES.AAAA : FAMILIES.A };
}

/** A file of a named namespace under /etc/netns, as commands inside see it, or else the machine's. Empty without one. */
function readEtc(name: string | undefined, file: string): string {
  for (const path of [...(name === undefined ? [] : [`/etc/netns/${name}/${file}`]), `/etc/${file}`]) {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      // The next one.
    }
  }
  return '';
}

function* fieldsOf(text: string): Generator<string[]> {
  for (const line of text.split('\n')) {
    const fields = line
      .replace(/[#;].*/, '')
      .trim()
      .split(/\s+/);
    if (fields.length > 1) yield fields;
  }
}

function inHosts(text: string, name: string): string[] {
  const found: string[] = [];
  for (const [address, ...names] of fieldsOf(text)) {
    if (isIP(address) !== 0 && names.some((other) => other.toLowerCase() === name)) found.push(address);
  }
  return found;
}

function parseResolvConf(text: string): Configuration {
  const servers: string[] = [];
  let search: readonly string[] = [];
  const numbers = { ndots: 1, timeout: 5, attempts: 2 };
  for (const [keyword, ...values] of fieldsOf(text)) {
    // A zone by the link's name is passed over: an Endpoint takes an index.
    if (keyword === 'nameserver' && isIP(values[0]) !== 0 && !/%\D/.test(values[0])) servers.push(values[0]);
    else if (keyword === 'search' || keyword === 'domain')
      search = values.map((domain) => domain.toLowerCase());
    else if (keyword === 'options') {
      for (const option of values) {
        const [, which, value] = /^(ndots|timeout|attempts):(\d{1,2})$/.exec(option) ?? [];
        if (which !== undefined) numbers[which as keyof typeof numbers] = Number(value);
      }
    }
  }
  return { servers: servers.length > 0 ? servers.slice(0, 3) : ['127.0.0.1'], search, ...numbers };
}

function dnsError(code: string, hostname: string): Error {
  return codedError(code, `resolve ${code} ${hostname}`, { syscall: 'resolve', hostname });
}
