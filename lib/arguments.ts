/** Errors of misuse, as Node's own: a TypeError or RangeError whose `code` says what was wrong. */

import { inspect } from 'node:util';

function withCode<E extends Error>(error: E, code: string): E & { code: string } {
  return Object.assign(error, { code });
}

/** As Node.js shows it: a stream or a device would fill a page. */
function shown(value: unknown): string {
  const kind = typeof value === 'object' && value?.constructor?.name;
  return kind && kind !== 'Object' && kind !== 'Array'
    ? `an instance of ${kind}`
    : inspect(value, { depth: 0 });
}

export function invalidArgType(name: string, expected: string, actual: unknown): TypeError {
  return withCode(
    new TypeError(`The "${name}" argument must be ${expected}. Received ${shown(actual)}`),
    'ERR_INVALID_ARG_TYPE',
  );
}

export function invalidArgValue(name: string, value: unknown, reason: string): TypeError {
  return withCode(
    new TypeError(`The "${name}" argument ${reason}. Received ${shown(value)}`),
    'ERR_INVALID_ARG_VALUE',
  );
}

export function outOfRange(name: string, range: string, value: unknown): RangeError {
  return withCode(
    new RangeError(`The value of "${name}" is out of range. It must be ${range}. Received ${inspect(value)}`),
    'ERR_OUT_OF_RANGE',
  );
}

/** Throws unless `value` is an integer from `minimum` to `maximum`. */
export function requireInteger(name: string, value: unknown, minimum: number, maximum: number): number {
  if (typeof value !== 'number') throw invalidArgType(name, 'of type number', value);
  if (!Number.isInteger(value) || value < minimum || value > maximum) {
    throw outOfRange(name, `an integer from ${minimum} to ${maximum}`, value);
  }
  return value;
}

/** Throws unless `value` is a boolean. */
export function requireBoolean(name: string, value: unknown): boolean {
  if (typeof value !== 'boolean') throw invalidArgType(name, 'of type boolean', value);
  return value;
}

/** Throws unless `key` is one of a table's; returns what the table has for it. */
export function requireOneOf<T extends object, K extends keyof T>(name: string, table: T, key: K): T[K] {
  if (Object.hasOwn(table, key)) return table[key];
  throw invalidArgValue(name, key, `must be one of ${Object.keys(table).join(', ')}`);
}

/** Checks the options that are given: some are booleans, others integers in a range. */
export function checkGiven<Options extends object>(
  options: Options,
  booleans: readonly (keyof Options & string)[],
  ranges: { readonly [Name in keyof Options]?: readonly [minimum: number, maximum: number] },
): void {
  for (const name of booleans) {
    if (options[name] !== undefined) requireBoolean(`options.${name}`, options[name]);
  }
  for (const name in ranges) {
    const [minimum, maximum] = ranges[name] as readonly [number, number];
    if (options[name] !== undefined) requireInteger(`options.${name}`, options[name], minimum, maximum);
  }
}

const MAX_NAME_BYTES = 15; // IFNAMSIZ less its NUL

/** Checks a link's name, or with `pattern` one such as `tun%d`, that the kernel is to complete. */
export function checkName(name: string, value: unknown, pattern = false): string {
  if (typeof value !== 'string') throw invalidArgType(name, 'of type string', value);
  if (Buffer.byteLength(value) > MAX_NAME_BYTES) {
    throw invalidArgValue(name, value, `must be at most ${MAX_NAME_BYTES} bytes long`);
  }
  // dev_valid_name() in net/core/dev.c.
  if (value === '' || value === '.' || value === '..' || /[/:\s\0]/.test(value)) {
    throw invalidArgValue(name, value, "must not be empty, '.' or '..', or hold '/', ':' or white space");
  }
  if (value.includes('%') && !(pattern && /^[^%]*%d[^%]*$/.test(value))) {
    const allowed = pattern
      ? "may hold '%' in one '%d' only, which the kernel replaces by a number"
      : "must not hold '%'";
    throw invalidArgValue(name, value, allowed);
  }
  return value;
}

/** Checks the MTU of a device that this package opens. */
export function checkMtu(name: string, mtu: unknown): number {
  return requireInteger(name, mtu, 68, 65535);
}

/** Of any kind of link: the loopback device's is above 65,535. The kernel knows each kind's limits. */
export function checkLinkMtu(name: string, mtu: unknown): number {
  return requireInteger(name, mtu, 68, 0x7fffffff);
}

/** Checks a link's index. */
export function checkIndex(name: string, index: unknown): number {
  return requireInteger(name, index, 1, 0x7fffffff);
}

export function requireObject(name: string, value: unknown): void {
  if (typeof value !== 'object' || value === null) throw invalidArgType(name, 'an object', value);
}

/** An error that callers match by its `code`. */
export function codedError(code: string, message: string, more?: object): Error & { code: string } {
  return Object.assign(withCode(new Error(message), code), more);
}

/** The error of a method that exists and can't work here. */
export function unsupported(what: string, instead: string): Error {
  return codedError('ERR_TUNTAP_UNSUPPORTED', `${what}: ${instead}`);
}

/** Node's error of an operation whose signal aborted; `cause` is the signal's reason. */
export function abortError({ reason }: AbortSignal): Error & { code: string } {
  const why = reason instanceof Error && reason.name !== 'AbortError' ? `: ${reason.message}` : '';
  const error = new Error(`The operation was aborted${why}`, { cause: reason });
  error.name = 'AbortError';
  return withCode(error, 'ABORT_ERR');
}

/** Throws unless `signal` is undefined or an AbortSignal that has not aborted. */
export function checkSignal(signal: unknown): void {
  if (signal === undefined) return;
  if (!(signal instanceof AbortSignal)) throw invalidArgType('options.signal', 'an AbortSignal', signal);
  if (signal.aborted) throw abortError(signal);
}
