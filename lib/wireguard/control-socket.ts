/** The socket by which wg(8) and other programs control a device. */

import { type FSWatcher, fstatSync, readFileSync, rmSync, type Stats, unlinkSync, watch } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { invalidArgValue } from '../arguments.js';
import { controlPath, fileAt, listen, listenAt, sameFile } from './control-path.js';
import { ByteBudget, type ControlRequest, RequestParser } from './control-request.js';
import { EINVAL, EIO } from './control-set.js';
import { formatState } from './control-state.js';
import type { ControlledDevice } from './controlled-device.js';

const MAX_CONNECTIONS = 16;
const MAX_REQUEST_BYTES = 64 << 20;
/** How long a refused client has to read the answer. */
const LINGER_MS = 1000;

/** Options of {@link openControlSocket}. */
export interface ControlSocketOptions {
  /** Where the socket is. **Default:** `/var/run/wireguard/NAME.sock`, where wg(8) finds it */
  readonly path?: string;
  /** A listening socket from a parent process, in place of a new one. It is closed with this object. */
  readonly fd?: number;
  /** How long a connection may be silent. **Default:** `60000` */
  readonly idleTimeoutMs?: number;
  /** Called once if somebody removes or replaces the socket's file: no client can come any more. */
  readonly onDeleted?: () => void;
}

/**
 * Opens a device's control socket: mode 0700, in a directory that it makes if necessary.
 * @throws Error `ERR_WG_CONTROL_IN_USE` if a process listens at the path; system errors
 */
export async function openControlSocket(
  name: string,
  device: ControlledDevice,
  options: ControlSocketOptions = {},
): Promise<ControlSocket> {
  const { path = controlPath(name), fd, idleTimeoutMs = 60_000, onDeleted = () => {} } = options;
  const server = createServer({ allowHalfOpen: true });
  server.maxConnections = MAX_CONNECTIONS;
  const place = fd === undefined ? { path, file: await listenAt(server, path) } : await adopt(server, fd);
  try {
    return new ControlSocket(server, place, device, idleTimeoutMs, onDeleted);
  } catch (error) {
    server.close();
    if (fd === undefined) rmSync(path, { force: true });
    throw error;
  }
}

/** Where a socket is, and the file that it is there; no file for one without a name. */
interface Place {
  readonly path: string;
  readonly file: Stats | undefined;
}

async function adopt(server: Server, fd: number): Promise<Place> {
  const path = boundPath(fstatSync(fd).ino);
  if (path === undefined) throw invalidArgValue('fd', fd, 'must be a unix socket');
  await listen(server, { fd });
  const file = path === '' ? undefined : fileAt(path);
  return file?.isSocket() ? { path, file } : { path: '', file: undefined };
}

/** The path of a unix socket, by proc(5), or undefined if the inode is none's. */
function boundPath(inode: number): string | undefined {
  const lines = readFileSync('/proc/net/unix', 'utf8').split('\n');
  const fields = lines.map((line) => line.trim().split(/\s+/)).find((each) => each[6] === String(inode));
  return fields?.slice(7).join(' ');
}

/** A device's control socket. */
export class ControlSocket implements AsyncDisposable {
  /** Where it is; empty for an adopted socket without a name. */
  readonly path: string;
  readonly #server: Server;
  readonly #device: ControlledDevice;
  readonly #idleTimeoutMs: number;
  readonly #connections = new Set<Socket>();
  readonly #budget = new ByteBudget(MAX_REQUEST_BYTES);
  readonly #file: Stats | undefined;
  readonly #watcher: FSWatcher | undefined;
  #lastTask: Promise<unknown> = Promise.resolve();
  #closed = false;

  /** @internal */
  constructor(
    server: Server,
    { path, file }: Place,
    device: ControlledDevice,
    idleTimeoutMs: number,
    onDeleted: () => void,
  ) {
    this.#server = server;
    this.path = path;
    this.#device = device;
    this.#idleTimeoutMs = idleTimeoutMs;
    this.#file = file;
    this.#watcher = file && this.#watch(onDeleted);
    server.on('connection', (socket) => {
      this.#connections.add(socket);
      socket.setTimeout(idleTimeoutMs, () => socket.destroy());
      socket.on('close', () => this.#connections.delete(socket));
      void this.#serve(socket);
    });
  }

  /** inotify tells of every file of the directory. */
  #watch(onDeleted: () => void): FSWatcher {
    let isTold = false;
    const check = (): void => {
      if (this.#closed || isTold || this.#isInPlace()) return;
      isTold = true;
      watcher.close();
      onDeleted();
    };
    const watcher = watch(dirname(this.path), { persistent: false }, check);
    watcher.on('error', check);
    setImmediate(check); // it may be gone already
    return watcher;
  }

  #isInPlace(): boolean {
    return sameFile(fileAt(this.path), this.#file);
  }

  async #serve(socket: Socket): Promise<void> {
    const parser = new RequestParser(this.#budget);
    try {
      for await (const bytes of socket.iterator({ destroyOnReturn: false })) {
        for (const request of parser.push(bytes as Buffer)) await this.#answer(socket, request);
      }
      const unfinished = parser.end();
      if (unfinished) await this.#answer(socket, unfinished);
      socket.end();
    } catch {
      socket.destroy(); // the client went away
    } finally {
      parser.end();
    }
  }

  /** Resolves when the answer has left, so that a client that does not read gets no further answers. */
  async #answer(socket: Socket, request: ControlRequest): Promise<void> {
    if (request.kind === 'hangUp') {
      socket.destroy();
    } else if (request.kind === 'refuse') {
      socket.end(`errno=${request.errno}\n\n`);
      // What the client still sends is thrown away; closing at once could cost it the answer.
      const timer = setTimeout(() => socket.destroy(), LINGER_MS);
      socket.on('close', () => clearTimeout(timer));
    } else {
      socket.setTimeout(0);
      const answer = await this.#inTurn(() => this.#respond(request));
      socket.setTimeout(this.#idleTimeoutMs);
      await new Promise<void>((resolve) => socket.write(answer, 'latin1', () => resolve()));
    }
  }

  /** Runs one task after the other, of all connections. */
  #inTurn<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#lastTask.then(task);
    this.#lastTask = result;
    return result;
  }

  /** Never rejects. */
  async #respond(request: ControlRequest): Promise<string> {
    try {
      if (request.kind === 'set') await this.#device.apply(request.changes);
      return `${request.kind === 'get' ? formatState(this.#device.get()) : ''}errno=0\n\n`;
    } catch (error) {
      const errno = errnoOf(error);
      // wg(8) understands no sign in the answer to a get request.
      return `errno=${request.kind === 'get' ? errno : -errno}\n\n`;
    }
  }

  /** Stops listening, ends all connections and removes the file, unless it is another's by now. Closing twice is harmless. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#watcher?.close();
    if (this.#file !== undefined && this.#isInPlace()) unlinkSync(this.path);
    for (const socket of this.#connections) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Closes, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function errnoOf(error: unknown): number {
  const { errno, code } = error as NodeJS.ErrnoException;
  if (typeof errno === 'number' && errno < 0) return -errno;
  return typeof code === 'string' && /^ERR_(WG|INVALID|OUT_OF)/.test(code) ? EINVAL : EIO;
}
