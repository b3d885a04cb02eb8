import assert from 'node:assert/strict';
import { createSwitches, type Host, type SwitchLab } from '../../examples/switch/lab.ts';
import { inNamespace, ipLink, needs } from '../support.ts';
import { example, firstPacket, ping } from './watching.ts';

const MAC = '02:00:5e:00:53:99';

describe('a switch between TAP devices and a UDP trunk (examples/switch)', () => {
  let lab: SwitchLab | undefined;
  const host = (name: string): Host => lab?.hosts.find((each) => each.name === name) as Host;
  const show = async (n: number): Promise<readonly string[]> =>
    (await lab?.switches[n].daemon.command('show')) ?? [];
  const macOf = async (name: string): Promise<string> =>
    (await ipLink(host(name).namespace, 'eth0'))?.address as string;

  before(async function () {
    needs(this, 'ip', 'ping', 'tcpdump');
    lab = await createSwitches('--ageing', '60');
  });
  after(() => lab?.close());

  it('joins the hosts of a VLAN, on one switch and across the trunk', async () => {
    for (const [from, to] of [
      ['red1', 'red2'],
      ['red2', 'red3'],
      ['blue2', 'blue1'],
    ]) {
      assert.equal((await ping(host(from).namespace, host(to).address)).status, 0, `${from} to ${to}`);
    }
  });

  it('keeps the hosts of different VLANs apart, though they are in one network', async () => {
    for (const [from, to] of [
      ['red1', 'blue1'],
      ['red1', 'blue2'],
      ['blue2', 'red2'],
    ]) {
      const { status, stdout } = await ping(host(from).namespace, host(to).address, '-W0.3');
      assert.notEqual(status, 0, `${from} to ${to}`);
      assert.match(stdout, / 0 received/);
    }
    // Not even a broadcast crosses: what blue1 hears first is blue2's question, asked after red1's.
    const heard = await firstPacket(host('blue1').namespace, 'eth0', 'arp', async () => {
      await ping(host('red1').namespace, '198.51.100.200', '-W0.1');
      await ping(host('blue2').namespace, '198.51.100.201', '-W0.1');
    });
    assert.match(heard, /who-has 198\.51\.100\.201/);
  });

  it('puts an 802.1Q tag with the VLAN into every frame on the trunk', async () => {
    const { namespace } = lab?.switches[1] ?? assert.fail();
    // Behind UDP's 8 bytes the frame: tag protocol 0x8100, VLAN 20, IPv4, ICMP.
    const tagged = 'udp[20:2] = 0x8100 and udp[22:2] & 0xfff = 20 and udp[24:2] = 0x0800 and udp[35] = 1';
    const packet = await firstPacket(namespace, 'eth0', `udp port 4040 and ${tagged}`, () =>
      ping(host('blue1').namespace, host('blue2').address),
    );
    assert.match(packet, /192\.0\.2\.1\.4040 > 192\.0\.2\.2\.4040/);
  });

  it('sends a frame for a known station there alone', async () => {
    // Both are known to the right switch; red3 is on it, in the same VLAN, and hears nothing of their talk.
    await ping(host('red1').namespace, host('red2').address);
    const heard = await firstPacket(host('red3').namespace, 'eth0', 'icmp', async () => {
      await ping(host('red1').namespace, host('red2').address);
      await ping(host('red2').namespace, host('red3').address);
    });
    assert.ok(heard.includes(`${host('red2').address} > ${host('red3').address}`), heard);
  });

  it('finds a station again that moved to another port, and shows where stations are', async () => {
    const [red1, red2, red3] = await Promise.all(['red1', 'red2', 'red3'].map(macOf));
    await ping(host('red1').namespace, host('red2').address);
    const left = await show(0);
    assert.ok(
      left.some((line) => line.startsWith(`10 ${red1} port1 `)),
      left.join(),
    );
    assert.ok(
      left.some((line) => line.startsWith(`10 ${red2} trunk `)),
      left.join(),
    );

    // One address, heard first behind the left switch, then behind the right one.
    for (const [name, old, expected] of [
      ['red1', red1, ['port1', 'trunk']],
      ['red3', red3, ['trunk', 'port3']],
    ] as const) {
      const link = await host(name).namespace.link('eth0');
      await link.set({ mac: MAC });
      assert.equal((await ping(host(name).namespace, host('red2').address)).status, 0, name);
      for (const n of [0, 1]) {
        const shown = await show(n);
        assert.ok(
          shown.some((line) => line.startsWith(`10 ${MAC} ${expected[n]} `)),
          shown.join(),
        );
      }
      await link.set({ mac: old });
    }
  });

  it('goes on when the network card of one of its hosts is deleted', async () => {
    const card = await host('blue2').namespace.link('eth0');
    await card.delete();
    assert.equal((await ping(host('red1').namespace, host('red2').address)).status, 0);
    // A broadcast goes to blue2's port no more.
    await ping(host('blue1').namespace, '198.51.100.202', '-W0.1');
    assert.equal((await ping(host('red3').namespace, host('red1').address)).status, 0);
  });
});

describe('the switch example', () => {
  it('shows who reaches whom and what the switches have learned, and leaves nothing behind', async function () {
    needs(this, 'ip', 'ping');
    await inNamespace(async (namespace) => {
      const { status, stdout, stderr } = await example(namespace, 'switch/main');
      assert.equal(status, 0, stderr);
      assert.match(stdout, /^red1 +yes +no +yes +no +yes$/m);
      assert.match(stdout, /^blue2 +no +yes +no +yes +no$/m);
      assert.match(stdout, /^20 ([0-9a-f]{2}:){5}[0-9a-f]{2} trunk \d+$/m);
    });
  });
});
