/** What the backends do with links of their own. */

import type { Link, NetworkNamespace } from 'tuntap-native/net';

/** Deletes a link if there is one of that name. */
export async function deleteLink(host: NetworkNamespace, name: string): Promise<void> {
  try {
    await (await host.link(name)).delete();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENODEV') throw error;
  }
}

/** Watches whether somebody deletes a link. */
export function onceDeleted(
  { namespace, index, name }: Link,
  fail: (error: Error) => void,
): { close(): Promise<void> } {
  const monitor = namespace.monitor({ types: ['link'], snapshot: true });
  void (async () => {
    for await (const event of monitor) {
      const isGone =
        event.type === 'snapshot'
          ? !event.links?.some((link) => link.index === index)
          : event.type === 'link' && event.change === 'deleted' && event.link.index === index;
      if (isGone) fail(new Error(`Somebody has deleted ${name}`));
    }
  })().catch(fail);
  return { close: () => monitor.close() };
}
