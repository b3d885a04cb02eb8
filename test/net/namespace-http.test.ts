/** What is built on sockets of Node.js, inside a namespace: http, https, fetch and WebSockets, as docs/network.md shows them. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import type { Server, Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import tls from 'node:tls';
import { createVethPair, type NamespaceConnectionOptions, NetworkNamespace } from 'tuntap-native/net';
import { Agent, buildConnector, fetch, WebSocket } from 'undici';
import { WebSocketServer } from 'ws';
import { needs } from '../support.ts';

type Callback = (error: Error | null, socket: Socket) => void;

/** A key and a certificate that it has signed itself, for a.test. */
function certificate(): { readonly key: string; readonly cert: string } {
  const options = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', '-'];
  const names = ['-subj', '/CN=a.test', '-addext', 'subjectAltName=DNS:a.test,IP:192.0.2.2'];
  const pem = execFileSync('openssl', ['req', ...options, ...names], { encoding: 'utf8', stdio: 'pipe' });
  const [key, cert] = ['PRIVATE KEY', 'CERTIFICATE'].map(
    (kind) => pem.match(new RegExp(`-----BEGIN ${kind}[^]*?END ${kind}-----`))?.[0] ?? '',
  );
  return { key, cert };
}

describe('on sockets of Node.js in a namespace', function () {
  this.timeout(20_000);
  let client: NetworkNamespace;
  let host: NetworkNamespace;
  const servers: Server[] = [];
  let secret: { readonly key: string; readonly cert: string };

  before(async function () {
    needs(this, 'openssl');
    secret = certificate();
    client = await NetworkNamespace.create();
    host = await NetworkNamespace.create();
    await createVethPair(
      { name: 'eth0', namespace: client, addresses: ['192.0.2.1/24'], up: true },
      { name: 'eth0', namespace: host, addresses: ['192.0.2.2/24'], up: true },
    );
  });

  after(async () => {
    for (const server of servers) server.close();
    await client?.close();
    await host?.close();
  });

  /** Lets a server of http or https, which does not listen itself, serve a port of the host. */
  async function serve(site: http.Server, port: number): Promise<void> {
    const server = await host.listen({ port });
    server.on('connection', (socket) => site.emit('connection', socket));
    servers.push(server);
  }

  const answer: http.RequestListener = (request, response) =>
    response.end(`you asked ${request.headers.host} for ${request.url}`);

  /** Connections of undici. */
  const dispatcher = (): Agent => {
    const withTls = buildConnector({ ca: secret.cert });
    return new Agent({
      connect: (options, callback) =>
        client.createConnection(options, (error, socket) => {
          if (error) callback(error, null);
          else if (options.protocol === 'https:') withTls({ ...options, httpSocket: socket }, callback);
          else callback(null, socket);
        }),
    });
  };

  it('http keeps connections alive', async () => {
    const site = http.createServer(answer);
    await serve(site, 80);
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    agent.createConnection = ((options: NamespaceConnectionOptions, callback: Callback) =>
      client.createConnection(options, callback)) as unknown as typeof agent.createConnection;
    const ports = new Set<number | undefined>();
    site.on('request', ({ socket }) => ports.add(socket.remotePort));
    for (const page of ['/one', '/two']) {
      const [response] = await once(http.get(`http://192.0.2.2${page}`, { agent }), 'response');
      assert.equal(await text(response), `you asked 192.0.2.2 for ${page}`);
    }
    assert.equal(ports.size, 1);
    agent.destroy();
    site.closeAllConnections();
  });

  it('https checks the certificate', async () => {
    const site = https.createServer(secret, answer);
    await serve(site, 443);
    const agent = new https.Agent({ ca: secret.cert });
    agent.createConnection = ((
      options: tls.ConnectionOptions & NamespaceConnectionOptions,
      callback: Callback,
    ) =>
      client.createConnection(options as NamespaceConnectionOptions, (error, socket) => {
        if (error) callback(error, socket);
        else callback(null, tls.connect({ ...options, socket } as tls.ConnectionOptions));
      })) as unknown as typeof agent.createConnection;
    const [response] = await once(https.get('https://192.0.2.2/page', { agent }), 'response');
    assert.equal(await text(response), 'you asked 192.0.2.2 for /page');
    const wrong = https.get('https://192.0.2.2/', { agent, servername: 'b.test' });
    assert.equal((await once(wrong, 'error'))[0].code, 'ERR_TLS_CERT_ALTNAME_INVALID');
    agent.destroy();
    site.closeAllConnections();
  });

  it('fetch of undici goes through them, with TLS and without', async () => {
    const sites = [http.createServer(answer), https.createServer(secret, answer)];
    await serve(sites[0], 8080);
    await serve(sites[1], 8443);
    const agent = dispatcher();
    for (const url of ['http://192.0.2.2:8080/page', 'https://192.0.2.2:8443/page']) {
      const response = await fetch(url, { dispatcher: agent });
      assert.equal(await response.text(), `you asked ${new URL(url).host} for /page`);
    }
    await assert.rejects(fetch('http://192.0.2.2:81/', { dispatcher: agent }), ({ cause }) => {
      assert.equal(cause.code, 'ECONNREFUSED');
      return true;
    });
    await agent.destroy();
    for (const site of sites) site.closeAllConnections();
  });

  it('the port of a URL without one is that of its protocol', async () => {
    const site = http.createServer(answer);
    for (const server of servers.splice(0)) server.close();
    await serve(site, 80);
    const agent = dispatcher();
    const response = await fetch('http://192.0.2.2/', { dispatcher: agent });
    assert.equal(await response.text(), 'you asked 192.0.2.2 for /');
    await agent.destroy();
    site.closeAllConnections();
  });

  it('a WebSocket server answers', async () => {
    const site = http.createServer();
    new WebSocketServer({ server: site }).on('connection', (socket) => {
      socket.on('message', (data) => socket.send(`you said ${data}`));
    });
    await serve(site, 9000);
    const agent = dispatcher();
    const socket = new WebSocket('ws://192.0.2.2:9000/', { dispatcher: agent });
    const said = new Promise<string>((resolve, reject) => {
      socket.addEventListener('open', () => socket.send('hello'));
      socket.addEventListener('message', ({ data }) => resolve(data));
      socket.addEventListener('error', reject);
    });
    assert.equal(await said, 'you said hello');
    const closed = new Promise((resolve) => socket.addEventListener('close', resolve));
    socket.close();
    await closed;
    await agent.destroy();
    site.closeAllConnections();
  });
});
