import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { inNamespace, needs, runFor } from '../support.ts';

const ABUSE = fileURLToPath(new URL('../../bench/abuse.js', import.meta.url));

describe('a tunnel, abused', function () {
  this.timeout(120_000);

  before(function () {
    needs(this);
  });

  it('comes back from bad and hostile networks and from a killed server, and delivers nothing forged', () =>
    inNamespace(async (namespace) => {
      const options = ['--seconds=1', '--rate=3000', '--only=link,killed,initiations-forged,data-replayed'];
      const { status, stdout, stderr } = await runFor(
        100_000,
        namespace,
        process.execPath,
        ABUSE,
        ...options,
      );
      assert.equal(status, 0, stdout + stderr);
      for (const fault of [
        /the client’s link was down: back/,
        /the server’s link was down: back/,
        /the server was killed and started again: back/,
        /flooded with initiations-forged: back/,
        /flooded with data-replayed: back/,
      ]) {
        assert.match(stdout, fault);
      }
      assert.match(stdout, /"lost":[1-9].*"delayed":[1-9].*"doubled":[1-9].*"corrupted":[1-9]/);
    }));
});
