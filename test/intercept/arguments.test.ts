/** Wrong arguments: each gets an error that names it, and nothing is lost. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Duplex, Readable, Writable } from 'node:stream';
import type { InterceptedFlow } from 'tuntap-native/intercept';
import { needs } from '../support.ts';
import { CLIENTS, connectionOf, failure, SERVERS, withIntercepted } from './support.ts';

const wrong = (value: unknown): never => value as never;

/** Fails unless the attempt ends with an error for the wrong argument of that name. */
async function refuses(name: string, attempt: () => unknown): Promise<void> {
  await assert.rejects(
    async () => attempt(),
    (error: NodeJS.ErrnoException) => {
      assert.match(
        error.code ?? '',
        /^ERR_(INVALID_ARG_(TYPE|VALUE)|OUT_OF_RANGE)$/,
        `${name}: ${error.stack}`,
      );
      assert.ok(error.message.includes(`"${name}"`), `${name}: ${error.message}`);
      return true;
    },
  );
}

/** Each with the values that are no such option. */
const ROUTING = { mark: [null, 'x', -1, 2 ** 32, 0.5], device: [null, '', 5, 'a/b', 'x'.repeat(16)] };
const REMOTE = { host: [null, '', 5, {}], port: [null, '', '80', -1, 65_536, Number.NaN], ...ROUTING };
const LIMITS = { timeout: [null, 0, -1, '5', 2 ** 31], signal: [null, 5, {}] };

/** Tries each wrong value as the option of its name. */
async function refusesAll(
  table: Readonly<Record<string, readonly unknown[]>>,
  attempt: (options: never) => unknown,
  prefix = 'options.',
): Promise<void> {
  for (const [name, values] of Object.entries(table)) {
    for (const value of values) await refuses(`${prefix}${name}`, () => attempt(wrong({ [name]: value })));
  }
}

describe('wrong arguments of interceptors', function () {
  this.timeout(20_000);
  before(function () {
    needs(this);
  });

  for (const names of [false, true]) {
    it(`are told by connect(), with${names ? '' : 'out'} option names`, () =>
      withIntercepted({ names }, async ({ interceptor }) => {
        for (const options of [undefined, null, 5, 'host'])
          await refuses('options', () => interceptor.connect(wrong(options)));
        await refuses('options.port', () => interceptor.connect(wrong({ host: '127.0.0.1' })));
        const { host, ...others } = REMOTE;
        await refusesAll({ ...others, ...LIMITS }, (options: object) =>
          interceptor.connect({ host: '127.0.0.1', port: 1, ...options }),
        );
        await refusesAll(
          { host: [null, 5, {}] },
          (options: object) => interceptor.connect({ port: 1, ...options }),
          '',
        );
      }));
  }

  it('are told by relay() and relayTo(), and the connection still waits', () =>
    withIntercepted({}, async (intercepted) => {
      const [connection, client] = await connectionOf(intercepted);
      for (const stream of [undefined, null, 5, {}, new Readable(), new Writable()])
        await refuses('stream', () => connection.relay(wrong(stream)));
      for (const options of [null, 5]) {
        await refuses('options', () => connection.relay(new Duplex(), wrong(options)));
        await refuses('options', () => connection.relayTo(wrong(options)));
      }
      await refusesAll({ signal: LIMITS.signal }, (options) => connection.relay(new Duplex(), options));
      const via = [null, '', 5, 'socks4://127.0.0.1', 'http://127.0.0.1/path', 'socks5://'];
      await refusesAll({ ...REMOTE, ...LIMITS, via }, (options) => connection.relayTo(options));
      assert.equal(connection.state, 'pending');
      await refuses('reason', () => connection.refuse(wrong('no')));
      connection.refuse();
      assert.equal(await failure(client), 'ECONNREFUSED');
    }));

  it('are told by flows, which go on', () =>
    withIntercepted({}, async ({ namespace, interceptor }) => {
      const begun = once(interceptor, 'flow') as Promise<[InterceptedFlow]>;
      const client = await namespace.createUdpSocket({ host: CLIENTS[4] });
      client.send('x', 7, SERVERS[4]);
      const [flow] = await begun;
      const from = { address: SERVERS[4], port: 7 };
      await refuses('bytes', () => flow.send(wrong('text'), from));
      const ends = {
        address: [undefined, null, 5, '', 'x', SERVERS[6]],
        port: [undefined, null, '7', -1, 65_536],
      };
      for (const [name, values] of Object.entries(ends)) {
        for (const value of values) {
          const end = wrong({ ...from, [name]: value });
          const attempts = [() => flow.send(Buffer.of(1), end), () => flow.refuse(end)];
          for (const attempt of attempts) await assert.rejects(async () => attempt(), { code: /^ERR_/ });
        }
      }
      for (const end of [undefined, null, 5]) {
        await refuses('from', () => flow.send(Buffer.of(1), wrong(end)));
        await refuses('destination', () => flow.refuse(wrong(end)));
      }
      await refuses('reason', () => flow.refuse(from, wrong('no')));
      flow.send(Buffer.from('right'), from);
      assert.equal(`${(await once(client, 'message'))[0]}`, 'right');
      client.close();
    }));
});
