import assert from 'node:assert/strict';
import { DatagramTable, Endpoint } from 'tuntap-native/tunnel';
import { code } from '../support.ts';

describe('Endpoint and DatagramTable', () => {
  it('keeps address, port and scope, and writes them canonically', () => {
    for (const [address, port, text] of [
      ['192.0.2.1', 8285, '192.0.2.1:8285'],
      ['2001:DB8::0:1', 65535, '[2001:db8::1]:65535'],
      ['fe80::1%3', 1, '[fe80::1%3]:1'],
      ['0.0.0.0', 0, '0.0.0.0:0'],
    ] as const) {
      const endpoint = new Endpoint(address, port);
      assert.equal(String(endpoint), text);
      assert.equal(endpoint.port, port);
      assert.equal(endpoint.family, address.includes(':') ? 6 : 4);
      assert.ok(endpoint.equals(new Endpoint(endpoint.address, port)));
    }
    const one = new Endpoint('fe80::1%3', 1);
    for (const [address, port] of [
      ['fe80::1%4', 1],
      ['fe80::1%3', 2],
      ['fe80::2%3', 1],
      ['192.0.2.1', 1],
    ] as const) {
      assert.equal(one.equals(new Endpoint(address, port)), false);
    }
  });

  it('refuses what is no address or port', () => {
    for (const [address, port, expected] of [
      ['', 1, 'ERR_INVALID_ARG_VALUE'],
      ['example.com', 1, 'ERR_INVALID_ARG_VALUE'],
      ['192.0.2.1%3', 1, 'ERR_INVALID_ARG_VALUE'],
      ['fe80::1%eth0', 1, 'ERR_INVALID_ARG_VALUE'],
      ['fe80::1%3%4', 1, 'ERR_INVALID_ARG_VALUE'],
      [7, 1, 'ERR_INVALID_ARG_TYPE'],
      ['192.0.2.1', -1, 'ERR_OUT_OF_RANGE'],
      ['192.0.2.1', 1.5, 'ERR_OUT_OF_RANGE'],
      ['192.0.2.1', '1', 'ERR_INVALID_ARG_TYPE'],
    ] as const) {
      assert.equal(
        code(() => new Endpoint(address as string, port as number)),
        expected,
      );
    }
  });

  it('has an entry of its own for each packet, readable as numbers and as text', () => {
    const table = new DatagramTable(3);
    const v4 = new Endpoint('192.0.2.1', 8285);
    const v6 = new Endpoint('2001:db8::1', 443);
    table.setRemote(0, v4);
    table.setRemote(1, v6);
    assert.deepEqual([table.family(0), table.family(1), table.family(2)], [4, 6, 0]);
    assert.deepEqual([table.port(0), table.addressWord(0)], [8285, 0xc0000201]);
    assert.deepEqual([table.port(1), table.addressWord(1), table.addressWord(1, 3)], [443, 0x20010db8, 1]);
    assert.equal(table.remote(2), undefined);
    assert.ok(table.isRemote(0, v4) && !table.isRemote(1, v4));
    assert.ok(table.remote(1)?.equals(v6));
    assert.equal(table.tos(0), -1);
    table.setTos(0, 3);
    table.setLocalAddress(0, '2001:db8::9');
    table.setInterfaceIndex(0, 77);
    assert.equal(table.localPort(0), 0);
    table.setLocalPort(0, 65_535);
    table.copy(2, table, 0);
    assert.ok(table.sameRemote(0, 2) && !table.sameRemote(0, 1));
    assert.deepEqual(
      [table.tos(2), table.localAddress(2), table.interfaceIndex(2), table.truncated(2)],
      [3, '2001:db8::9', 77, false],
    );
    assert.equal(table.localPort(2), 65_535);
    table.setLocalAddress(2, '192.0.2.9');
    assert.equal(table.localAddress(2), '192.0.2.9');
    table.setLocalAddress(2, undefined);
    assert.equal(table.localAddress(2), undefined);
    table.setRemote(2, v6);
    assert.deepEqual([table.tos(2), table.interfaceIndex(2), table.localPort(2)], [-1, 0, 0]);
    // A copy does not change with the entry.
    const kept = table.remote(0);
    table.setRemote(0, v6);
    assert.ok(kept?.equals(v4));
  });

  it('refuses places that it does not have', () => {
    const table = new DatagramTable(2);
    for (const act of [
      () => table.family(2),
      () => table.port(-1),
      () => table.setRemote(0.5, new Endpoint('::', 1)),
      () => table.addressWord(0, 1),
      () => table.setTos(0, 256),
      () => table.setInterfaceIndex(0, -1),
      () => table.setLocalPort(0, 65_536),
      () => new DatagramTable(0),
    ]) {
      assert.equal(code(act), 'ERR_OUT_OF_RANGE');
    }
  });
});
