/** The command by which the runtime of this process, Node.js, Bun or Deno, runs a program. */
export function runtimeCommand(program: string): string[] {
  return [process.execPath, ...(process.versions.deno === undefined ? [] : ['run', '-A']), program];
}
