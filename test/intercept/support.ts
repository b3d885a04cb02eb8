/** A namespace whose only network is a TUN device that an interceptor reads. */

import { NetworkNamespace, openTun, type TunDevice, type TunOptions } from 'tuntap-native';
import { type InterceptOptions, type Interceptor, intercept } from 'tuntap-native/intercept';

export interface Intercepted {
  readonly namespace: NetworkNamespace;
  readonly tun: TunDevice;
  readonly interceptor: Interceptor;
}

export interface InterceptedOptions extends InterceptOptions {
  readonly tun?: TunOptions;
}

/** The client is 192.0.2.1 and 2001:db8::1; everything else lies behind the device. */
export async function withIntercepted(
  options: InterceptedOptions,
  body: (intercepted: Intercepted) => Promise<void>,
): Promise<void> {
  await using namespace = await NetworkNamespace.create();
  await using tun = openTun('tun0', {
    offload: 'raw',
    ...options.tun,
    namespace,
    addresses: ['192.0.2.1/24', '2001:db8::1/64'],
    up: true,
  });
  await namespace.addRoute({ destination: '0.0.0.0/0', device: 'tun0' });
  await namespace.addRoute({ destination: '::/0', device: 'tun0' });
  const { tun: _, ...rest } = options;
  await using interceptor = await intercept(tun, rest);
  await body({ namespace, tun, interceptor });
}
