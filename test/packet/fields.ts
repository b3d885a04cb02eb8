/** The named properties of a view, buffers as hex. */
export function fields(view: object, names: readonly string[]): Record<string, unknown> {
  const read = (name: string) => (view as Record<string, unknown>)[name];
  return Object.fromEntries(
    names.map((name) => [
      name,
      Buffer.isBuffer(read(name)) ? (read(name) as Buffer).toString('hex') : read(name),
    ]),
  );
}
