/** The examples of the guides to interceptors, run as they are written. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import typescript from 'typescript';
import { inNamespace, moduleArguments, needs, run } from '../support.ts';

/** The blocks of code of a guide. */
const examples = (guide: string): string[] =>
  [
    ...readFileSync(new URL(`../../../docs/${guide}.md`, import.meta.url), 'utf8').matchAll(
      /^```ts\n(.*?)^```$/gms,
    ),
  ].map(([, code]) => code);

/** What an example leaves out, since the reader has it from before. */
const GIVEN = {
  module: `
    const { createSocket } = await import('node:dgram');
    const { once } = await import('node:events');
    const { NetworkNamespace, openTun } = await import('tuntap-native');
    const { intercept } = await import('tuntap-native/intercept');
    const { createVethPair } = await import('tuntap-native/net');`,
  /** Clients in a namespace; 198.51.100.1 is an address of the process's own network. */
  tun: `
    const own = await NetworkNamespace.current();
    await (await own.link('lo')).set({ up: true });
    await (await own.link('lo')).addAddress('198.51.100.1/32');
    const server = createSocket('udp4').bind(7, '198.51.100.1');
    server.on('message', (bytes, from) => server.send(bytes, from.port, from.address));`,
  namespace: `
    const namespace = await NetworkNamespace.create();
    const tun = openTun('tun0', { namespace, offload: 'raw', addresses: ['192.0.2.1/24'], up: true });
    await namespace.addRoute({ destination: 'default', device: 'tun0' });`,
  interceptor: 'const interceptor = await intercept(tun);',
  /** A device in the process's own network, and a link that leads out. */
  bypass: `
    const [own, far] = [await NetworkNamespace.current(), await NetworkNamespace.create()];
    await createVethPair(
      { name: 'eth0', namespace: own, addresses: ['203.0.113.1/24'], up: true },
      { name: 'eth0', namespace: far, addresses: ['203.0.113.2/24', '198.51.100.1/32'], up: true },
    );
    const tun = openTun('tun0', { offload: 'raw', addresses: ['192.0.2.1/24'], up: true });
    const destination = '198.51.100.0/24';
    await own.addRoute({ destination, device: 'tun0' });
    await own.addRoute({ destination, via: '203.0.113.2', metric: 5000 });
    const server = await far.createUdpSocket({ host: '198.51.100.1', port: 7 });
    server.on('message', (bytes, from) => server.send(bytes, from.port, from.address));
    const namespace = own;`,
};

/** What shows that an example works; prints 'ok' then. */
const SHOWN = {
  datagrams: `
    let flows = 0;
    interceptor.on('flow', () => flows++);
    const client = await namespace.createUdpSocket({ host: '192.0.2.1' });
    client.send('hello', 7, '198.51.100.1');
    const [bytes, { address }] = await once(client, 'message');
    if (String(bytes) === 'hello' && address === '198.51.100.1' && flows <= 1) console.log('ok');`,
  relayed: `
    const { createServer } = await import('node:net');
    const here = await NetworkNamespace.current();
    await (await here.link('lo')).set({ up: true });
    await once(createServer((socket) => socket.end('hello')).listen(8443, '127.0.0.1'), 'listening');
    const refused = await here.connect({ host: '192.0.2.2', port: 80 }).catch(({ code }) => code);
    const [bytes] = await once(await here.connect({ host: '192.0.2.2', port: 443 }), 'data');
    if (String(bytes) === 'hello' && refused === 'EHOSTUNREACH') console.log('ok');`,
  seen: `
    const [seen] = await once(interceptor, 'connection');
    await once(seen, 'close');
    if (seen.destination.address === '192.0.2.80') console.log('ok');`,
  ping: `
    const [status] = await once(namespace.spawn('ping', ['-c1', '-w5', '198.51.100.1'], { stdio: 'ignore' }), 'exit');
    if (status === 0) console.log('ok');`,
  named: `
    const host = 'www.example.org';
    const [{ address: fake }] = await namespace.resolve(host, { servers: ['192.0.2.53'], family: 4 });
    namespace.connect({ host: fake, port: 80 }).catch(() => {});
    const [asked] = await once(interceptor, 'connection');
    if (asked.destination.name === host) console.log('ok');`,
};

const { tun, namespace, interceptor, bypass } = GIVEN;
const CASES: readonly (readonly [
  guide: string,
  index: number,
  given: string,
  shown: string,
  first?: boolean,
])[] = [
  ['intercept', 0, '', SHOWN.relayed],
  ['intercept', 1, '', SHOWN.seen],
  ['intercept', 2, `${tun}${namespace}${interceptor}`, SHOWN.datagrams],
  ['intercept-datagrams', 0, tun, SHOWN.datagrams],
  ['intercept-datagrams', 1, `${bypass}${interceptor}`, SHOWN.datagrams],
  // Its loop does not end.
  ['intercept-datagrams', 2, `${namespace}${interceptor}`, SHOWN.datagrams, true],
  ['intercept-datagrams', 3, `${namespace}${interceptor}`, SHOWN.ping],
  ['intercept-datagrams', 4, namespace, SHOWN.named],
  ['proxy', 0, namespace, SHOWN.named],
];

describe('the guides to interceptors', function () {
  this.timeout(60_000);
  before(function () {
    needs(this, 'ping', 'curl');
  });

  it('have no example that is not run', () => {
    const all = ['intercept', 'intercept-datagrams', 'proxy'].flatMap((guide) =>
      examples(guide).map((_, i) => `${guide} ${i}`),
    );
    assert.deepEqual(
      all,
      CASES.map(([guide, i]) => `${guide} ${i}`),
    );
  });

  for (const [guide, index, given, shown, first] of CASES) {
    it(`have an example that works: ${guide}.md, the ${index + 1}. one`, () =>
      inNamespace(async (home) => {
        const code = examples(guide)[index];
        const imports = (code.match(/^import .*$/gm) ?? []).join('\n');
        const rest = code.replace(/^import .*$/gm, '');
        const ends = `(async () => { ${shown}; process.exit(); })();`;
        const [before, after] = first ? [ends, ''] : ['', ends];
        // What the example imports itself, its reader need not have.
        const own = GIVEN.module
          .split('\n')
          .map((line) => {
            const names = line.match(/\{ (.*) \}/)?.[1].split(', ') ?? [];
            const missing = names.filter((name) => !new RegExp(`\\b${name}\\b`).test(imports));
            return missing.length > 0 ? line.replace(/\{ .* \}/, `{ ${missing.join(', ')} }`) : '';
          })
          .join('\n');
        const text = `${imports}\n${own}\n${given}\n${before}\n${rest}\n${after}`;
        const options = { module: typescript.ModuleKind.ESNext, target: typescript.ScriptTarget.ES2022 };
        const { outputText } = typescript.transpileModule(text, { compilerOptions: options });
        const program = outputText.replace(
          /(from |import\()(['"])(tuntap-native[\w/]*)\2/g,
          (_, how, quote, name) => `${how}${quote}${import.meta.resolve(name)}${quote}`,
        );
        const { stdout, stderr } = await run(
          home,
          'timeout',
          '20',
          process.execPath,
          ...moduleArguments(program),
        );
        assert.match(stdout, /^ok$/m, stderr);
      }));
  }
});
