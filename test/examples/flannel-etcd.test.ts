import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Cluster, PREFIX } from '../../examples/flannel/cluster.ts';
import { parseConfig } from '../../examples/flannel/config.ts';
import { type Change, Etcd, type EtcdError } from '../../examples/flannel/etcd.ts';
import { type Certificates, EtcdServer } from '../../examples/flannel/etcd-server.ts';
import { createHosts, ETCD_ADDRESS } from '../../examples/flannel/lab.ts';
import { parseNetwork } from '../../examples/flannel/network.ts';
import { OwnLease, takeSubnet } from '../../examples/flannel/own-lease.ts';
import { needs } from '../support.ts';
import { PROGRAMS } from './flannel-lab.ts';

const base64 = (text: string): string => Buffer.from(text).toString('base64');

describe("the cluster example's client of etcd's gateway (examples/flannel/etcd)", () => {
  const servers: Server[] = [];
  afterEach(() => {
    for (const server of servers.splice(0)) server.close().closeAllConnections();
  });
  /** A gateway that answers as the test says. */
  async function gateway(answer: RequestListener): Promise<string> {
    const server = createServer(answer).listen(0, '127.0.0.1');
    servers.push(server);
    await once(server, 'listening');
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }
  async function deadEnd(): Promise<string> {
    const url = await gateway(() => {});
    const [server] = servers.splice(-1);
    await new Promise((resolve) => server.close(resolve));
    return url;
  }
  async function collect(watch: AsyncGenerator<readonly Change[]>, into: Change[]): Promise<void> {
    for await (const changes of watch) into.push(...changes);
  }
  const kv = { key: base64('/a/b'), value: base64('ü'), mod_revision: '7', lease: '3777009476389561094' };
  const entry = { key: '/a/b', value: 'ü', modRevision: '7', lease: '3777009476389561094' };
  const list = JSON.stringify({ header: { revision: '9' }, kvs: [kv] });

  it('asks the next endpoint if one does not answer, and stays there', async () => {
    let asked = 0;
    const good = await gateway((_, response) => response.end(list));
    const down = await gateway((_, response) => {
      asked++;
      response.writeHead(503).end('{"message":"etcdserver: no leader","code":14}');
    });
    const etcd = new Etcd({ endpoints: [await deadEnd(), down, good] });
    for (let i = 0; i < 3; i++) assert.deepEqual(await etcd.list('/a/'), { entries: [entry], revision: 9 });
    assert.equal(asked, 1);
  });

  for (const [shape, status, error] of [
    ['an older gateway', 503, { grpc_code: 14, http_code: 503, message: 'etcdserver: leader changed' }],
    ['a newer gateway', 503, { code: 14, message: 'etcdserver: leader changed' }],
    ['a gateway that has sent its status', 200, { code: 8, message: 'etcdserver: too many requests' }],
  ] as const) {
    it(`asks the next endpoint if ${shape} refuses what streams`, async () => {
      const asked: (string | undefined)[] = [];
      const down = await gateway(({ url }, response) => {
        asked.push(url);
        response.writeHead(status).end(`${JSON.stringify({ error })}\n`);
      });
      const good = await gateway((_, response) => response.end('{"result":{"TTL":"9"}}\n'));
      const etcd = new Etcd({ endpoints: [down, good] });
      assert.equal(await etcd.keepAlive('1'), true);
      assert.equal(await etcd.keepAlive('1'), true);
      const again = new Etcd({ endpoints: [down, good] });
      await assert.rejects(collect(again.watch('/a/', 5), []), (error: EtcdError) => {
        assert.match(error.message, /etcdserver: (leader changed|too many requests)/);
        return error.isTransient;
      });
      assert.equal(await again.keepAlive('1'), true);
      assert.deepEqual(asked, ['/v3/lease/keepalive', '/v3/watch']);
    });
  }

  it('names the endpoint if none answers, and says that it may be tried again', async () => {
    const url = await deadEnd();
    await assert.rejects(new Etcd({ endpoints: [url] }).get('/a'), (error: EtcdError) => {
      assert.ok(error.message.startsWith(`etcd at ${url}: `) && error.message.includes('ECONNREFUSED'));
      return error.isTransient;
    });
  });

  it("passes etcd's refusals on, and does not ask elsewhere", async () => {
    let asked = 0;
    const url = await gateway((_, response) => {
      asked++;
      response.writeHead(404).end('{"message":"etcdserver: requested lease not found","code":5}');
    });
    await assert.rejects(new Etcd({ endpoints: [url, url] }).revoke('1'), (error: EtcdError) => {
      assert.match(error.message, /requested lease not found/);
      return !error.isTransient;
    });
    assert.equal(asked, 1);
  });

  it('reads changes however they are cut, and ends with an error that may be tried again', async () => {
    const event = JSON.stringify({
      result: { events: [{ kv }, { type: 'DELETE', kv: { key: kv.key, mod_revision: '8' } }] },
    });
    const url = await gateway(async (_, response) => {
      for (const byte of Buffer.from(`{"result":{"created":true}}\n${event}\n${event}\n`)) {
        response.write(Buffer.of(byte));
        await new Promise(setImmediate);
      }
      response.end();
    });
    const changes: Change[] = [];
    await assert.rejects(
      collect(new Etcd({ endpoints: [url] }).watch('/a/', 5), changes),
      (error: EtcdError) => error.isTransient,
    );
    const each: Change[] = [
      { type: 'put', entry },
      { type: 'delete', key: '/a/b' },
    ];
    assert.deepEqual(changes, [...each, ...each]);
  });

  it('tells a compaction from a lost connection', async () => {
    const compacted = await gateway((_, response) => {
      response.end('{"result":{"canceled":true,"compact_revision":"77"}}\n');
    });
    await assert.rejects(
      collect(new Etcd({ endpoints: [compacted] }).watch('/a/', 5), []),
      (error: EtcdError) => {
        assert.match(error.message, /77/);
        return error.code === 11 && !error.isTransient; // OUT_OF_RANGE of gRPC
      },
    );
    const broken = await gateway((_, response) => {
      response.write('{"result":{"created":true}}\n', () => response.destroy());
    });
    await assert.rejects(
      collect(new Etcd({ endpoints: [broken] }).watch('/a/', 5), []),
      (error: EtcdError) => error.isTransient,
    );
  });

  const attributes = { publicIp: '192.0.2.1', backendType: 'udp' };
  const config = parseConfig('{"Network":"10.244.0.0/16"}');
  /** A gateway that answers each method with the next of its answers; `asked`: the methods. */
  async function scripted(
    answers: Readonly<Record<string, readonly string[]>>,
  ): Promise<{ readonly etcd: Etcd; readonly asked: string[] }> {
    const asked: string[] = [];
    const url = await gateway((request, response) => {
      const method = (request.url ?? '').replace('/v3/', '');
      const answer = answers[method]?.[asked.filter((other) => other === method).length];
      asked.push(method);
      if (answer === undefined) request.socket.destroy();
      else response.end(answer);
    });
    return { etcd: new Etcd({ endpoints: [url] }), asked };
  }
  const empty = '{"header":{"revision":"1"}}';
  const claim = { prefix: '/net', config, attributes, seconds: 9 };
  const { signal } = new AbortController();

  it('leaves a lease whose key etcd may have written, and revokes one whose key it has not', async () => {
    const grant = ['{"ID":"7","TTL":"9"}'];
    const lost = await scripted({ 'lease/grant': grant, 'kv/range': [empty], 'lease/revoke': ['{}'] });
    await assert.rejects(takeSubnet(lost.etcd, claim, signal));
    assert.deepEqual(lost.asked, ['lease/grant', 'kv/range', 'kv/txn']);
    const refused = await scripted({ 'lease/grant': grant, 'lease/revoke': ['{}'] });
    await assert.rejects(takeSubnet(refused.etcd, claim, signal));
    assert.deepEqual(refused.asked, ['lease/grant', 'kv/range', 'lease/revoke']);
  });

  it('revokes the lease that it did not need, as another host was first', async () => {
    const { etcd, asked } = await scripted({
      'kv/range': [empty, JSON.stringify({ header: { revision: '2' }, kvs: [kv] })],
      'lease/grant': ['{"ID":"7","TTL":"9"}'],
      'kv/txn': ['{}'],
      'lease/revoke': ['{}'],
    });
    const own = new OwnLease(etcd, claim, parseNetwork('10.244.1.0/24'), { id: '5', seconds: 9 });
    await assert.rejects(own.takeAgain(signal), /Another host has taken 10\.244\.1\.0\/24/);
    assert.deepEqual(asked, ['kv/range', 'lease/grant', 'kv/txn', 'lease/revoke', 'kv/range']);
  });

  it('ends a watch when its signal aborts', async () => {
    const url = await gateway((_, response) => response.write('{"result":{"created":true}}\n'));
    const ended = new AbortController();
    const watch = collect(new Etcd({ endpoints: [url] }).watch('/a/', 5, ended.signal), []);
    setImmediate(() => ended.abort());
    await assert.rejects(watch, { name: 'AbortError' });
  });
});

/** A certificate authority, and a certificate of it for etcd and its clients. */
function certificates(folder: string): Certificates {
  const file = (name: string): string => join(folder, name);
  const openssl = (...args: string[]): void => {
    execFileSync('openssl', args, { stdio: 'pipe' });
  };
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  openssl('req', '-x509', ...newKey, '-keyout', file('ca.key'), '-out', file('ca.pem'), '-subj', '/CN=lab');
  openssl('req', ...newKey, '-keyout', file('key.pem'), '-out', file('request.pem'), '-subj', '/CN=etcd');
  const extensions = `subjectAltName=IP:${ETCD_ADDRESS},IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n`;
  writeFileSync(file('extensions'), extensions);
  openssl(
    ...['x509', '-req', '-in', file('request.pem'), '-CA', file('ca.pem'), '-CAkey', file('ca.key')],
    ...['-CAcreateserial', '-out', file('cert.pem'), '-extfile', file('extensions')],
  );
  return { ca: file('ca.pem'), cert: file('cert.pem'), key: file('key.pem') };
}

describe('the cluster example with TLS', () => {
  it('joins by certificates, by the second of two endpoints; and says why it can not', async function () {
    needs(this, ...PROGRAMS, 'openssl');
    const folder = mkdtempSync(join(tmpdir(), 'flannel-tls-'));
    const { lab, hosts, store } = await createHosts(1);
    try {
      const files = certificates(folder);
      const etcd = await EtcdServer.start(store, ETCD_ADDRESS, files);
      const cluster = new Cluster(hosts, etcd);
      try {
        await cluster.configure({ Type: 'host-gw' });
        const tls = ['--ca', files.ca, '--cert', files.cert, '--key', files.key];
        const good = cluster.daemon(hosts[0], '--etcd', 'https://192.0.2.99:2379', ...tls);
        cluster.daemons = [good];
        await good.ready;
        assert.equal((await etcd.list(`${PREFIX}/subnets/`)).size, 1);
        assert.ok(
          readFileSync(join(cluster.run(hosts[0]), 'subnet.env'), 'utf8').includes('FLANNEL_MTU=1500'),
        );
        await good.stop();
        const stranger = cluster.daemon(hosts[0]);
        cluster.daemons = [stranger];
        await stranger.said(/can't read the configuration now, and tries again: .*certificate/);
      } finally {
        await cluster.stop();
        await etcd.close();
      }
    } finally {
      await lab.close();
      rmSync(folder, { recursive: true });
    }
  });
});
