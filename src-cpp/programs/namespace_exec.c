// Runs a command inside a network namespace: namespace_exec FD COMMAND [ARGUMENT]...
//
// A child process inherits the namespace of the thread that forks it, and a JavaScript thread never changes
// its own; so NetworkNamespace.spawn() starts this program, which enters the namespace and becomes the
// command. As `ip netns exec` does, it mounts a /sys of that namespace, in a mount namespace of the command's
// own. A failure is told on stderr, with status 127 where the command was not found and 126 otherwise.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static void mount_sysfs(void) {
  // Best effort: a command that does not look at /sys runs as well without it.
  if (unshare(CLONE_NEWNS) != 0) return;
  if (mount("", "/", "none", MS_SLAVE | MS_REC, NULL) != 0) return;
  (void)mount("sysfs", "/sys", "sysfs", 0, NULL);
}

int main(int argc, char** argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: namespace_exec FD COMMAND [ARGUMENT]...\n");
    return 126;
  }
  const int namespace_fd = atoi(argv[1]);
  if (setns(namespace_fd, CLONE_NEWNET) != 0) {
    fprintf(stderr, "entering the network namespace: %s\n", strerror(errno));
    return 126;
  }
  close(namespace_fd);
  mount_sysfs();
  execvp(argv[2], argv + 2);
  const int error = errno;
  fprintf(stderr, "%s: %s\n", argv[2], strerror(error));
  return error == ENOENT ? 127 : 126;
}
