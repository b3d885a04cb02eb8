/**
 * Joins the modules of dist/ into one file for each part of the package, since Node.js takes longer to load each of a
 * hundred files than to run it. A module's own file stays and exports what the part has of it. The command line is left
 * as it is: a command loads what it needs.
 */

import { readdirSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { rollup } from 'rollup';
import ts from 'typescript';

const dist = join(import.meta.dirname, '..', 'dist');
const folder = 'parts';
const modules = readdirSync(dist, { recursive: true })
  .filter((file) => file.endsWith('.js') && !file.startsWith(`cli${sep}`))
  .map((file) => join(dist, file));

/** What a part calls an export of a module. */
const nameInPart = (module, name) =>
  `${relative(dist, module).slice(0, -'.js'.length).replace(/\W/g, '_')}$${name}`;

/** For each module, its part and its exports. @type {Map<string, { part: string, names: readonly string[] }>} */
const found = new Map();

/** Comments are in the declarations: without them a part is loaded sooner, and the package smaller. */
const withoutComments = (code) =>
  ts.transpileModule(code, { compilerOptions: { removeComments: true, target: 'es2022', module: 'esnext' } })
    .outputText;

/** Makes a module for each part, which exports all that the part's modules export. */
const parts = {
  name: 'parts',
  async buildStart() {
    // First what `tuntap-native` itself needs; of the rest, each folder is a part.
    const needed = new Set([join(dist, 'index.js')]);
    for (const module of needed) {
      const { importedIds, exports } = await this.load({ id: module, resolveDependencies: true });
      found.set(module, { part: 'main', names: exports });
      for (const imported of importedIds) if (imported.startsWith(dist)) needed.add(imported);
    }
    for (const module of modules.filter((other) => !needed.has(other))) {
      const { exports } = await this.load({ id: module });
      // Modules of types are left as they are.
      if (exports.length > 0)
        found.set(module, { part: relative(dist, module).split(sep)[0], names: exports });
    }
    for (const part of new Set([...found.values()].map(({ part }) => part))) {
      this.emitFile({ type: 'chunk', id: `part:${part}`, fileName: join(folder, `${part}.js`) });
    }
  },
  resolveId: (id) => (id.startsWith('part:') ? id : undefined),
  renderChunk: withoutComments,
  load(id) {
    if (!id.startsWith('part:')) return undefined;
    return [...found]
      .filter(([, { part }]) => id === `part:${part}`)
      .flatMap(([module, { names }]) =>
        names.map(
          (name) => `export { ${name} as ${nameInPart(module, name)} } from ${JSON.stringify(module)};`,
        ),
      )
      .join('\n');
  },
};

const bundle = await rollup({
  plugins: [parts],
  input: [],
  external: /^node:/,
  treeshake: false,
  onwarn({ code, message }) {
    // TypeScript's helpers for `using` begin with `this`.
    if (code !== 'THIS_IS_UNDEFINED') throw new Error(message);
  },
});
await bundle.write({
  dir: dist,
  hoistTransitiveImports: false,
  manualChunks: (id) => (id.startsWith('part:') ? id.slice('part:'.length) : found.get(id)?.part),
});
await bundle.close();

for (const [module, { part, names }] of found) {
  const path = relative(dirname(module), join(dist, folder, `${part}.js`));
  const from = path.startsWith('.') ? path : `./${path}`;
  const list = names.map((name) => `${nameInPart(module, name)} as ${name}`).join(', ');
  writeFileSync(module, list === '' ? 'export {};\n' : `export { ${list} } from '${from}';\n`);
}
