/** Makes the routes and rules of a tunnel, keeps them up to date, and removes them. */

import type { NetworkNamespace } from '../net/index.js';
import type { RouteOption } from './options.js';
import {
  defaultNetwork,
  needsMark,
  planRoutes,
  type RouteNeeds,
  type RouteOperation,
  type RouteSurroundings,
} from './routes-plan.js';

const FIRST_TABLE = 51820;

/** What {@link TunnelRoutes} needs to know of its tunnel. */
export interface TunnelRoutesOptions {
  /** The namespace of the tunnel's link. It stays the caller's. */
  readonly namespace: NetworkNamespace;
  /** The tunnel's link. */
  readonly device: string;
  readonly routes: RouteOption;
  /** Whether the UDP socket is in another namespace. */
  readonly isSocketElsewhere: boolean;
  /** The mark of the UDP socket at present; 0: none. */
  readonly getMark: () => number;
  /** Marks the packets of the UDP socket. Called if routes need a mark and there is none. */
  readonly setMark: (mark: number) => void | Promise<void>;
}

/** One plan at a time in this process, so that two tunnels never choose one table. */
let lastPlan: Promise<unknown> = Promise.resolve();

/** The routes and rules of one tunnel. Call {@link update} when its link is up, and when peers have changed. */
export class TunnelRoutes {
  readonly #options: TunnelRoutesOptions;
  #done: RouteOperation[] = [];
  #table: number | undefined;

  constructor(options: TunnelRoutesOptions) {
    this.#options = options;
  }

  /**
   * Adds what is missing for these peers, then removes what is not needed any more.
   * @param allowedIps of all peers
   * @param endpoints addresses of all peers, without ports
   * @throws EEXIST if another link has a route to one of the networks; other errors of rtnetlink. All is then as before.
   */
  async update(allowedIps: readonly string[], endpoints: readonly string[]): Promise<void> {
    const { device, routes: option, isSocketElsewhere } = this.#options;
    const needs = { device, option, allowedIps, endpoints, isSocketElsewhere };
    const result = lastPlan.then(() => this.#update(needs));
    lastPlan = result.catch(() => {});
    return result;
  }

  async #update(needs: RouteNeeds): Promise<void> {
    const markBefore = this.#options.getMark();
    const plan = planRoutes(needs, await this.#surroundings(needs));
    const planned = new Set(plan.map(identity));
    const present = new Set(this.#done.map(identity));
    const obsolete = this.#done.filter((operation) => !planned.has(identity(operation)));
    const added: RouteOperation[] = [];
    try {
      for (const operation of plan) {
        if (present.has(identity(operation))) continue;
        await this.#apply(operation);
        added.push(operation);
      }
    } catch (error) {
      await this.#undo(added).catch(() => {});
      if (this.#options.getMark() !== markBefore) await this.#options.setMark(markBefore);
      throw error;
    }
    this.#done = [...this.#done.filter((operation) => !obsolete.includes(operation)), ...added];
    await this.#undo(obsolete);
  }

  /** What is there, without this object's own; chooses a table and a mark if they are needed. */
  async #surroundings(needs: RouteNeeds): Promise<RouteSurroundings> {
    const { namespace, device, getMark, setMark } = this.#options;
    const rules = await namespace.rules({ family: 'all' });
    if (needsMark(needs)) {
      this.#table ??= getMark() || (await freeTable(namespace, new Set(rules.map(({ table }) => table))));
      if (getMark() === 0) await setMark(this.#table);
    }
    const own = new Set(this.#done.map(placeOf));
    const routes = await namespace.routes({ family: 'all', device });
    const table = this.#table ?? FIRST_TABLE;
    return {
      deviceRoutes: routes.filter((route) => !own.has(placeOf({ kind: 'route', route }))),
      rules: rules.filter((rule) => !own.has(placeOf({ kind: 'rule', rule }))),
      table,
      mark: getMark() || table,
    };
  }

  async #apply(operation: RouteOperation): Promise<void> {
    const { namespace } = this.#options;
    if (operation.kind === 'route') await namespace.addRoute(operation.route);
    else if (operation.kind === 'rule') await namespace.addRule(operation.rule);
    else if ((await namespace.sysctl(operation.name)) !== operation.value) {
      await namespace.setSysctl(operation.name, operation.value);
    }
  }

  /** Undoes all that it can, in reverse order; then throws the first error. */
  async #undo(operations: readonly RouteOperation[]): Promise<void> {
    const { namespace } = this.#options;
    const failures: unknown[] = [];
    for (const operation of operations.toReversed()) {
      try {
        if (operation.kind === 'route') await namespace.deleteRoute(operation.route);
        else if (operation.kind === 'rule') await namespace.deleteRule(operation.rule);
      } catch (error) {
        // It went with its link, or somebody else removed it.
        const { code = '' } = error as NodeJS.ErrnoException;
        if (!['ENOENT', 'ESRCH', 'ENODEV'].includes(code)) failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  /** Removes all that is left, in reverse order. Closing twice is harmless. */
  async close(): Promise<void> {
    const result = lastPlan.then(() => {
      const done = this.#done;
      this.#done = [];
      return this.#undo(done);
    });
    lastPlan = result.catch(() => {});
    return result;
  }
}

const identity = (operation: RouteOperation): string => JSON.stringify(operation);

/** The same text for an operation and for what the kernel lists of it. */
function placeOf(operation: RouteOperation): string {
  if (operation.kind === 'sysctl') return operation.name;
  if (operation.kind === 'rule') {
    const { family, priority, table } = operation.rule;
    return `rule ${family} ${priority} ${table}`;
  }
  const { destination, family, table = 'main' } = operation.route;
  return `route ${destination === 'default' ? defaultNetwork(family) : destination} ${table}`;
}

/** The first table from 51820 on that no route and no rule uses. */
async function freeTable(namespace: NetworkNamespace, used: ReadonlySet<unknown>): Promise<number> {
  let table = FIRST_TABLE;
  while (used.has(table) || (await namespace.routes({ family: 'all', table })).length > 0) table++;
  return table;
}
