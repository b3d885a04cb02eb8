/** `up FILE`: brings up what a wg-quick file describes, until it is told to stop. */

import { type Command, type Context, oneLine, type Tunnel, type Warn, warnTo } from './command.js';
import { type ConfigFile, readConfigFile } from './config-file.js';
import { setDns } from './dns.js';
import { dropForeignPackets } from './firewall.js';
import { hookNames, runHooks } from './hooks.js';
import { saveConfig } from './save.js';
import { StatusDisplay, shortKey } from './status.js';
import { isInterruption, stopSignal, unlessAborted } from './stop-signal.js';

/** What one run of the command has set up. */
class Session {
  readonly #context: Context;
  readonly #file: ConfigFile;
  readonly #display: StatusDisplay;
  readonly #warn: Warn;
  readonly #undo: (() => Promise<void>)[] = [];
  #tunnel: Tunnel | undefined;
  #isUp = false;
  /** Whether a step of taking down failed. */
  hasFailed = false;

  constructor(context: Context, file: ConfigFile) {
    this.#context = context;
    this.#file = file;
    this.#warn = warnTo(context);
    this.#display = new StatusDisplay(context.stdout, context.env);
  }

  #hooks(commands: readonly string[]): Promise<void> {
    return runHooks(commands, this.#file.name, this.#context.env, (line) => this.#display.message(line));
  }

  /** Sets up everything. `ended` resolves if the tunnel closes by itself. */
  async start(signal: AbortSignal): Promise<{ ended: Promise<void> }> {
    const { name, config } = this.#file;
    const { env, openTunnel } = this.#context;
    await this.#hooks(config.preUp);
    const { dns, searchDomains, preUp, postUp, preDown, postDown, saveConfig: _, ...options } = config;
    const tunnel = await unlessAborted(signal, (opening) =>
      openTunnel(name, { ...options, control: true, signal: opening }),
    );
    this.#tunnel = tunnel;
    const ended = new Promise<void>((resolve) => {
      tunnel.on('close', () => {
        this.#tunnel = undefined;
        resolve();
      });
    });
    this.#watch(tunnel);
    this.#undo.push(async () => tunnel.close());
    await this.#add(dropForeignPackets(config, name, env, this.#warn));
    await this.#add(setDns({ dns, searchDomains }, name, env, this.#warn));
    await this.#hooks(postUp);
    this.#isUp = true;
    const { length } = config.peers;
    this.#display.message(`${name} is up, with ${length} ${length === 1 ? 'peer' : 'peers'}`);
    this.#display.start(() => tunnel.peers());
    return { ended };
  }

  async #add(step: Promise<(() => Promise<void>) | undefined>): Promise<void> {
    const undo = await step;
    if (undo) this.#undo.push(undo);
  }

  #watch(tunnel: Tunnel): void {
    const { name } = this.#file;
    const tell = (key: string, text: string) =>
      this.#display.message(`${name}: peer ${shortKey(key)}: ${text}`);
    tunnel.on('handshake', ({ publicKey, endpoint }) => tell(publicKey, `handshake with ${endpoint}`));
    tunnel.on('roam', ({ publicKey, endpoint }) => tell(publicKey, `is at ${endpoint} now`));
    tunnel.on('expired', ({ publicKey }) => tell(publicKey, 'does not answer, its keys have expired'));
    tunnel.on('error', (error) => this.#display.message(`${name}: ${oneLine(error)}`));
  }

  /** Takes down all that was set up. A step that fails is reported, and the others are taken all the same. */
  async stop(): Promise<void> {
    const { name, config } = this.#file;
    this.#display.stop();
    if (this.#isUp && this.#tunnel) {
      await this.#try(() => this.#hooks(config.preDown));
      if (config.saveConfig) await this.#try(() => saveConfig(this.#file));
    }
    for (const undo of this.#undo.reverse()) await this.#try(undo);
    if (!this.#isUp) return;
    await this.#try(() => this.#hooks(config.postDown));
    this.#display.message(`${name} is down`);
  }

  async #try(step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch (error) {
      this.hasFailed = true;
      this.#context.stderr.write(`${this.#file.name}: ${oneLine(error)}\n`);
    }
  }
}

export const up: Command = {
  usage: 'FILE [--hooks]',
  summary: 'Brings up the interface of a wg-quick file, until Ctrl-C. --hooks lets PreUp and the like run.',
  positionals: [1, 1],
  options: { hooks: { type: 'boolean' } },
  async run(context, [argument], { hooks }) {
    const file = readConfigFile(argument);
    for (const warning of file.warnings) warnTo(context)(warning);
    const names = hookNames(file.config);
    // To skip a command that keeps packets from leaving unencrypted would be worse than to stop.
    if (names.length > 0 && !hooks) {
      throw new Error(`${argument} has commands (${names.join(', ')}), which run only with --hooks`);
    }
    using stop = stopSignal();
    const session = new Session(context, file);
    try {
      const { ended } = await session.start(stop.signal);
      const byItself = await Promise.race([stop.received.then(() => false), ended.then(() => true)]);
      if (byItself) throw new Error(`${file.name} was removed from outside`);
    } catch (error) {
      if (!isInterruption(stop.signal, error)) throw error;
    } finally {
      await session.stop();
    }
    return session.hasFailed ? 1 : 0;
  },
};
