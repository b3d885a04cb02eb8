// Runs a command inside a network namespace:
//   namespace_exec FD ETC REQUIRED SIGNAL FILES [NAME CONTENT]... COMMAND [ARGUMENT]...
//
// A child process inherits the namespace of the thread that forks it, and a JavaScript thread never changes
// its own. So NetworkNamespace.spawn() starts this program, which enters the namespace and becomes the
// command. As `ip netns exec` does (netns_switch() of iproute2's lib/namespace.c), it gives the command a
// mount namespace of its own, in which /sys is that of the network namespace, and the files of the directory
// ETC, unless that is empty, hide those of the same name under /etc; if REQUIRED is 1, all of them or nothing
// runs. If there are FILES, pairs of a name and a content, they take the place of that directory; they are in
// memory, so nothing of them can be left over. The command gets SIGNAL, unless that is 0, when the thread
// ends that started it. A failure is told on stderr, with status 127 if the command was not found, else 126.
//
//   namespace_exec guard INODE
//
// Waits until nobody can write to its standard input any more, which is so once the process that has the
// other end was killed. Then it kills all processes that are in its network namespace, which must have this
// inode number: nothing is killed by mistake.

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

// Enters a network namespace, and if that is not permitted, the user namespace first that it belongs to.
// Returns 0, or -1 with errno set.
static int enter(int namespace_fd) {
  // To enter the namespace where this process is already would be a privilege, too.
  struct stat here, there;
  if (stat("/proc/self/ns/net", &here) == 0 && fstat(namespace_fd, &there) == 0 &&
      here.st_ino == there.st_ino && here.st_dev == there.st_dev) {
    return 0;
  }
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

// Returns 0, or -1 if something is not hidden.
static int bind_etc(const char* directory) {
  char from[PATH_MAX], to[PATH_MAX];
  DIR* entries = opendir(directory);
  if (entries == NULL) return -1;
  int result = 0;
  for (struct dirent* entry; (entry = readdir(entries)) != NULL;) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    const int fits = snprintf(from, sizeof(from), "%s/%s", directory, entry->d_name) < PATH_MAX &&
                     snprintf(to, sizeof(to), "/etc/%s", entry->d_name) < PATH_MAX;
    if (fits && mount(from, to, "none", MS_BIND, NULL) == 0) continue;
    if (fits) fprintf(stderr, "mounting %s on %s: %s\n", from, to, strerror(errno));
    result = -1;
  }
  closedir(entries);
  return result;
}

// Returns 0, or -1 if not all of the content is in a new file.
static int write_file(const char* path, const char* content) {
  const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) return -1;
  size_t left = strlen(content);
  while (left > 0) {
    const ssize_t written = write(fd, content, left);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) break;
    content += written;
    left -= (size_t)written;
  }
  close(fd);
  return left == 0 ? 0 : -1;
}

static int write_files(const char* directory, int count, char** files) {
  // A umask must not keep the command from reading them.
  const mode_t mask = umask(022);
  int result = 0;
  for (int i = 0; i < count && result == 0; i++) {
    char path[PATH_MAX];
    const int fits = snprintf(path, sizeof(path), "%s/%s", directory, files[2 * i]) < PATH_MAX;
    result = fits ? write_file(path, files[2 * i + 1]) : -1;
  }
  umask(mask);
  return result;
}

// Binds files that are nowhere else. The mount of a file outlasts that of its file system.
static int bind_contents(int count, char** files) {
  // Any directory that is there will do, if no file of /etc is a link into it.
  const char* directory = "/sys";
  if (mount("none", directory, "tmpfs", 0, "mode=755") != 0) return -1;
  int result = write_files(directory, count, files);
  if (result == 0) result = bind_etc(directory);
  if (umount2(directory, MNT_DETACH) != 0) return -1;
  return result;
}

// Returns what has failed, with errno, or NULL. Most commands run as well without their own /sys.
static const char* set_up_mounts(const char* etc, int count, char** files) {
  if (unshare(CLONE_NEWNS) != 0) return "a mount namespace of its own";
  if (mount("", "/", "none", MS_SLAVE | MS_REC, NULL) != 0) return "mount of /";
  mount_sysfs();
  if (etc[0] == '\0' && count == 0) return NULL;
  // nscd(8) would look names up outside, and by the files of /etc there.
  if (mount("none", "/run/nscd", "tmpfs", 0, NULL) != 0 && errno != ENOENT) return "mount of /run/nscd";
  const int result = count > 0 ? bind_contents(count, files) : bind_etc(etc);
  return result == 0 ? NULL : "mount of a file";
}

// Kills the processes whose network namespace is `own`, but this one. Returns whether there were some.
static int kill_all(const struct stat* own) {
  DIR* processes = opendir("/proc");
  if (processes == NULL) return 0;
  int found = 0;
  for (struct dirent* entry; (entry = readdir(processes)) != NULL;) {
    const pid_t pid = atoi(entry->d_name);
    if (pid <= 0 || pid == getpid()) continue;
    char path[64];
    struct stat namespace;
    (void)snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
    if (stat(path, &namespace) != 0 || namespace.st_ino != own->st_ino || namespace.st_dev != own->st_dev)
      continue;
    if (kill(pid, SIGKILL) == 0) found = 1;
  }
  closedir(processes);
  return found;
}

static int guard(const char* inode) {
  // Ctrl-C, and a terminal that goes away, are for the command.
  (void)setsid();
  struct stat own;
  if (stat("/proc/self/ns/net", &own) != 0 || own.st_ino != strtoul(inode, NULL, 10)) return 126;
  char byte;
  for (ssize_t got = 1; got > 0 || (got < 0 && errno == EINTR);) got = read(0, &byte, 1);
  // What is being killed may have begun others, and takes a while.
  for (int i = 0; i < 1000 && kill_all(&own); i++) (void)usleep(10000);
  return 0;
}

int main(int argc, char** argv) {
  if (argc == 3 && strcmp(argv[1], "guard") == 0) return guard(argv[2]);
  const int file_count = argc > 5 ? atoi(argv[5]) : 0;
  char** const files = argv + 6;
  char** const command = files + 2 * file_count;
  if (file_count < 0 || argc - (command - argv) < 1) {
    fprintf(stderr,
            "usage: namespace_exec FD ETC REQUIRED SIGNAL FILES [NAME CONTENT]... COMMAND [ARGUMENT]...\n");
    return 126;
  }
  const pid_t parent = getppid();
  const int namespace_fd = atoi(argv[1]);
  if (enter(namespace_fd) != 0) {
    fprintf(stderr, "entering the network namespace: %s\n", strerror(errno));
    return 126;
  }
  close(namespace_fd);
  const char* const failed = set_up_mounts(argv[2], file_count, files);
  if (failed != NULL && atoi(argv[3]) != 0) {
    fprintf(stderr, "the files %s can't hide those of /etc: %s: %s\n", file_count > 0 ? "given" : argv[2],
            failed, strerror(errno));
    return 126;
  }
  // Entering a user namespace would clear it. It comes too late for a parent that has ended already.
  (void)prctl(PR_SET_PDEATHSIG, atoi(argv[4]));
  if (getppid() != parent) return 126;
  execvp(command[0], command);
  const int error = errno;
  fprintf(stderr, "%s: %s\n", command[0], strerror(error));
  return error == ENOENT ? 127 : 126;
}
