/**
 * The two handshake messages.
 *
 * | initiation, 72 bytes | | response, 60 bytes | |
 * |---|---|---|---|
 * | 0 | 1, and three zeros | 0 | 2, and three zeros |
 * | 4 | key id, 8 bytes | 4 | the initiator's session index |
 * | 12 | ephemeral key, 32 bytes | 8 | ephemeral key, 32 bytes |
 * | 44 | sealed: time in ms, 8 bytes; session index, 4 | 40 | sealed: the responder's session index |
 *
 * The response is the shorter one, so that a forged source address gains nobody anything.
 */

import { hkdfSync } from 'node:crypto';
import type { AeadCipher } from 'tuntap-native/tunnel';
import { KEY_LENGTH, type KeyPair, NoiseHandshake, TAG_LENGTH } from './noise.ts';

export const INITIATION = 1;
export const RESPONSE = 2;
export const KEY_ID_LENGTH = 8;
const PREFIX = 4;
const INITIATION_PAYLOAD = 12;
const RESPONSE_PAYLOAD = 4;
export const INITIATION_LENGTH = PREFIX + KEY_ID_LENGTH + KEY_LENGTH + INITIATION_PAYLOAD + TAG_LENGTH;
export const RESPONSE_LENGTH = PREFIX + 4 + KEY_LENGTH + RESPONSE_PAYLOAD + TAG_LENGTH;

/** What a handshake ends with. */
export interface SessionKeys {
  readonly sendKey: Buffer;
  readonly receiveKey: Buffer;
  /** The session's index at the other end. */
  readonly remoteIndex: number;
}

/** A handshake that waits for its response. */
export interface PendingHandshake {
  readonly index: number;
  readonly message: Buffer;
  /** The keys, or undefined where the response is not authentic. */
  complete(response: Uint8Array): SessionKeys | undefined;
}

/** An authentic initiation. */
export interface Initiation {
  /** When the initiator made it, in milliseconds since 1970 by its clock. */
  readonly timestamp: bigint;
  respond(index: number): { readonly message: Buffer; readonly keys: SessionKeys };
}

/** Names a key on the wire, so that the server finds it; tells nothing about it. */
export function keyId(psk: Uint8Array): bigint {
  const bytes = hkdfSync('sha256', psk, Buffer.alloc(0), 'tuntap-native example VPN, key id', KEY_ID_LENGTH);
  return Buffer.from(bytes).readBigUInt64BE();
}

// Both ends must speak the same version and encrypt with the same cipher.
const prologue = (cipher: AeadCipher): Buffer => Buffer.from(`tuntap-native example VPN 1, ${cipher}`);

export function initiate(
  psk: Uint8Array,
  cipher: AeadCipher,
  index: number,
  timestamp: bigint,
  ephemeral?: KeyPair,
): PendingHandshake {
  const noise = new NoiseHandshake(psk, prologue(cipher), ephemeral);
  const header = Buffer.alloc(PREFIX + KEY_ID_LENGTH);
  header[0] = INITIATION;
  header.writeBigUInt64BE(keyId(psk), PREFIX);
  const payload = Buffer.alloc(INITIATION_PAYLOAD);
  payload.writeBigUInt64BE(timestamp);
  payload.writeUInt32LE(index, 8);
  return {
    index,
    message: Buffer.concat([header, noise.writeFirst(payload)]),
    complete(response) {
      try {
        const remoteIndex = noise.readSecond(response.subarray(PREFIX + 4)).readUInt32LE();
        const [sendKey, receiveKey] = noise.split();
        return { sendKey, receiveKey, remoteIndex };
      } catch {
        return undefined;
      }
    },
  };
}

/** Which key an initiation of the right length says it was made with. */
export function initiationKeyId(message: Buffer): bigint {
  return message.readBigUInt64BE(PREFIX);
}

/** For whom a response of the right length is. */
export function responseIndex(message: Buffer): number {
  return message.readUInt32LE(PREFIX);
}

/** Returns undefined where the initiation is not authentic. Costs no X25519 until `respond`. */
export function readInitiation(
  message: Uint8Array,
  psk: Uint8Array,
  cipher: AeadCipher,
): Initiation | undefined {
  const noise = new NoiseHandshake(psk, prologue(cipher));
  let payload: Buffer;
  try {
    payload = noise.readFirst(message.subarray(PREFIX + KEY_ID_LENGTH));
  } catch {
    return undefined;
  }
  const remoteIndex = payload.readUInt32LE(8);
  return {
    timestamp: payload.readBigUInt64BE(),
    respond(index) {
      const header = Buffer.alloc(PREFIX + 4);
      header[0] = RESPONSE;
      header.writeUInt32LE(remoteIndex, PREFIX);
      const own = Buffer.alloc(RESPONSE_PAYLOAD);
      own.writeUInt32LE(index);
      const message = Buffer.concat([header, noise.writeSecond(own)]);
      const [receiveKey, sendKey] = noise.split();
      return { message, keys: { sendKey, receiveKey, remoteIndex } };
    },
  };
}
