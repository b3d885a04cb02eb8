/** Fake addresses for names, so that a connection tells which name it was opened for. */

import { isIP, parseIpv4, parseIpv6 } from '../address.js';
import {
  DNS_CODES,
  DNS_TYPES,
  type DnsQuestion,
  decodeQuestion,
  encodeAnswer,
  encodeName,
} from '../net/namespace/dns-message.js';

/** RFC 2544 section C.2.2: for tests between hosts of one network, so nothing on the Internet has one. */
const IPV4_NETWORK = parseIpv4('198.18.0.0');
/** A unique local network, RFC 4193: `fd`, then `tntname` in ASCII. */
const IPV6_NETWORK = parseIpv6('fd74:6e74:6e61:6d65::');
const IPV6_PREFIX_BYTES = 8;
/** Addresses of 198.18.0.0/15, but for the first and the last one. */
const MAX_NAMES = 2 ** 17 - 2;
/** Clients may keep an answer for longer than its TTL says. */
const KEEP_MS = 300_000;
/** A client that asks for names alone, such as one that tries them all, must not leave others without. */
const KEEP_UNUSED_MS = 30_000;
const TTL_S = 1;

const { NO_ERROR, SERVER_FAILURE, FORMAT_ERROR, NO_NAME, REFUSED } = DNS_CODES;

interface FakeName {
  readonly name: string;
  readonly number: number;
  /** When it was asked for or used, by the clock. */
  used: number;
  /** Connections to it. */
  holds: number;
}

/** Answers questions for addresses with fake ones, and tells the names of these. */
export class FakeNames {
  // The ones that were only asked for, and the others. The one that was not used for longest is first.
  readonly #asked = new Map<string, FakeName>();
  readonly #reached = new Map<string, FakeName>();
  readonly #byNumber: (FakeName | undefined)[] = [];
  readonly #capacity: number;
  readonly #now: () => number;
  // An address of another run of the program is then most likely unknown.
  readonly #offset: number;

  /** @param now a clock that never goes back, in milliseconds */
  constructor(capacity: number = MAX_NAMES, now: () => number = performance.now.bind(performance)) {
    this.#capacity = capacity;
    this.#now = now;
    this.#offset = crypto.getRandomValues(new Uint32Array(1))[0] % capacity;
  }

  /** The answer to a query, or undefined if the bytes are none. */
  answer(query: Buffer): Buffer | undefined {
    const question = decodeQuestion(query);
    if (question === undefined) return undefined;
    if (!question.isQuery) return encodeAnswer(query, question, FORMAT_ERROR, TTL_S);
    if (!question.isInternet) return encodeAnswer(query, question, REFUSED, TTL_S);
    const [code, data] = this.#lookUp(question);
    return encodeAnswer(query, question, code, TTL_S, data);
  }

  /** Whether an address is of the networks that fake ones are taken from. */
  isFake(address: string): boolean {
    return numberOf(address) !== undefined;
  }

  /** The name that a fake address was given to; undefined for any other address. */
  nameOf(address: string): string | undefined {
    const found = this.#find(address);
    if (found) this.#use(found, this.#reached);
    return found?.name;
  }

  /** Whether a client has asked for a name, as long as it has an address. */
  has(name: string): boolean {
    return this.#get(name.toLowerCase()) !== undefined;
  }

  /** Lets the name of an address keep it until {@link release}. */
  hold(address: string): void {
    const found = this.#find(address);
    if (found === undefined) return;
    found.holds++;
    this.#use(found, this.#reached);
  }

  /** Undoes one {@link hold}. */
  release(address: string): void {
    const found = this.#find(address);
    if (!found) return;
    found.holds--;
    this.#use(found);
  }

  #lookUp({ name, type }: DnsQuestion): readonly [code: number, data?: Uint8Array] {
    if (name.endsWith('.arpa')) return this.#lookUpPointer(name, type);
    if (!isHostName(name)) return [name === '' ? NO_ERROR : NO_NAME];
    // Other records, such as those of the types HTTPS and MX, could lead past the fake address.
    if (type !== DNS_TYPES.A && type !== DNS_TYPES.AAAA) return [NO_ERROR];
    const fake = this.#get(name) ?? this.#add(name);
    if (fake === undefined) return [SERVER_FAILURE];
    this.#use(fake);
    return [NO_ERROR, addressOf(fake.number, type)];
  }

  #lookUpPointer(name: string, type: number): readonly [code: number, data?: Uint8Array] {
    const address = reversed(name);
    const fake = address === undefined ? undefined : this.#find(address);
    if (fake === undefined) return [NO_NAME];
    return type === DNS_TYPES.PTR ? [NO_ERROR, encodeName(fake.name)] : [NO_ERROR];
  }

  #find(address: string): FakeName | undefined {
    const number = numberOf(address);
    return number === undefined ? undefined : this.#byNumber[number];
  }

  #get(name: string): FakeName | undefined {
    return this.#asked.get(name) ?? this.#reached.get(name);
  }

  #use(fake: FakeName, among = this.#asked.has(fake.name) ? this.#asked : this.#reached): void {
    fake.used = this.#now();
    this.#delete(fake.name);
    among.set(fake.name, fake);
  }

  #delete(name: string): void {
    this.#asked.delete(name);
    this.#reached.delete(name);
  }

  #add(name: string): FakeName | undefined {
    const size = this.#asked.size + this.#reached.size;
    const number = size < this.#capacity ? 1 + ((this.#offset + size) % this.#capacity) : this.#takeNumber();
    if (number === undefined) return undefined;
    const fake = { name, number, used: 0, holds: 0 };
    this.#byNumber[number] = fake;
    this.#asked.set(name, fake);
    return fake;
  }

  #takeNumber(): number | undefined {
    return this.#oldest(this.#asked, KEEP_UNUSED_MS) ?? this.#oldest(this.#reached, KEEP_MS);
  }

  /** Takes the address of the name that was not used for longest, if that is long enough. */
  #oldest(names: ReadonlyMap<string, FakeName>, keep: number): number | undefined {
    const now = this.#now();
    for (const fake of names.values()) {
      if (fake.holds > 0) {
        this.#use(fake);
        continue;
      }
      if (now - fake.used < keep) return undefined;
      this.#delete(fake.name);
      return fake.number;
    }
    return undefined;
  }
}

/**
 * Whether it can be the name of another host: letters, digits, `-`, and `_`, which some have. Anything else could be taken for
 * an address, such as `fe80::1%eth0`. A name whose last label is a number is an IPv4 address to many programs, also in
 * hexadecimal and octal digits and with fewer than four labels; `localhost` is everybody's own (RFC 6761).
 */
function isHostName(name: string): boolean {
  return /^[\w-]+(\.[\w-]+)*$/.test(name) && !/(^|\.)(localhost|[0-9]+|0x[0-9a-f]*)$/i.test(name);
}

function addressOf(number: number, type: number): Uint8Array {
  const bytes = Buffer.from(type === DNS_TYPES.A ? IPV4_NETWORK : IPV6_NETWORK);
  const at = bytes.length - 4;
  bytes.writeUInt32BE(bytes.readUInt32BE(at) + number, at);
  return bytes;
}

/** Which fake address it is, or undefined if it is of none of their networks. */
function numberOf(address: string): number | undefined {
  const family = isIP(address);
  if (family === 4) {
    const number = parseIpv4(address).readUInt32BE() - IPV4_NETWORK.readUInt32BE();
    return number >= 0 && number < 2 ** 17 ? number : undefined;
  }
  if (family !== 6) return undefined;
  const bytes = parseIpv6(address.split('%')[0]);
  const inside = bytes.subarray(0, IPV6_PREFIX_BYTES).equals(IPV6_NETWORK.subarray(0, IPV6_PREFIX_BYTES));
  if (!inside) return undefined;
  const number = Number(bytes.readBigUInt64BE(8));
  return number < 2 ** 17 ? number : -1;
}

/** The address that a name of a PTR record stands for, RFC 1035 section 3.5 and RFC 3596 section 2.5. */
function reversed(name: string): string | undefined {
  const labels = name.split('.').reverse();
  if (labels[1] === 'in-addr' && labels.length === 6) {
    const address = labels.slice(2).join('.');
    return isIP(address) === 4 ? address : undefined;
  }
  const nibbles = labels.slice(2);
  const isIpv6 =
    labels[1] === 'ip6' && nibbles.length === 32 && nibbles.every((nibble) => /^[0-9a-f]$/.test(nibble));
  return isIpv6 ? nibbles.join('').replace(/(.{4})(?!$)/g, '$1:') : undefined;
}
