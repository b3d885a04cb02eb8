/** Programs that make devices and namespaces, for users who are not root. */

import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';

const MARK = 'TUNTAP_DEMO_IN_USER_NAMESPACE';

/** Runs a program's main function as root, or this program once more as root of a user namespace. */
export async function asRoot(main: () => Promise<void>): Promise<void> {
  if (process.getuid?.() === 0 || process.env[MARK]) await main();
  else inUserNamespace();
}

/** Starts this program again as root of a user and network namespace of its own. */
function inUserNamespace(): void {
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
  } catch (error) {
    console.error(`The demo needs to open /dev/net/tun: run it as root, or give this user access.\n${error}`);
    process.exitCode = 1;
    return;
  }
  const child = spawn(
    'unshare',
    ['--user', '--map-root-user', '--net', process.execPath, ...process.argv.slice(1)],
    {
      stdio: 'inherit',
      env: { ...process.env, [MARK]: '1' },
    },
  );
  child.on('error', (error) => {
    console.error(`The demo needs root, or unshare(1) to make a user namespace.\n${error}`);
    process.exitCode = 1;
  });
  child.on('exit', (status) => {
    process.exitCode = status ?? 1;
    if (status !== 0) console.error('The demo did not finish in a user namespace: run it as root.');
  });
}
