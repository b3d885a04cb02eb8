import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { inNamespace, needs, run } from '../support.ts';

const ABUSE = fileURLToPath(new URL('../../bench/abuse.js', import.meta.url));

describe('the example VPN, abused', function () {
  this.timeout(60_000);

  before(function () {
    needs(this);
  });

  it('comes back from corruption, replays, lost links and a killed server, and delivers nothing forged', () =>
    inNamespace(async (namespace) => {
      const options = ['--seconds=1', '--rate=5000'];
      const { status, stdout, stderr } = await run(namespace, process.execPath, ABUSE, ...options);
      assert.equal(status, 0, stdout + stderr);
      assert.match(stdout, /the client’s link was down: back/);
      assert.match(stdout, /the server’s link was down: back/);
      assert.match(stdout, /the server was killed and started again: back/);
      assert.match(stdout, /"corrupted":[1-9]\d*,"truncated":[1-9]\d*,"replayed":[1-9]\d*,"oversized":[1-9]/);
    }));
});
