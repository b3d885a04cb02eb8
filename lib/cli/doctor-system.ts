/** What `doctor` says of the machine. Pure: the tests give it machines that they made up. */

import { systemError } from '../system-error.js';
import type { Finding } from './doctor-finding.js';
import type { Machine } from './doctor-machine.js';

// linux/capability.h
export const CAP_NET_ADMIN = 12n;
const CAP_SYS_ADMIN = 21n;

const PERMISSIONS = 'docs/permissions.md tells how to give a program the right';

/** Node.js, Bun or Deno, with its version. */
export function runtimeName({ versions }: Pick<Machine, 'versions'>): string {
  if (versions.bun !== undefined) return `Bun ${versions.bun}`;
  if (versions.deno !== undefined) return `Deno ${versions.deno}`;
  return `Node.js ${versions.node}`;
}

export function judgeRuntime(machine: Machine): Finding {
  const { platform, arch, libc } = machine;
  const check = 'runtime';
  if (platform !== 'linux') {
    const detail = `${runtimeName(machine)} on ${platform}-${arch}: the package works on Linux only`;
    return {
      check,
      status: 'fail',
      detail,
      advice: 'Use Linux, for example in a container or virtual machine.',
    };
  }
  return { check, status: 'ok', detail: `${runtimeName(machine)} on linux-${arch} with ${libc}` };
}

export function judgeKernel({ release }: Pick<Machine, 'release'>): Finding {
  const check = 'kernel';
  const [major = 0, minor = 0] = release.split('.').map((part) => Number.parseInt(part, 10));
  if (major > 4 || (major === 4 && minor >= 18)) return { check, status: 'ok', detail: `Linux ${release}` };
  const detail = `Linux ${release} is older than 4.18, the oldest that the package runs on`;
  return {
    check,
    status: 'fail',
    detail,
    advice: 'Use a newer kernel; docs/kernels.md tells what each one has.',
  };
}

export function judgeTunNode({ tunErrno }: Pick<Machine, 'tunErrno'>): Finding {
  const check = '/dev/net/tun';
  if (tunErrno === 0) return { check, status: 'ok', detail: 'is there and opens' };
  const { message, code } = systemError(tunErrno, 'open', check);
  return { check, status: 'fail', detail: message, advice: TUN_ADVICE[code] };
}

const LOAD =
  'Load the module: modprobe tun. In a container, pass the device: docker run --device /dev/net/tun';
const TUN_ADVICE: Readonly<Record<string, string>> = {
  ENOENT: LOAD,
  ENXIO: LOAD,
  ENODEV: LOAD,
  EACCES: 'Give this user the file: a udev rule KERNEL=="tun", MODE="0666"',
  EPERM: 'Pass the device into the container: docker run --device /dev/net/tun',
};

/** What the process may do. @param opens whether a device opened all the same, in a user namespace */
export function judgePrivileges({ status }: Pick<Machine, 'status'>, opens: boolean): Finding[] {
  const isNetAdmin = hasCapability(status, CAP_NET_ADMIN);
  const isSysAdmin = hasCapability(status, CAP_SYS_ADMIN);
  return [
    judgeCapability('CAP_NET_ADMIN', isNetAdmin, opens ? 'warn' : 'fail', {
      may: 'this process may open devices and configure links',
      lacks: opens
        ? 'devices open only in namespaces that this process makes, by NetworkNamespace.create or unshare -r -n'
        : 'this process may neither open new devices nor configure links',
      advice: `Start the program as root, or, in a container, with docker run --cap-add NET_ADMIN; ${PERMISSIONS}.`,
    }),
    judgeCapability('CAP_SYS_ADMIN', isSysAdmin, 'warn', {
      may: 'this process may create network namespaces and enter them',
      lacks: opens
        ? 'this process may enter only the network namespaces that it made'
        : 'NetworkNamespace.create, the option namespace, and labs fail with EPERM',
      advice: `You need it for namespaces and labs alone; ${PERMISSIONS}.`,
    }),
  ];
}

function judgeCapability(
  check: string,
  has: boolean,
  otherwise: 'warn' | 'fail',
  texts: { readonly may: string; readonly lacks: string; readonly advice: string },
): Finding {
  if (has) return { check, status: 'ok', detail: texts.may };
  return { check, status: otherwise, detail: `is missing: ${texts.lacks}`, advice: texts.advice };
}

/** Whether the effective set of a /proc/PID/status has a capability. */
export function hasCapability(status: string, capability: bigint): boolean {
  const [, set = '0'] = /^CapEff:\s*([0-9a-f]+)$/m.exec(status) ?? [];
  return ((BigInt(`0x${set}`) >> capability) & 1n) === 1n;
}
