/** What the tests without root share: a user, and a /dev/net that may differ from the machine's. */

import { fileURLToPath } from 'node:url';
import type { Context } from 'mocha';
import type { NetworkNamespace } from 'tuntap-native';
import { inNamespace, needs, run, skip } from './support.ts';

export const USER = 65534;
export const AS_USER = ['setpriv', `--reuid=${USER}`, `--regid=${USER}`, '--clear-groups'];

// Each makes a /dev/net of its own in a mount namespace that ends with the command, so that the machine's is
// never changed.
export const TUN_FOR_ALL = 'mount -t tmpfs none /dev/net && mknod -m 666 /dev/net/tun c 10 200';
export const TUN_FOR_ROOT = 'mount -t tmpfs none /dev/net && mknod -m 600 /dev/net/tun c 10 200';
export const NO_TUN = 'mount -t tmpfs none /dev/net';
export const NO_DRIVER = 'mount -t tmpfs none /dev/net && mknod -m 666 /dev/net/tun c 511 0';

/** A command that first makes its /dev/net as `prepare` says. */
export function withDevNet(prepare: string, command: readonly string[]): [string, ...string[]] {
  return ['unshare', '--mount', 'sh', '-c', `${prepare} && exec "$@"`, 'sh', ...command];
}

/** Skips where the user may not even read this package. */
export async function needsReadable(context: Context): Promise<void> {
  needs(context, 'setpriv', 'unshare', 'ip', 'ping');
  await inNamespace(async (namespace) => {
    const { status } = await run(
      namespace,
      AS_USER[0],
      ...AS_USER.slice(1),
      process.execPath,
      '-e',
      `require('node:fs').accessSync(${JSON.stringify(fileURLToPath(import.meta.resolve('tuntap-native')))})`,
    );
    if (status === 0) return;
    skip(context, 'another user may not read this package');
  });
}

/** Skips where users may make no user namespace. */
export async function needsUserNamespace(context: Context, namespace: NetworkNamespace): Promise<void> {
  const [command, ...args] = [...AS_USER, 'unshare', '--user', '--net', 'true'];
  const { status } = await run(namespace, command, ...args);
  if (status === 0) return;
  skip(context, 'users may make no user namespace here');
}
