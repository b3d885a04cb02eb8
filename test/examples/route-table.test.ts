import assert from 'node:assert/strict';
import { parseIpv4 } from 'tuntap-native/packet';
import { RouteTable } from '../../examples/flannel/backends/route-table.ts';

const number = (address: string): number => parseIpv4(address).readInt32BE(0);

describe("the Flannel example's route table", () => {
  it('takes the longest prefix, in whatever order the routes came', () => {
    const routes = [
      '0.0.0.0/0',
      '10.0.0.0/8',
      '10.244.0.0/16',
      '10.244.2.0/24',
      '10.244.2.128/25',
      '10.244.2.7/32',
    ];
    const best = [
      ['10.244.2.7', '10.244.2.7/32'],
      ['10.244.2.8', '10.244.2.0/24'],
      ['10.244.2.200', '10.244.2.128/25'],
      ['10.244.3.1', '10.244.0.0/16'],
      ['10.1.1.1', '10.0.0.0/8'],
      ['192.0.2.1', '0.0.0.0/0'],
      ['255.255.255.255', '0.0.0.0/0'],
    ];
    for (const order of [routes, routes.toReversed(), [...routes.slice(3), ...routes.slice(0, 3)]]) {
      const table = new RouteTable<string>();
      for (const route of order) table.set(route, route);
      for (const [address, route] of best) assert.equal(table.lookup(number(address)), route, address);
      assert.deepEqual(
        [...table].map(([network]) => network),
        routes.toReversed(),
      );
    }
  });

  it('knows no way where there is no route', () => {
    const table = new RouteTable<string>();
    assert.equal(table.lookup(number('10.244.2.1')), undefined);
    table.set('10.244.2.0/24', 'b');
    assert.equal(table.lookup(number('10.244.3.1')), undefined);
  });

  it('replaces and removes exactly the network that is told', () => {
    const table = new RouteTable<string>();
    table.set('10.244.0.0/16', 'wide');
    table.set('10.244.2.0/24', 'old');
    table.set('10.244.2.0/24', 'new');
    assert.equal(table.lookup(number('10.244.2.1')), 'new');
    assert.equal(table.delete('10.244.2.0/25'), false);
    assert.equal(table.delete('10.244.2.0/24'), true);
    assert.equal(table.delete('10.244.2.0/24'), false);
    assert.equal(table.lookup(number('10.244.2.1')), 'wide');
  });

  it('refuses what is no IPv4 network', () => {
    const table = new RouteTable<string>();
    for (const text of ['10.244.2.1/24', '10.244.2.0/33', '2001:db8::/32', '128.0.0.0/0', 'here']) {
      assert.throws(() => table.set(text, ''), TypeError, text);
    }
  });
});
