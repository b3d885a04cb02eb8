import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { allows, type NetworkConfig, parseConfig } from '../../examples/flannel/config.ts';
import { formatAttributes, parseLease, parseSubnetKey, subnetKey } from '../../examples/flannel/lease.ts';
import { formatAddress, formatNetwork, overlap, parseNetwork } from '../../examples/flannel/network.ts';
import { previousSubnet, readSubnetFile, writeSubnetFile } from '../../examples/flannel/subnet-file.ts';

const parse = (config: object): NetworkConfig => parseConfig(JSON.stringify(config));

describe("the cluster example reads Flannel's configuration", () => {
  for (const [config, length, min, max] of [
    [{ Network: '10.244.7.1/16', SubnetLen: 0, EnableIPv6: true }, 24, '10.244.1.0', '10.244.255.0'],
    [{ Network: '10.244.0.0/16' }, 24, '10.244.1.0', '10.244.255.0'],
    [{ Network: '10.0.0.0/8', SubnetLen: 20 }, 20, '10.0.16.0', '10.255.240.0'],
    [{ Network: '198.51.100.0/24' }, 26, '198.51.100.64', '198.51.100.192'],
    [{ Network: '10.244.0.0/22' }, 24, '10.244.1.0', '10.244.3.0'],
    [
      { network: '192.168.0.0/16', subnetmin: '192.168.8.0', SUBNETMAX: '192.168.9.0' },
      24,
      '192.168.8.0',
      '192.168.9.0',
    ],
  ] as const) {
    it(`${JSON.stringify(config)}: a /${length} from ${min} to ${max}`, () => {
      const { subnetLength, subnetMin, subnetMax, backend } = parse(config);
      assert.deepEqual(
        [subnetLength, formatAddress(subnetMin), formatAddress(subnetMax)],
        [length, min, max],
      );
      assert.equal(backend.string('Type'), 'udp');
    });
  }

  for (const [config, message] of [
    [[], /must be an object/],
    [{}, /must be/],
    [{ Network: '2001:db8::/64' }, /is no IPv4 network/],
    [{ Network: '10.244.0.0/16', SubnetLen: 17 }, /SubnetLen must be an integer from 18 to 30/],
    [{ Network: '10.244.0.0/16', SubnetLen: 31 }, /SubnetLen/],
    [{ Network: '10.244.0.0/16', SubnetMin: '10.245.0.0' }, /is not in 10\.244\.0\.0\/16/],
    [{ Network: '10.244.0.0/16', SubnetMax: '10.244.1.1' }, /no \/24 begins with 10\.244\.1\.1/],
    [{ Network: '10.244.0.0/16', Backend: 'udp' }, /config\.Backend must be an object/],
    [{ Network: '10.244.0.0/16', EnableIPv4: false }, /IPv4 only/],
  ] as const) {
    it(`refuses ${JSON.stringify(config)}`, () => {
      assert.throws(() => parse(config), message);
    });
  }

  it('knows which subnets a host may have', () => {
    const config = parse({ Network: '10.244.0.0/16', SubnetMin: '10.244.2.0', SubnetMax: '10.244.3.0' });
    for (const [subnet, allowed] of [
      ['10.244.1.0/24', false],
      ['10.244.2.0/24', true],
      ['10.244.3.0/24', true],
      ['10.244.4.0/24', false],
      ['10.244.2.0/25', false],
    ] as const) {
      assert.equal(allows(config, parseNetwork(subnet)), allowed, subnet);
    }
  });

  it('knows which networks overlap', () => {
    for (const [one, other, does] of [
      ['10.0.0.0/8', '10.244.1.0/24', true],
      ['10.244.0.0/24', '10.244.1.0/24', false],
      ['0.0.0.0/0', '192.0.2.0/24', true],
      ['192.0.2.0/25', '192.0.2.128/25', false],
    ] as const) {
      assert.equal(overlap(parseNetwork(one), parseNetwork(other)), does);
      assert.equal(overlap(parseNetwork(other), parseNetwork(one)), does);
    }
  });
});

describe("the cluster example's leases", () => {
  const key = '/coreos.com/network/subnets/10.244.1.0-24';

  it("have Flannel's keys", () => {
    assert.equal(subnetKey('/coreos.com/network', parseNetwork('10.244.1.0/24')), key);
    assert.equal(formatNetwork(parseSubnetKey(key)), '10.244.1.0/24');
    assert.equal(formatNetwork(parseSubnetKey(`${key}&fd00:1::-64`)), '10.244.1.0/24');
    for (const wrong of [
      '/subnets/',
      '/subnets/10.244.1.0',
      '/subnets/10.244.1.1-24',
      '/subnets/10.244.1.0-33',
    ]) {
      assert.throws(() => parseSubnetKey(wrong), wrong);
    }
  });

  it("have Flannel's values, in its order", () => {
    const backendData = { VNI: 1, VtepMAC: '02:00:00:00:00:01' };
    assert.equal(
      formatAttributes({ publicIp: '192.0.2.1', backendType: 'vxlan', backendData }),
      '{"PublicIP":"192.0.2.1","PublicIPv6":null,"BackendType":"vxlan",' +
        '"BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:01"}}',
    );
    assert.equal(
      formatAttributes({ publicIp: '192.0.2.1', backendType: 'udp' }),
      '{"PublicIP":"192.0.2.1","PublicIPv6":null}',
    );
    assert.equal(parseLease(key, '{"PublicIP":"192.0.2.1","BackendType":"VXLAN"}').backendType, 'vxlan');
    const { publicIp, backendType, subnet } = parseLease(key, '{"PublicIP":"192.0.2.1","BackendData":null}');
    assert.deepEqual([publicIp, backendType, formatNetwork(subnet)], ['192.0.2.1', 'udp', '10.244.1.0/24']);
  });
});

describe("the cluster example's subnet.env", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'flannel-env-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('is read back', async () => {
    const path = join(folder, 'run', 'subnet.env');
    const subnet = parseNetwork('10.244.128.0/17');
    await writeSubnetFile(path, { network: parseNetwork('10.244.0.0/16'), subnet, mtu: 1450 });
    assert.deepEqual(await readSubnetFile(path), {
      FLANNEL_NETWORK: '10.244.0.0/16',
      FLANNEL_SUBNET: '10.244.128.1/17',
      FLANNEL_MTU: '1450',
      FLANNEL_IPMASQ: 'false',
    });
    assert.deepEqual(await previousSubnet(path), subnet);
  });

  it('tells no subnet if it is missing or makes no sense', async () => {
    const path = join(folder, 'subnet.env');
    assert.equal(await previousSubnet(path), undefined);
    for (const text of [
      '',
      'FLANNEL_SUBNET=',
      'FLANNEL_SUBNET=10.244.1.1/99',
      'FLANNEL_SUBNET=999.1.1.1/24',
    ]) {
      writeFileSync(path, text);
      assert.equal(await previousSubnet(path), undefined, text);
    }
  });
});
