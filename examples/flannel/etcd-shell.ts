/**
 * Lets a program outside a namespace use the etcd inside: reads requests of the gateway, a line of JSON each such as
 * `["kv/range", { "key": "…" }]`, and answers each by a line `{ "result": … }` or `{ "error": "…" }`.
 *
 *   node out/examples/flannel/etcd-shell.js http://127.0.0.1:2379
 */

import { createInterface } from 'node:readline';
import { Etcd } from './etcd.ts';

const etcd = new Etcd({ endpoints: process.argv.slice(2) });
for await (const line of createInterface({ input: process.stdin })) {
  const [method, body] = JSON.parse(line);
  const answer = await etcd.request(method, body).then(
    (result) => ({ result }),
    (error: Error) => ({ error: error.message }),
  );
  console.log(JSON.stringify(answer));
}
