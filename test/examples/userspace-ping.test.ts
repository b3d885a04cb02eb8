import assert from 'node:assert/strict';
import { inNamespace, needs } from '../support.ts';
import { example } from './watching.ts';

describe('examples/userspace-ping', () => {
  before(function () {
    needs(this, 'ip');
  });

  it('is a host of its own on a TAP: the kernel at the other end answers its ARP, NDP, ICMP and ICMPv6', () =>
    inNamespace(async (namespace) => {
      const { status, stdout, stderr } = await example(namespace, 'userspace-ping', '--count=2');
      assert.equal(status, 0, stderr);
      for (const address of ['192.0.2.1', '198.51.100.1', '2001:db8::1', '2001:db8:1::1']) {
        for (const sequence of [1, 2]) {
          const line = `64 bytes from ${address}: icmp_seq=${sequence} ttl=64 time=`;
          assert.ok(stdout.includes(line), `${line} in ${stdout}`);
        }
      }
      assert.equal(stdout.match(/2 sent, 2 received, rtt min\/avg\/max = /g)?.length, 4);
    }));

  it('tells of an address that nobody has', () =>
    inNamespace(async (namespace) => {
      const { status, stdout } = await example(namespace, 'userspace-ping', '--count=1', '203.0.113.9');
      assert.equal(status, 1);
      assert.match(stdout, /1 sent, 0 received/);
    }));
});
