/** relayTo() through proxies of SOCKS5 and HTTP. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { text } from 'node:stream/consumers';
import { fdsAtMost, needs, openFds } from '../support.ts';
import { TestProxy } from './proxy-servers.ts';
import { pipeEnds, withServer } from './relay-support.ts';
import { failure, failureOf, withIntercepted } from './support.ts';

const SCHEMES = ['socks5', 'http'] as const;

/** A server that greets first, then echoes; and where a client finds it. */
const withGreeter = (body: (port: number) => Promise<void>): Promise<void> =>
  withServer((socket) => {
    socket.write('hello ');
    socket.pipe(socket);
  }, body);

describe('relayTo() through a proxy', function () {
  this.timeout(30_000);
  before(function () {
    needs(this);
  });

  for (const scheme of SCHEMES) {
    for (const credentials of ['', 'me%40home:se%3Acret@']) {
      it(`carries IPv4, IPv6 and names: ${scheme}://${credentials}`, () =>
        withGreeter(async (port) => {
          const account = credentials ? { user: 'me@home', password: 'se:cret' } : {};
          const route = () => ({ host: '127.0.0.1', port });
          await using proxy = await TestProxy.start(scheme, { ...account, route });
          const via = proxy.url(credentials);
          await withIntercepted({}, async ({ namespace, interceptor }) => {
            let name: string | undefined;
            const ended: Promise<unknown>[] = [];
            interceptor.on('connection', (connection) => {
              const { address } = connection.destination;
              ended.push(connection.relayTo({ host: name ?? address, via }));
            });
            const fetched = async (host: string): Promise<string> => {
              const client = await namespace.connect({ host, port: 80 });
              client.end('there');
              return text(client);
            };
            assert.equal(await fetched('203.0.113.5'), 'hello there');
            assert.equal(await fetched('2001:db8:ffff::5'), 'hello there');
            name = 'site.example';
            assert.equal(await fetched('203.0.113.5'), 'hello there');
            assert.deepEqual(proxy.asked, ['203.0.113.5:80', '2001:db8:ffff::5:80', 'site.example:80']);
            assert.deepEqual(await Promise.all(ended), [undefined, undefined, undefined]);
          });
        }));
    }
  }

  /** What relayTo() fails with, and what the client sees. */
  const refusal = (via: string): Promise<[error: NodeJS.ErrnoException, client: string]> =>
    withIntercepted({}, ({ namespace, interceptor }) =>
      Promise.all([
        failureOf(interceptor, (connection) => connection.relayTo({ via })),
        failure(namespace.connect({ host: '203.0.113.5', port: 80 })),
      ]),
    );

  const REFUSALS = {
    socks5: {
      EACCES: ['EACCES', 'EHOSTUNREACH', 'its rules forbid it'],
      ENETUNREACH: ['ENETUNREACH', 'EHOSTUNREACH', 'network unreachable'],
      EHOSTUNREACH: ['EHOSTUNREACH', 'EHOSTUNREACH', 'host unreachable'],
      ECONNREFUSED: ['ECONNREFUSED', 'ECONNREFUSED', 'connection refused'],
    },
    http: { ECONNREFUSED: ['ECONNREFUSED', 'ECONNREFUSED', 'the proxy answers with status 502'] },
  } as const;

  for (const scheme of SCHEMES) {
    for (const [reason, [code, seen, says]] of Object.entries(REFUSALS[scheme])) {
      it(`tells the client before its SYN is answered that ${scheme} refuses: ${reason}`, async () => {
        await using proxy = await TestProxy.start(scheme, { route: () => reason });
        const [error, client] = await refusal(proxy.url());
        assert.deepEqual([error.code, client], [code, seen]);
        assert.match(
          error.message,
          new RegExp(`^connect ${code} 203\\.0\\.113\\.5:80 through 127.*${says}$`),
        );
      });
    }

    it(`tells of wrong credentials: ${scheme}`, async () => {
      const route = () => assert.fail();
      await using proxy = await TestProxy.start(scheme, { user: 'me', password: 'right', route });
      for (const credentials of ['', 'me:wrong@']) {
        const [error, client] = await refusal(proxy.url(credentials));
        assert.deepEqual([error.code, client], ['EACCES', 'EHOSTUNREACH']);
        assert.doesNotMatch(error.message, /wrong/);
      }
    });
  }

  it('tells that a proxy is away, ends early, or speaks another protocol', async () => {
    const away = await TestProxy.start('socks5', { route: () => '' });
    const url = away.url();
    await away[Symbol.asyncDispose]();
    assert.match(
      (await refusal(url))[0].message,
      /^connect ECONNREFUSED 127\.0\.0\.1:\d+, for 203.*: the proxy failed$/,
    );
    for (const [answer, expected] of [
      ['HTTP/1.1 400 Bad Request\r\n\r\n', 'EPROTO'],
      ['x'.repeat(20_000), 'EPROTO'],
      ['', 'ECONNRESET'],
    ]) {
      const server = createServer((socket) =>
        socket
          .on('error', () => {})
          .end(answer)
          .resume(),
      ).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      assert.equal((await refusal(`socks5://127.0.0.1:${port}`))[0].code, expected);
      if (!answer.startsWith('HTTP'))
        assert.equal((await refusal(`http://127.0.0.1:${port}`))[0].code, expected);
      server.close();
    }
  });

  it('takes no URL of another kind, and shows no password', () =>
    withIntercepted({}, async ({ namespace, interceptor }) => {
      const done = new Promise<void>((resolve) => {
        interceptor.on('connection', async (connection) => {
          for (const via of [
            'https://me:secret@a:1',
            'socks4://a',
            'a',
            'http://a/path',
            'socks5://me:se/secret@a',
            'http://me:se#secret@a',
            'socks5:me:secret@a',
            'http://me:x@secret@a/path',
            `socks5://${'x'.repeat(256)}@a`,
          ]) {
            await assert.rejects(connection.relayTo({ via }), (error: NodeJS.ErrnoException) => {
              assert.equal(error.code, 'ERR_INVALID_ARG_VALUE');
              assert.doesNotMatch(error.message, /secret/);
              return true;
            });
          }
          connection.refuse();
          resolve();
        });
      });
      await assert.rejects(namespace.connect({ host: '203.0.113.5', port: 80 }));
      await done;
    }));

  it('asks a proxy of HTTP for no name that could be read as something else', () =>
    withIntercepted({}, async ({ namespace, interceptor }) => {
      const route = () => assert.fail();
      await using proxy = await TestProxy.start('http', { route });
      const failures = new Promise<string[]>((resolve) => {
        interceptor.on('connection', async (connection) => {
          const codes: string[] = [];
          for (const host of ['a/b', 'a@b', 'a:22', 'a#', 'a b', 'a\r\nb']) {
            const error = await connection.relayTo({ host, via: proxy.url() }).catch((reason) => reason);
            codes.push(error.code);
            if (codes.length === 6) connection.refuse(error);
          }
          resolve(codes);
        });
      });
      await assert.rejects(namespace.connect({ host: '203.0.113.5', port: 80 }), { code: 'EHOSTUNREACH' });
      assert.deepEqual(await failures, Array(6).fill('ENOTFOUND'));
      assert.deepEqual(proxy.asked, []);
    }));

  it('leaves no fd', () =>
    withGreeter(async (port) => {
      let refuses = false;
      const route = () => (refuses ? 'ECONNREFUSED' : { host: '127.0.0.1', port });
      await using proxy = await TestProxy.start('socks5', { route });
      await withIntercepted({}, async ({ namespace, interceptor }) => {
        interceptor.on('connection', (connection) => {
          connection.relayTo({ via: proxy.url() }).catch((error) => connection.refuse(error));
        });
        const round = async (): Promise<void> => {
          for (let i = 0; i < 20; i++) {
            refuses = i % 4 === 0;
            const client = await namespace.connect({ host: '203.0.113.5', port: 80 }).catch(() => undefined);
            assert.equal(client === undefined, refuses);
            if (client) assert.equal(await text(client.end('x')), 'hello x');
          }
          while (proxy.sockets.size > 0) await new Promise((resolve) => setTimeout(resolve, 5));
        };
        await round();
        // The thread keeps a few pipes.
        const open = (): number => openFds() - pipeEnds();
        const fds = open();
        await round();
        await fdsAtMost(fds, open);
      });
    }));
});
