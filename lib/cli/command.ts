/** What the commands share: their surroundings, errors, and how a program of several commands runs one. */

import { readFileSync } from 'node:fs';
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { checkName } from '../arguments.js';
import type { PeerInfo, WireGuardOptions } from '../wireguard/index.js';

/** What is still under way at the end, such as output, has this long. */
const LAST_MS = 1000;

/** An open tunnel, as far as the commands use it. */
export interface Tunnel {
  readonly name: string;
  peers(): readonly PeerInfo[];
  on(event: 'handshake' | 'roam' | 'expired', listener: (peer: PeerInfo) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'close', listener: () => void): unknown;
  close(): Promise<void>;
}

/** openWireGuard, or what stands in for it in tests. */
export type OpenTunnel = (name: string, options: WireGuardOptions) => Promise<Tunnel>;

/** What a command has around it. */
export interface Context {
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  readonly env: NodeJS.ProcessEnv;
  readonly openTunnel: OpenTunnel;
}

/** Tells the user of something that does not stop the command. */
export type Warn = (line: string) => void;

export function warnTo({ stderr }: Pick<Context, 'stderr'>): Warn {
  return (line) => void stderr.write(`Warning: ${line}\n`);
}

/** The arguments are not what the command takes: exit status 2. */
export class UsageError extends Error {}

/** What a check of an argument returns. @throws UsageError instead of an error for a wrong value */
export function argument<T>(check: () => T): T {
  try {
    return check();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_INVALID_ARG_VALUE') throw error;
    throw new UsageError(oneLine(error));
  }
}

/** The value of --device, if it is given. */
export function deviceName(device: unknown): string | undefined {
  return device === undefined ? undefined : argument(() => checkName('--device', device, true));
}

/** One command of a program. */
export interface Command {
  /** Its arguments, for the help: `FILE [--hooks]`. */
  readonly usage: string;
  /** What it does, in one line. */
  readonly summary: string;
  /** How many arguments it takes, options apart. */
  readonly positionals: readonly [minimum: number, maximum: number];
  readonly options?: NonNullable<ParseArgsConfig['options']>;
  /** @returns the exit status */
  run(
    context: Context,
    positionals: readonly string[],
    values: Readonly<Record<string, unknown>>,
  ): Promise<number>;
}

/** This process's surroundings. */
export function processContext(openTunnel: OpenTunnel): Context {
  const { stdin, stdout, stderr, env } = process;
  // A reader that has seen enough, such as head(1), is no error.
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit();
  });
  return { stdin, stdout, stderr, env, openTunnel };
}

/** Ends the program with that status, also if a lookup of a name goes on that nobody waits for any more. */
export function endProgram(status: number): void {
  process.exitCode = status;
  setTimeout(() => process.exit(), LAST_MS).unref();
}

/** The version of this package. */
export function version(): string {
  const manifest = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}

/** An error's message on one line. */
export function oneLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replace(/\s*\n\s*/g, ' ');
}

/**
 * Parses a command's arguments.
 * @throws UsageError
 */
export function parseArguments(
  args: readonly string[],
  { positionals: [minimum, maximum], options = {} }: Pick<Command, 'positionals' | 'options'>,
): { positionals: readonly string[]; values: Readonly<Record<string, unknown>> } {
  try {
    const help = { type: 'boolean', short: 'h' } as const;
    const parsed = parseArgs({ args: [...args], options: { ...options, help }, allowPositionals: true });
    const { length } = parsed.positionals;
    if (parsed.values.help || (length >= minimum && length <= maximum)) return parsed;
    throw new UsageError(length < minimum ? 'an argument is missing' : 'there are too many arguments');
  } catch (error) {
    if (/^ERR_PARSE_ARGS/.test((error as NodeJS.ErrnoException).code ?? ''))
      throw new UsageError(oneLine(error));
    throw error;
  }
}

function commandList(program: string, commands: ReadonlyMap<string, Command>): string {
  const rows = [...commands].map(([name, { usage, summary }]) => [`${name} ${usage}`.trim(), summary]);
  const width = Math.max(...rows.map(([left]) => left.length));
  return `Usage: ${program} COMMAND

${rows.map(([left, summary]) => `  ${left.padEnd(width)}  ${summary}\n`).join('')}
  ${program} COMMAND --help  tells more about a command
  ${program} --version       prints the version
`;
}

function commandHelp(program: string, name: string, { usage, summary, options = {} }: Command): string {
  const flags = Object.keys(options).map((flag) => ` [--${flag}]`);
  const line = usage.includes('[--') ? usage : `${usage}${flags.join('')}`;
  return `Usage: ${`${program} ${name} ${line}`.trim()}\n\n${summary}\n`;
}

/** Runs the command that the arguments name. @returns the exit status: 1 after an error, 2 after bad usage */
export async function runCommands(
  program: string,
  commands: ReadonlyMap<string, Command>,
  args: readonly string[],
  context: Context,
): Promise<number> {
  const { stdout, stderr } = context;
  const [name, ...rest] = args;
  try {
    if (name === '--version' || name === '-v') {
      stdout.write(`${version()}\n`);
      return 0;
    }
    if (name === '--help' || name === '-h' || name === 'help') {
      stdout.write(commandList(program, commands));
      return 0;
    }
    const command = commands.get(name ?? '');
    if (command === undefined) {
      throw new UsageError(name === undefined ? 'which command?' : `there is no command '${name}'`);
    }
    const { positionals, values } = parseArguments(rest, command);
    if (values.help) {
      stdout.write(commandHelp(program, name, command));
      return 0;
    }
    return await command.run(context, positionals, values);
  } catch (error) {
    const isUsage = error instanceof UsageError;
    stderr.write(`${program}: ${oneLine(error)}${isUsage ? `; see ${program} --help` : ''}\n`);
    return isUsage ? 2 : 1;
  }
}
