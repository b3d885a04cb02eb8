/** The C++ of the ciphers, which knows neither devices nor Node: its test program. */

import assert from 'node:assert/strict';
import { nativePrograms } from './programs.ts';

describe('AES-GCM by VAES in C++', function () {
  this.timeout(180_000);
  const programs = nativePrograms(['crypto/aes_gcm_vaes.cc', 'crypto/evp_cipher.cc']);

  it('makes and takes what OpenSSL does at each length, where the processor has the instructions', async () => {
    assert.match(await programs.run(['test/native/aes_gcm.cc']), /passed|this processor lacks/);
  });
});
