/** An open network namespace, as far as a request needs to know it. */
export interface NamespaceHandle {
  /** The nsfs fd, or -1 once closed. */
  readonly fd: number;
  /** @internal Keeps the fd open until `use` has settled, even if the namespace is closed meanwhile. */
  hold<T>(use: (fd: number) => Promise<T>): Promise<T>;
}
