// Runs a command inside a network namespace: namespace_exec FD ETC SIGNAL COMMAND [ARGUMENT]...
//
// A child process inherits the namespace of the thread that forks it, and a JavaScript thread never changes
// its own. So NetworkNamespace.spawn() starts this program, which enters the namespace and becomes the
// command. As `ip netns exec` does (netns_switch() of iproute2's lib/namespace.c), it gives the command a
// mount namespace of its own, in which /sys is that of the network namespace, and the files of the directory
// ETC, unless that is empty, hide those of the same name under /etc. The command gets SIGNAL, unless that is
// 0, when the thread ends that started it. A failure is told on stderr, with status 127 if the command was
// not found, else 126.

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <unistd.h>

// Enters a network namespace, and if that is not permitted, the user namespace first that it belongs to.
// Returns 0, or -1 with errno set.
static int enter(int namespace_fd) {
  if (setns(namespace_fd, CLONE_NEWNET) == 0) return 0;
  const int owner = errno == EPERM ? ioctl(namespace_fd, NS_GET_USERNS) : -1;
  if (owner < 0 || setns(owner, CLONE_NEWUSER) != 0) {
    errno = EPERM;
    return -1;
  }
  close(owner);
  return setns(namespace_fd, CLONE_NEWNET);
}

static void mount_sysfs(void) {
  // The flags of statvfs(3) have the values of mount(2)'s. A /sys that was read-only stays so.
  struct statvfs now;
  unsigned long flags = 0;
  if (statvfs("/sys", &now) == 0) flags = now.f_flag & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC);
  (void)mount("sysfs", "/sys", "sysfs", flags, NULL);
}

static void bind_etc(const char* directory) {
  char from[PATH_MAX], to[PATH_MAX];
  DIR* entries = opendir(directory);
  if (entries == NULL) return;
  for (struct dirent* entry; (entry = readdir(entries)) != NULL;) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    if (snprintf(from, sizeof(from), "%s/%s", directory, entry->d_name) >= PATH_MAX) continue;
    if (snprintf(to, sizeof(to), "/etc/%s", entry->d_name) >= PATH_MAX) continue;
    if (mount(from, to, "none", MS_BIND, NULL) != 0) {
      fprintf(stderr, "mounting %s on %s: %s\n", from, to, strerror(errno));
    }
  }
  closedir(entries);
}

// Best effort: most commands run as well without their own /sys and /etc.
static void set_up_mounts(const char* etc) {
  if (unshare(CLONE_NEWNS) != 0) return;
  if (mount("", "/", "none", MS_SLAVE | MS_REC, NULL) != 0) return;
  mount_sysfs();
  if (etc[0] == '\0') return;
  bind_etc(etc);
  // nscd(8) would look names up outside, and by the files of /etc there.
  (void)mount("none", "/run/nscd", "tmpfs", 0, NULL);
}

int main(int argc, char** argv) {
  if (argc < 5) {
    fprintf(stderr, "usage: namespace_exec FD ETC SIGNAL COMMAND [ARGUMENT]...\n");
    return 126;
  }
  const int namespace_fd = atoi(argv[1]);
  if (enter(namespace_fd) != 0) {
    fprintf(stderr, "entering the network namespace: %s\n", strerror(errno));
    return 126;
  }
  close(namespace_fd);
  set_up_mounts(argv[2]);
  // Entering a user namespace would clear it.
  (void)prctl(PR_SET_PDEATHSIG, atoi(argv[3]));
  execvp(argv[4], argv + 4);
  const int error = errno;
  fprintf(stderr, "%s: %s\n", argv[4], strerror(error));
  return error == ENOENT ? 127 : 126;
}
