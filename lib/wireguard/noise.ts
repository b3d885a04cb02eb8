/**
 * The handshake, Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s: an initiation, a response, and both have the keys of a session.
 * The functions keep nothing; the caller adds the MACs and decides which message counts.
 * @see https://www.wireguard.com/papers/wireguard.pdf section 5.4
 */

import {
  adoptPrivateKey,
  KEY_LENGTH,
  type PrivateKey,
  secretBuffer,
  sharedSecret,
  TAG_LENGTH,
} from './crypto.js';
import {
  INITIATION,
  INITIATION_LENGTH,
  MessageType,
  RESPONSE,
  RESPONSE_LENGTH,
  readUInt32,
} from './messages.js';
import { SymmetricState } from './symmetric-state.js';

const TIMESTAMP_LENGTH = 12;

/** The other side of handshakes, as it is known beforehand. */
export class Remote {
  /** The public key: 32 bytes. */
  readonly key = Buffer.alloc(KEY_LENGTH); // Buffer.from() would keep 8 KB of Node.js' pool in use
  readonly #presharedKey = secretBuffer();
  #staticSecret: Buffer | undefined;

  constructor(publicKey: Uint8Array) {
    this.key.set(publicKey);
  }

  /** 32 bytes, zeros where there is none. */
  get presharedKey(): Buffer {
    return this.#presharedKey;
  }

  /** The shared secret of both static keys; undefined without a private key here, or if theirs is of low order. */
  get staticSecret(): Buffer | undefined {
    return this.#staticSecret;
  }

  /** Computes the shared secret for a private key. */
  meet(identity: PrivateKey | undefined): void {
    this.#staticSecret?.fill(0);
    this.#staticSecret = identity && sharedSecret(identity, this.key);
  }

  /** Wipes the secrets. */
  wipe(): void {
    this.meet(undefined);
    this.#presharedKey.fill(0);
  }
}

/** What the initiator keeps until the response comes. */
export interface PendingHandshake {
  readonly ephemeral: PrivateKey;
  readonly state: SymmetricState;
}

/** Wipes what is pending. */
export function wipePending({ ephemeral, state }: PendingHandshake): void {
  ephemeral.bytes.fill(0);
  state.wipe();
}

/** An initiation that was authentic. */
export interface ReceivedInitiation {
  readonly remote: Remote;
  /** The initiator's time, as TAI64N. */
  readonly timestamp: Buffer;
  /** The index that the initiator chose. */
  readonly sender: number;
  readonly ephemeral: Uint8Array;
  readonly state: SymmetricState;
}

/** The keys of a session. The caller wipes them. */
export interface SessionKeys {
  readonly sending: Buffer;
  readonly receiving: Buffer;
}

/**
 * Makes an initiation, still without MACs.
 * @param sender this side's index
 * @param ephemeral 32 random bytes, which become the key that is pending
 * @returns undefined if the remote has a public key of low order; the caller then wipes `ephemeral`
 */
export function createInitiation(
  identity: PrivateKey,
  remote: Remote,
  sender: number,
  timestamp: Buffer,
  ephemeral: Buffer,
): { readonly message: Buffer; readonly pending: PendingHandshake } | undefined {
  const { staticSecret } = remote;
  const key = adoptPrivateKey(ephemeral);
  const message = Buffer.alloc(INITIATION_LENGTH);
  message[0] = MessageType.initiation;
  message.writeUInt32LE(sender, INITIATION.sender);
  message.set(key.publicKey, INITIATION.ephemeral);
  const state = SymmetricState.begin(remote.key);
  return state.wipedUnless(() => {
    state.mixEphemeral(key.publicKey);
    if (!staticSecret || !state.mixSharedSecret(key, remote.key)) return undefined;
    message.set(state.encryptAndHash(identity.publicKey), INITIATION.static);
    state.mixKey(staticSecret);
    message.set(state.encryptAndHash(timestamp), INITIATION.timestamp);
    return { message, pending: { ephemeral: key, state } };
  });
}

/**
 * Reads an initiation of 148 bytes whose mac1 is right.
 * @param find tells whom a public key belongs to
 * @returns undefined if it is from a stranger, or forged
 */
export function readInitiation(
  identity: PrivateKey,
  message: Uint8Array,
  find: (publicKey: Buffer) => Remote | undefined,
): ReceivedInitiation | undefined {
  const ephemeral = Buffer.from(field(message, INITIATION.ephemeral, KEY_LENGTH));
  const state = SymmetricState.begin(identity.publicKey);
  return state.wipedUnless(() => {
    state.mixEphemeral(ephemeral);
    if (!state.mixSharedSecret(identity, ephemeral)) return undefined;
    const publicKey = state.decryptAndHash(field(message, INITIATION.static, KEY_LENGTH + TAG_LENGTH));
    const remote = publicKey && find(publicKey);
    if (!remote?.staticSecret) return undefined;
    state.mixKey(remote.staticSecret);
    const sealed = field(message, INITIATION.timestamp, TIMESTAMP_LENGTH + TAG_LENGTH);
    const timestamp = state.decryptAndHash(sealed);
    if (!timestamp) return undefined;
    return { remote, timestamp, sender: readUInt32(message, INITIATION.sender), ephemeral, state };
  });
}

/**
 * Answers an initiation, with a response that is still without MACs, and wipes what was kept of it.
 * @param sender this side's index
 * @param ephemeral 32 random bytes, which are wiped
 * @returns undefined if the initiation's ephemeral key, or the remote's key, is of low order
 */
export function createResponse(
  initiation: ReceivedInitiation,
  sender: number,
  ephemeral: Buffer,
): { readonly message: Buffer; readonly keys: SessionKeys } | undefined {
  const { remote, state } = initiation;
  try {
    const key = adoptPrivateKey(ephemeral);
    const message = Buffer.alloc(RESPONSE_LENGTH);
    message[0] = MessageType.response;
    message.writeUInt32LE(sender, RESPONSE.sender);
    message.writeUInt32LE(initiation.sender, RESPONSE.receiver);
    message.set(key.publicKey, RESPONSE.ephemeral);
    state.mixEphemeral(key.publicKey);
    const mixed = state.mixSharedSecret(key, initiation.ephemeral) && state.mixSharedSecret(key, remote.key);
    if (!mixed) return undefined;
    state.mixKeyAndHash(remote.presharedKey);
    message.set(state.encryptAndHash(), RESPONSE.empty);
    const [receiving, sending] = state.split();
    return { message, keys: { sending, receiving } };
  } finally {
    state.wipe();
    ephemeral.fill(0);
  }
}

/**
 * Reads a response of 92 bytes whose mac1 is right.
 * @returns undefined if it is forged, or the preshared keys differ; what is pending then stays as it is, for the
 * genuine response. Otherwise the caller wipes it.
 */
export function readResponse(
  identity: PrivateKey,
  remote: Remote,
  pending: PendingHandshake,
  message: Uint8Array,
): { readonly sender: number; readonly keys: SessionKeys } | undefined {
  const ephemeral = field(message, RESPONSE.ephemeral, KEY_LENGTH);
  const state = pending.state.copy();
  try {
    state.mixEphemeral(ephemeral);
    const mixed =
      state.mixSharedSecret(pending.ephemeral, ephemeral) && state.mixSharedSecret(identity, ephemeral);
    if (!mixed) return undefined;
    state.mixKeyAndHash(remote.presharedKey);
    if (!state.decryptAndHash(field(message, RESPONSE.empty, TAG_LENGTH))) return undefined;
    const [sending, receiving] = state.split();
    return { sender: readUInt32(message, RESPONSE.sender), keys: { sending, receiving } };
  } finally {
    state.wipe();
  }
}

function field(message: Uint8Array, offset: number, length: number): Uint8Array {
  return message.subarray(offset, offset + length);
}
