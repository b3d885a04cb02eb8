/** Where control sockets are, and how one takes its place there. */

import { chmodSync, lstatSync, mkdirSync, mkdtempSync, renameSync, rmSync, type Stats } from 'node:fs';
import { createConnection, type Server } from 'node:net';
import { dirname, join } from 'node:path';
import { codedError } from '../arguments.js';
import { EEXIST, EINVAL } from '../native/errno.js';
import { systemError } from '../system-error.js';

/** Where wg(8) looks for sockets. */
export const CONTROL_DIRECTORY = '/var/run/wireguard';
const MAX_PATH = 107; // sun_path of unix(7), less its NUL

/** The path of an interface's control socket. */
export function controlPath(name: string): string {
  return `${CONTROL_DIRECTORY}/${name}.sock`;
}

/** What is at a path, if anything. */
export function fileAt(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

/** Whether two calls of {@link fileAt} saw the same file. */
export function sameFile(a: Stats | undefined, b: Stats | undefined): boolean {
  return a?.ino === b?.ino && a?.dev === b?.dev;
}

/** Whether a process listens at the path. */
function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = createConnection(path, () => {
      probe.destroy();
      resolve(true);
    });
    probe.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false);
      // Its queue is full, or it is of another type: somebody has it.
      else if (error.code === 'EAGAIN' || error.code === 'EPROTOTYPE') resolve(true);
      else reject(error);
    });
  });
}

function inUse(path: string): Error {
  const message = `Another process controls an interface through '${path}'`;
  return codedError('ERR_WG_CONTROL_IN_USE', message, { path });
}

/** Listens, and resolves when that worked. */
export function listen(server: Server, options: { path: string } | { fd: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    // Exclusive: a worker of node:cluster would leave the socket to the first process.
    server.listen({ ...options, exclusive: true }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/**
 * Makes a server listen at a path that only this user may connect to. A socket that nobody listens at is replaced.
 *
 * The socket is made in a directory of its own and moved: it never stands there with other permissions, and the server
 * never removes what another process may have put there later.
 * @returns the file of the socket
 * @throws Error `ERR_WG_CONTROL_IN_USE` if a process listens there; EEXIST if another kind of file is there
 */
export async function listenAt(server: Server, path: string): Promise<Stats | undefined> {
  const directory = dirname(path);
  // A umask may have taken from the mode.
  if (mkdirSync(directory, { recursive: true, mode: 0o755 }) !== undefined) chmodSync(directory, 0o755);
  const stale = fileAt(path);
  if (stale !== undefined) {
    if (!stale.isSocket()) throw systemError(EEXIST, 'bind', path);
    if (await isAnswered(path)) throw inUse(path);
  }
  // Not join(), which takes the dot away, and the directory's name with it.
  const temporary = mkdtempSync(`${directory}/.`);
  try {
    const first = join(temporary, 's');
    if (Math.max(Buffer.byteLength(first), Buffer.byteLength(path)) > MAX_PATH) {
      throw systemError(EINVAL, 'bind', path);
    }
    await listen(server, { path: first });
    chmodSync(first, 0o700);
    const now = fileAt(path);
    // Meanwhile another process may have taken its place.
    if (now !== undefined && !sameFile(now, stale)) throw inUse(path);
    const file = fileAt(first);
    renameSync(first, path);
    return file;
  } catch (error) {
    server.close();
    throw error;
  } finally {
    rmSync(temporary, { recursive: true });
  }
}
