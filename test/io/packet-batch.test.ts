import assert from 'node:assert/strict';
import { PacketBatch } from 'tuntap-native';
import { code } from '../support.ts';

describe('PacketBatch', () => {
  it('keeps packets with headroom and tailroom, and resizes within them', () => {
    const batch = new PacketBatch({ capacity: 2, headroom: 4, tailroom: 3 });
    assert.equal(batch.push(Buffer.from('abc')), true);
    assert.equal(batch.push(Buffer.from('defg')), true);
    assert.equal(batch.push(Buffer.from('x')), false);
    assert.deepEqual([...batch].map(String), ['abc', 'defg']);
    batch.resize(0, 4, 3);
    assert.equal(batch.at(0).length, 10);
    batch.at(0).fill('-');
    assert.equal(String(batch.at(1)), 'defg');
    assert.equal(
      code(() => batch.resize(0, 1, 0)),
      'ERR_OUT_OF_RANGE',
    );
    assert.equal(
      code(() => batch.resize(1, 0, 12)),
      'ERR_OUT_OF_RANGE',
    );
    batch.resize(1, -1, -1);
    assert.equal(String(batch.at(1)), 'ef');
    assert.equal(
      code(() => batch.resize(1, -3, 0)),
      'ERR_OUT_OF_RANGE',
    );
    batch.clear();
    assert.equal(batch.length, 0);
  });

  it('a dropped packet stays dropped when it is resized', () => {
    const batch = new PacketBatch({ headroom: 4, tailroom: 4 });
    batch.push(Buffer.from('abcd'));
    batch.drop(0);
    batch.resize(0, 4, 4);
    assert.equal(batch.lengthOf(0), 0);
    assert.equal(batch.isDropped(0), true);
    assert.equal(batch.at(0).length, 0);
  });

  it('holds empty packets, which are not dropped ones', () => {
    const batch = new PacketBatch({ headroom: 4, tailroom: 4 });
    assert.equal(batch.push(Buffer.alloc(0)), true);
    assert.deepEqual([batch.length, batch.lengthOf(0), batch.isDropped(0)], [1, 0, false]);
    assert.equal(batch.at(0).length, 0);
    batch.resize(0, 4, 4);
    assert.equal(batch.lengthOf(0), 8);
    batch.resize(0, -5, -3);
    assert.deepEqual([batch.lengthOf(0), batch.isDropped(0)], [0, false]);
  });

  it('refuses what is no packet, and places that it does not have', () => {
    const batch = new PacketBatch();
    assert.equal(
      code(() => batch.push(Buffer.alloc(65_544 + 100))),
      'ERR_OUT_OF_RANGE',
    );
    assert.equal(
      code(() => batch.push('abc' as unknown as Buffer)),
      'ERR_INVALID_ARG_TYPE',
    );
    for (const index of [-1, 0, 0.5, Number.NaN]) {
      assert.equal(
        code(() => batch.at(index)),
        'ERR_OUT_OF_RANGE',
      );
    }
  });
});
