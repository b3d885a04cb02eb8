/** The process that ends what `run` and `proxy` started, if they are killed. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { namespaceExecPath } from '#dist/native/addon.js';
import { inNamespace } from '../support.ts';

describe('the guard of run and proxy', () => {
  it('kills nothing in another namespace than it was told of', () =>
    inNamespace(async (namespace) => {
      const goesOn = namespace.spawn('cat', [], { stdio: ['pipe', 'ignore', 'inherit'] });
      for (const inode of ['', '0', 'garbage', '-1', '99999999999999999999']) {
        const guard = namespace.spawn(namespaceExecPath(), ['guard', inode], { stdio: 'ignore' });
        assert.deepEqual(await once(guard, 'close'), [126, null], inode);
      }
      const ended = once(goesOn, 'close');
      goesOn.stdin?.end();
      assert.deepEqual(await ended, [0, null]);
    }));
});
