/** Questions for addresses and their answers, RFC 1035. What an answer says is checked; a wrong one is no answer. */

import { domainToASCII } from 'node:url';
import { formatIpv4, formatIpv6 } from '../../address.js';
import { invalidArgType, invalidArgValue } from '../../arguments.js';

/** The types of records that hold an address or a name. */
export const DNS_TYPES = { A: 1, CNAME: 5, PTR: 12, AAAA: 28 } as const;
export type AddressType = 'A' | 'AAAA';

/** What a server answers. */
export const DNS_CODES = { NO_ERROR: 0, FORMAT_ERROR: 1, SERVER_FAILURE: 2, NO_NAME: 3, REFUSED: 5 } as const;

const IN = 1;
const HEADER = 12;
const RESPONSE = 0x8000;
const OPCODE = 0x7800;
const RECURSION_AVAILABLE = 0x0080;
/** Where the name of the question is, as a pointer. */
const QUESTION_NAME = 0xc000 | HEADER;
const TRUNCATED = 0x0200;
const RECURSION_DESIRED = 0x0100;
/** A chain of more aliases is a loop, or an attack. */
const MAX_ALIASES = 16;

/** What a server answered. */
export interface DnsAnswer {
  /** 0: no error; 3: there is no such name; others: the server failed. */
  readonly code: number;
  /** The answer is longer than a datagram: ask by TCP. */
  readonly truncated: boolean;
  readonly addresses: readonly string[];
}

/** A name as DNS has it: ASCII, small letters, without the final dot. Throws TypeError if it can't be one. */
export function dnsName(name: string): string {
  if (typeof name !== 'string') throw invalidArgType('name', 'of type string', name);
  const ascii = domainToASCII(name.replace(/\.$/, '')).toLowerCase();
  if (ascii.length > 253 || !ascii.split('.').every((label) => /^[\x21-\x7e]{1,63}$/.test(label))) {
    throw invalidArgValue('name', name, 'must be a host name');
  }
  return ascii;
}

/** @param name as {@link dnsName} returns it */
export function encodeQuestion(id: number, name: string, type: AddressType): Buffer {
  const header = Buffer.alloc(HEADER);
  header.writeUInt16BE(id, 0);
  header.writeUInt16BE(RECURSION_DESIRED, 2);
  header.writeUInt16BE(1, 4);
  return Buffer.concat([header, encodeName(name), Buffer.of(0, DNS_TYPES[type], 0, IN)]);
}

/** A name in the form that messages have. */
export function encodeName(name: string): Buffer {
  const labels = name.split('.').map((label) => `${String.fromCharCode(label.length)}${label}`);
  return Buffer.from(`${labels.join('')}\0`, 'latin1');
}

/** What a client asks. */
export interface DnsQuestion {
  /** In small letters; empty for the root. */
  readonly name: string;
  /** 1 for A, and so on. */
  readonly type: number;
  /** Whether it is of the class IN. */
  readonly isInternet: boolean;
  /** Whether it is a plain query of one name. */
  readonly isQuery: boolean;
  /** Where the question ends in the message. */
  readonly end: number;
}

/** The question of a query, or undefined if the bytes are none. */
export function decodeQuestion(bytes: Buffer): DnsQuestion | undefined {
  if (bytes.length < HEADER || bytes.readUInt16BE(2) & RESPONSE) return undefined;
  const isQuery = (bytes.readUInt16BE(2) & OPCODE) === 0 && bytes.readUInt16BE(4) === 1;
  if (!isQuery) return { name: '', type: 0, isInternet: false, isQuery, end: HEADER };
  try {
    const { name, end } = readName(bytes, HEADER);
    // A name that is compressed, or has dots within a label, is not what it seems to be.
    const plain = name === '' ? Buffer.of(0) : encodeName(name);
    const asked = bytes.toString('latin1', HEADER, end).toLowerCase();
    if (name.length > 253 || asked !== plain.toString('latin1')) return undefined;
    const isInternet = bytes.readUInt16BE(end + 2) === IN;
    return { name, type: bytes.readUInt16BE(end), isInternet, isQuery, end: end + 4 };
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/**
 * The answer to a query.
 * @param data of one record of the type that was asked for; none if it is undefined
 */
export function encodeAnswer(
  query: Buffer,
  question: DnsQuestion,
  code: number,
  ttl: number,
  data?: Uint8Array,
): Buffer {
  const answer = Buffer.alloc(question.end + (data ? 12 + data.length : 0));
  query.copy(answer, 0, 0, question.end);
  const kept = query.readUInt16BE(2) & (OPCODE | RECURSION_DESIRED);
  answer.writeUInt16BE(RESPONSE | kept | RECURSION_AVAILABLE | code, 2);
  answer.writeUInt16BE(question.isQuery ? 1 : 0, 4);
  answer.fill(0, 6, HEADER);
  if (data === undefined) return answer;
  answer.writeUInt16BE(1, 6);
  let at = answer.writeUInt16BE(QUESTION_NAME, question.end);
  at = answer.writeUInt16BE(question.type, at);
  at = answer.writeUInt16BE(IN, at);
  at = answer.writeUInt32BE(ttl, at);
  answer.set(data, answer.writeUInt16BE(data.length, at));
  return answer;
}

/** The answer to a question, or undefined if the bytes are none. */
export function decodeAnswer(bytes: Buffer, question: Buffer, type: AddressType): DnsAnswer | undefined {
  const { length } = question;
  if (bytes.length < length || bytes.readUInt16BE(0) !== question.readUInt16BE(0)) return undefined;
  const flags = bytes.readUInt16BE(2);
  const asked = bytes.subarray(HEADER, length).toString('latin1').toLowerCase();
  const repeats =
    bytes.readUInt16BE(4) === 1 && asked === question.subarray(HEADER).toString('latin1').toLowerCase();
  if (!(flags & RESPONSE) || !repeats) return undefined;
  const code = flags & 0xf;
  if (flags & TRUNCATED) return { code, truncated: true, addresses: [] };
  try {
    return { code, truncated: false, addresses: addressesOf(bytes, length, type) };
  } catch (error) {
    if (error instanceof RangeError) return undefined; // a length in it is wrong
    throw error;
  }
}

/** The addresses of the name that was asked for, through its aliases. Throws RangeError for a malformed message. */
function addressesOf(bytes: Buffer, start: number, type: AddressType): string[] {
  const aliases = new Map<string, string>();
  const found: { readonly name: string; readonly address: string }[] = [];
  let at = start;
  for (let left = bytes.readUInt16BE(6); left > 0; left--) {
    const owner = readName(bytes, at);
    const kind = bytes.readUInt16BE(owner.end);
    const isInternet = bytes.readUInt16BE(owner.end + 2) === IN;
    const size = bytes.readUInt16BE(owner.end + 8);
    const data = owner.end + 10;
    at = data + size;
    if (at > bytes.length) throw new RangeError('a record is cut off');
    if (!isInternet) continue;
    if (kind === DNS_TYPES.CNAME) aliases.set(owner.name, readName(bytes, data).name);
    else if (kind === DNS_TYPES[type] && size === (type === 'A' ? 4 : 16)) {
      const address = type === 'A' ? formatIpv4(bytes, data) : formatIpv6(bytes, data);
      found.push({ name: owner.name, address });
    }
  }
  let name = readName(bytes, HEADER).name;
  for (let i = 0; i < MAX_ALIASES && aliases.has(name); i++) name = aliases.get(name) as string;
  return found.filter((record) => record.name === name).map(({ address }) => address);
}

/** A name, which may go on at an earlier place, and where it ends. */
function readName(bytes: Buffer, start: number): { readonly name: string; readonly end: number } {
  const labels: string[] = [];
  let at = start;
  let part = start;
  let end: number | undefined;
  for (;;) {
    const length = bytes.readUInt8(at);
    if (length >= 0xc0) {
      end ??= at + 2;
      const target = bytes.readUInt16BE(at) & 0x3fff;
      // Each part is before the one that leads to it, so there is no loop.
      if (target >= part) throw new RangeError('a name goes on at a later place');
      part = target;
      at = target;
    } else if (length > 63 || at + 1 + length > bytes.length) {
      throw new RangeError('a label is cut off');
    } else if (length === 0) {
      return { name: labels.join('.'), end: end ?? at + 1 };
    } else {
      labels.push(bytes.toString('latin1', at + 1, at + 1 + length).toLowerCase());
      at += 1 + length;
    }
  }
}
