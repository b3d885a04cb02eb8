// The import rules: a folder of lib/ imports itself and the layers before its own.

const layers = [
  ['arguments.ts', 'address.ts', 'endpoint.ts', 'system-error.ts', 'native/'],
  ['io/', 'packet/', 'net/netlink/', 'net/namespace/'],
  ['net/rtnetlink/'],
  ['net/[^/]+$'],
  ['device/', 'socket/', 'lab/'],
  ['tunnel/', 'index.ts'],
  ['wireguard/', 'intercept/'],
  ['cli/'],
];
const at = (part) => `^lib/${part}`;
const rule = (name, from, to) => ({ name, severity: 'error', from, to });
const layerRules = layers.flatMap((layer, i) =>
  layer.map((part) => {
    const allowed = [...layers.slice(0, i).flat(), ...(i ? [part] : layer)];
    return rule(`layer of ${part}`, { path: at(part) }, { path: '^lib/', pathNot: allowed.map(at) });
  }),
);
const pair = '^lib/net/(link|network-namespace)\\.ts$';
module.exports = {
  forbidden: [
    ...layerRules,
    rule('every file has a layer', { path: '^lib/', pathNot: layers.flat().map(at) }, {}),
    rule('no circles but one', { path: '^lib/', pathNot: pair }, { circular: true }),
    rule(
      'no circles at run time',
      { path: '^lib/' },
      { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    ),
    rule(
      'only native/ loads the addon',
      { path: '^lib/', pathNot: at('native/') },
      { path: ['node_modules/bindings/', '\\.node$'] },
    ),
    rule(
      'outside lib, entry points only',
      {
        path: '^(test|examples|bench)/',
        pathNot: [
          '^test/net/codec\\.test\\.ts$',
          '^test/(wireguard|cli|intercept)/',
          '^bench/(handshakes|abuse-relay)\\.ts$',
        ],
      },
      { path: '^(lib|dist)/', pathNot: ['^dist/index\\.js$', '^dist/[a-z]+/index\\.js$'] },
    ),
  ],
  options: { tsPreCompilationDeps: true, doNotFollow: 'node_modules' },
};
