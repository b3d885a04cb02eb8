/**
 * What `bench/proxies.ts` compares with others: an interceptor whose connections are relayed, through a proxy if one is
 * named. Usage: proxies-end.js NAMESPACE DEVICE MTU [URL]
 */

import { openTun } from 'tuntap-native';
import { intercept } from 'tuntap-native/intercept';

const [namespace = '', device = '', mtu = '', via] = process.argv.slice(2);
const tun = openTun(device, { namespace, offload: 'raw', mtu: Number(mtu) });
const interceptor = await intercept(tun);
interceptor.on('connection', (connection) => {
  connection.relayTo(via === undefined ? {} : { via }).catch((error) => connection.refuse(error));
});
console.log('ready');
