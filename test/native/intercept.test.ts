/** The C++ of intercept(), which knows neither devices nor Node: its test programs. */

import assert from 'node:assert/strict';
import { nativePrograms } from './programs.ts';

describe('datagrams of intercept() in C++', function () {
  this.timeout(180_000);
  const programs = nativePrograms([
    'batch/batch_view.cc',
    'intercept/datagrams.cc',
    'intercept/flow_table.cc',
    'intercept/reassembly.cc',
    'offload/checksum.cc',
  ]);

  for (const [program, title] of [
    ['flow_table', 'keeps a flow for each source, and lets the longest idle go'],
    ['datagrams', 'takes payloads out of packets and makes packets of them, and refuses what lies'],
    ['reassembly', 'puts fragments together in any order, and drops packets whose fragments overlap'],
  ] as const) {
    it(title, async () => {
      assert.match(await programs.run([`test/native/${program}.cc`]), /passed/);
    });
  }
});
