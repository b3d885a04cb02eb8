/** A wg-quick file on disk. */

import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { basename, dirname } from 'node:path';
import { type ParsedConfig, parseConfig } from '../wireguard/index.js';
import { oneLine } from './command.js';

const DIRECTORY = '/etc/wireguard';
const NAME = /^[a-zA-Z0-9_=+.-]{1,15}$/; // as wg-quick allows it
const SUFFIX = '.conf';

/** A file that was read. */
export interface ConfigFile {
  /** Without symbolic links. */
  readonly path: string;
  /** The interface's name, which the file's is without `.conf`. */
  readonly name: string;
  readonly config: ParsedConfig;
  /** What the user should know of the file. */
  readonly warnings: readonly string[];
}

/**
 * Reads the file of an interface.
 * @param argument a path, or the name of an interface whose file is in /etc/wireguard
 * @throws Error that names the file, and the line if one is wrong
 */
export function readConfigFile(argument: string): ConfigFile {
  const file = !existsSync(argument) && NAME.test(argument) ? `${DIRECTORY}/${argument}${SUFFIX}` : argument;
  const name = basename(file).slice(0, -SUFFIX.length);
  if (!file.endsWith(SUFFIX) || !NAME.test(name) || name === '.' || name === '..') {
    throw new Error(`${file}: the file's name must be the interface's, at most 15 characters, and ${SUFFIX}`);
  }
  const warnings: string[] = [];
  const path = realpathSync(file);
  const text = readFileSync(path, 'utf8');
  if (statSync(path).mode & statSync(dirname(path)).mode & 0o007) {
    warnings.push(`${file}: everybody can read this file, which holds secrets; chmod 600 helps`);
  }
  try {
    const config = parseConfig(text, ({ message }) => warnings.push(`${file}: ${message}`));
    return { path, name, config, warnings };
  } catch (error) {
    throw new Error(`${file}: ${oneLine(error)}`);
  }
}

/** Replaces a file as a whole: whatever happens, either the old or the new one is there. Only this user may read it. */
export function replaceFile(path: string, text: string): void {
  const temporary = `${path}.tmp`;
  rmSync(temporary, { force: true });
  try {
    const fd = openSync(temporary, 'wx', 0o600);
    try {
      writeSync(fd, text);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}
