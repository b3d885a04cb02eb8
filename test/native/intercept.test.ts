/** The C++ of intercept(), which knows neither devices nor Node: its test programs. */

import assert from 'node:assert/strict';
import { nativePrograms } from './programs.ts';

// Where random cases begin: the seed that a failure prints.
const SEED = process.env.NAT_SEED ?? '1';

describe('datagrams of intercept() in C++', function () {
  this.timeout(180_000);
  const programs = nativePrograms([
    'batch/batch_view.cc',
    'intercept/datagrams.cc',
    'intercept/flow_table.cc',
    'intercept/ip_packet.cc',
    'intercept/reassembly.cc',
    'intercept/replies.cc',
    'intercept/rewrite.cc',
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

  it('finds nothing in the kept corpus of the fuzz target datagrams', () => programs.replay('datagrams'));
});

describe('connections of intercept() in C++', function () {
  this.timeout(180_000);
  const programs = nativePrograms([
    'batch/batch_view.cc',
    'intercept/ip_packet.cc',
    'intercept/keyed_hash.cc',
    'intercept/nat.cc',
    'intercept/nat_decisions.cc',
    'intercept/nat_errors.cc',
    'intercept/replies.cc',
    'intercept/rewrite.cc',
    'intercept/slot_table.cc',
    'offload/checksum.cc',
  ]);

  it('translates random packets with right checksums, ends connections in time, and survives garbage', async () => {
    assert.match(await programs.run(['test/native/nat.cc'], [SEED]), /passed/);
  });

  it('finds nothing in the kept corpus of the fuzz target nat', () => programs.replay('nat'));
});
