import assert from 'node:assert/strict';
import { tunnelMtu } from '#dist/wireguard/mtu.js';
import {
  planRoutes,
  type RouteNeeds,
  type RouteOperation,
  type RouteSurroundings,
} from '#dist/wireguard/routes-plan.js';

const NEEDS: RouteNeeds = {
  device: 'wg0',
  option: 'auto',
  allowedIps: [],
  endpoints: [],
  isSocketElsewhere: false,
};
const RULES = ([4, 6] as const).flatMap((family) => [
  { family, priority: 0 },
  { family, priority: 32766 },
  ...(family === 4 ? [{ family, priority: 32767 }] : []),
]);
const AROUND: RouteSurroundings = { deviceRoutes: [], rules: RULES, table: 51820, mark: 51820 };

/** An operation in words. */
function words(operation: RouteOperation): string {
  if (operation.kind === 'sysctl') return `${operation.name}=${operation.value}`;
  if (operation.kind === 'route') {
    const { destination, device, table } = operation.route;
    return `route ${destination} dev ${device}${table ? ` table ${table}` : ''}`;
  }
  const { family, priority, not, fwmark, to, table, suppressPrefixLength } = operation.rule;
  return [
    `rule ${family} ${priority}:`,
    ...(not ? [`not fwmark ${fwmark}`] : []),
    ...(to ? [`to ${to}`] : []),
    `table ${table}`,
    ...(suppressPrefixLength === undefined ? [] : [`suppress ${suppressPrefixLength}`]),
  ].join(' ');
}

const plan = (needs_: Partial<RouteNeeds>, around: Partial<RouteSurroundings> = {}): string[] =>
  planRoutes({ ...NEEDS, ...needs_ }, { ...AROUND, ...around }).map(words);

describe('planRoutes', () => {
  const cases: [
    what: string,
    needs: Partial<RouteNeeds>,
    around: Partial<RouteSurroundings>,
    expected: string[],
  ][] = [
    ['nothing for nobody', {}, {}, []],
    ['nothing if off', { option: 'off', allowedIps: ['0.0.0.0/0'] }, {}, []],
    [
      'the longest prefix first, each once',
      { allowedIps: ['10.0.0.0/8', '10.1.0.0/16', 'fd00::/64', '10.1.2.3/16', '10.1.1.1/32'] },
      {},
      [
        'route fd00::/64 dev wg0',
        'route 10.1.1.1/32 dev wg0',
        'route 10.1.0.0/16 dev wg0',
        'route 10.0.0.0/8 dev wg0',
      ],
    ],
    [
      'none that a route of the link covers',
      { allowedIps: ['10.0.0.2/32', '10.0.0.0/24', '10.0.0.0/16', 'fd00::2/128'] },
      {
        deviceRoutes: [
          { family: 4, destination: '10.0.0.0/24' },
          { family: 6, destination: 'default' },
        ],
      },
      ['route 10.0.0.0/16 dev wg0'],
    ],
    [
      'a table of numbers, without rules',
      { option: 77, allowedIps: ['0.0.0.0/0', '10.0.0.0/8', '::/0'], endpoints: ['10.1.1.1'] },
      {},
      [
        'route 10.0.0.0/8 dev wg0 table 77',
        'route 0.0.0.0/0 dev wg0 table 77',
        'route ::/0 dev wg0 table 77',
      ],
    ],
    [
      'all IPv4',
      { allowedIps: ['0.0.0.0/0'] },
      {},
      [
        'net.ipv4.conf.all.src_valid_mark=1',
        'rule 4 32765: not fwmark 51820 table 51820',
        'rule 4 32764: table main suppress 0',
        'route 0.0.0.0/0 dev wg0 table 51820',
      ],
    ],
    [
      'all of both, before the rules that there are, with a table and a mark of their own',
      { allowedIps: ['::/0', '10.0.0.0/8', '0.0.0.0/0'] },
      { rules: [...RULES, { family: 4, priority: 100 }, { family: 6, priority: 7 }], table: 5, mark: 6 },
      [
        'route 10.0.0.0/8 dev wg0',
        'net.ipv4.conf.all.src_valid_mark=1',
        'rule 4 99: not fwmark 6 table 5',
        'rule 4 98: table main suppress 0',
        'route 0.0.0.0/0 dev wg0 table 5',
        'rule 6 6: not fwmark 6 table 5',
        'rule 6 5: table main suppress 0',
        'route ::/0 dev wg0 table 5',
      ],
    ],
    [
      'networks that hold an endpoint, with the longer prefixes of the main table first',
      {
        allowedIps: ['10.0.0.0/8', '10.1.0.0/16', '10.2.0.0/16', 'fd00::/8'],
        endpoints: ['10.1.1.1', '2001:db8::1'],
      },
      {},
      [
        'route 10.2.0.0/16 dev wg0',
        'route fd00::/8 dev wg0',
        'net.ipv4.conf.all.src_valid_mark=1',
        'rule 4 32765: not fwmark 51820 table 51820',
        'rule 4 32764: to 10.0.0.0/8 table main suppress 8',
        'rule 4 32763: to 10.1.0.0/16 table main suppress 16',
        'route 10.1.0.0/16 dev wg0 table 51820',
        'route 10.0.0.0/8 dev wg0 table 51820',
      ],
    ],
    [
      'an IPv6 network that holds an endpoint',
      { allowedIps: ['2001:db8::/32'], endpoints: ['2001:db8::1'] },
      {},
      [
        'rule 6 32765: not fwmark 51820 table 51820',
        'rule 6 32764: to 2001:db8::/32 table main suppress 32',
        'route 2001:db8::/32 dev wg0 table 51820',
      ],
    ],
    [
      'neither rules nor tables if the socket is elsewhere',
      { allowedIps: ['0.0.0.0/0', '10.0.0.0/8'], endpoints: ['10.1.1.1'], isSocketElsewhere: true },
      {},
      ['route 10.0.0.0/8 dev wg0', 'route 0.0.0.0/0 dev wg0'],
    ],
  ];
  for (const [what, each, around, expected] of cases) {
    it(what, () => assert.deepEqual(plan(each, around), expected));
  }
});

describe('tunnelMtu', () => {
  const links = [
    { index: 1, mtu: 65536 },
    { index: 2, mtu: 9000 },
    { index: 3, mtu: 1400 },
  ];
  const routes = [
    { family: 4 as const, destination: 'default', deviceIndex: 2 },
    { family: 4 as const, destination: '10.0.0.0/8', deviceIndex: 3 },
    { family: 4 as const, destination: '10.1.0.0/16', deviceIndex: 2, mtu: 1300 },
    { family: 4 as const, destination: '10.2.0.0/16', deviceIndex: 2, metric: 20 },
    { family: 4 as const, destination: '10.2.0.0/16', deviceIndex: 3, metric: 10 },
    { family: 4 as const, destination: '127.0.0.0/8', deviceIndex: 1 },
    { family: 6 as const, destination: '2001:db8::/32', deviceIndex: 3 },
    {
      family: 6 as const,
      destination: 'fd00::/16',
      nexthops: [
        { deviceIndex: 2, device: 'b', weight: 1, flags: [] },
        { deviceIndex: 3, device: 'c', weight: 1, flags: [] },
      ],
    },
  ];
  const cases: [endpoints: string[], expected: number][] = [
    [[], 8920],
    [['192.0.2.1'], 8920],
    [['10.9.9.9'], 1320],
    [['10.1.0.1'], 1220],
    [['10.2.0.1'], 1320],
    [['192.0.2.1', '10.9.9.9', '10.1.0.1'], 1220],
    [['2001:db8::1'], 1320],
    [['fd00::1'], 1320],
    [['2001:db9::1'], 8920],
    [['127.0.0.1'], 65456],
  ];
  for (const [endpoints, expected] of cases) {
    it(`${expected} for ${endpoints.join(', ') || 'nobody'}`, () =>
      assert.equal(tunnelMtu(endpoints, routes, links), expected));
  }
  it('1420 without any route', () => assert.equal(tunnelMtu(['192.0.2.1'], [], links), 1420));
});
