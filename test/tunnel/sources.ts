/** The sources that ciphers may come from, and how a test takes one of them. */

import { Aead } from 'tuntap-native/tunnel';

/** Values of TUNTAP_CIPHERS; AES-GCM needs a processor's instructions for it. */
const ALL = ['openssl', 'bundled-vaes', 'bundled-avx2', 'bundled-sse2', 'bundled-neon_aes', 'bundled-neon'];
export const hasAes = (source: string): boolean => !['bundled-sse2', 'bundled-neon'].includes(source);

const given = process.env.TUNTAP_CIPHERS;
const restore = (): void => {
  if (given === undefined) delete process.env.TUNTAP_CIPHERS;
  else process.env.TUNTAP_CIPHERS = given;
};

function works(source: string): boolean {
  process.env.TUNTAP_CIPHERS = source;
  try {
    using aead = new Aead('chacha20-poly1305', new Uint8Array(32));
    return source.startsWith(aead.source);
  } catch {
    return false;
  } finally {
    restore();
  }
}

function sources(): string[] {
  if (given !== undefined) return [given];
  // Bun keeps an environment of its own: native code does not see what is set there.
  const isSeen = !works('bundled-none');
  return isSeen ? ALL.filter(works) : ['bundled'];
}

/** Those that this process has, or the one that TUNTAP_CIPHERS names. A build from source has OpenSSL's alone. */
export const SOURCES = sources();

/** Takes one source for all tests of a suite, and for the child processes that they start. */
export function use(source: string): void {
  before(() => {
    process.env.TUNTAP_CIPHERS = source;
  });
  after(restore);
}
