/** Why a user namespace could not be made, and what to do. */

import { readFileSync } from 'node:fs';
import { type SystemError, systemError } from '../../system-error.js';

/** Settings that forbid user namespaces, or network namespaces in them, what they have when they do, and the cure. */
const SETTINGS: readonly [path: string, forbids: string, cure: string][] = [
  [
    '/proc/sys/kernel/apparmor_restrict_unprivileged_userns',
    '1',
    "give this program an AppArmor profile with 'userns,', or set kernel.apparmor_restrict_unprivileged_userns to 0",
  ],
  ['/proc/sys/kernel/unprivileged_userns_clone', '0', 'set kernel.unprivileged_userns_clone to 1'],
  ['/proc/sys/user/max_user_namespaces', '0', 'set user.max_user_namespaces to 1000, say'],
  ['/proc/sys/user/max_net_namespaces', '0', 'set user.max_net_namespaces to 1000, say'],
];

/** The setting of this machine that forbids user namespaces, and the cure; undefined if none does. */
export function userNamespaceObstacle(read: (path: string) => string = readSetting): string | undefined {
  const found = SETTINGS.find(([path, forbids]) => read(path) === forbids);
  return found && `${found[0]} is ${found[1]}: ${found[2]}`;
}

/** The error of a namespace that could not be made in a user namespace. */
export function userNamespaceError(errno: number): SystemError {
  const error = systemError(errno, 'clone CLONE_NEWUSER');
  const obstacle =
    userNamespaceObstacle() ??
    "A container's seccomp profile, or a limit on user namespaces, may forbid it; see docs/permissions.md";
  error.message += `: making a network namespace needs CAP_SYS_ADMIN, or a user namespace. ${obstacle}`;
  return error;
}

function readSetting(path: string): string {
  try {
    return readFileSync(path, 'latin1').trim();
  } catch {
    return ''; // this kernel has no such setting
  }
}
