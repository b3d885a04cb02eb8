// bench/forwarder.c with reading on a thread of its own, which hands packets to the writing thread by a ring;
// that is woken by an eventfd where it sleeps, as an event loop would be. Usage: reader-thread NAMESPACE_PATH
// NAME NAMESPACE_PATH NAME [vnet]

#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/eventfd.h>

#include "../open-tun.h"

enum { SLOTS = 256, SLOT_SIZE = 65536 + 64 };

static struct slot {
  size_t length;
  int from;
  uint8_t packet[SLOT_SIZE];
} slots[SLOTS];

static atomic_uint head, tail;  // the writer's and the reader's position
static atomic_int writer_sleeps, reader_sleeps;
static int wake_writer, wake_reader;
static struct pollfd devices[2];

static void wake(int fd, atomic_int* sleeps) {
  const uint64_t one = 1;
  if (atomic_exchange(sleeps, 0) && write(fd, &one, sizeof(one)) < 0) fail("eventfd");
}

// Sleeps until `*position` is not `seen`.
static void wait_for_change(int fd, atomic_int* sleeps, atomic_uint* position, unsigned seen) {
  uint64_t count;
  atomic_store(sleeps, 1);
  if (atomic_load(position) != seen && atomic_exchange(sleeps, 0)) return;
  if (read(fd, &count, sizeof(count)) < 0 && errno != EINTR) fail("eventfd");
}

static void* read_devices(void* unused) {
  (void)unused;
  for (;;) {
    if (poll(devices, 2, -1) < 0 && errno != EINTR) fail("poll");
    for (int from = 0; from < 2; from++) {
      if (devices[from].revents & POLLERR) exit(0);
      if (!(devices[from].revents & POLLIN)) continue;
      for (int count = 0; count < 256; count++) {
        const unsigned at = atomic_load(&tail);
        for (unsigned seen; at - (seen = atomic_load(&head)) == SLOTS;) {
          wait_for_change(wake_reader, &reader_sleeps, &head, seen);
        }
        struct slot* const slot = &slots[at % SLOTS];
        const ssize_t length = read(devices[from].fd, slot->packet, SLOT_SIZE);
        if (length < 0) break;
        slot->length = (size_t)length;
        slot->from = from;
        atomic_store(&tail, at + 1);
        wake(wake_writer, &writer_sleeps);
      }
    }
  }
  return NULL;
}

int main(int argc, char** argv) {
  if (argc < 5) {
    fprintf(stderr, "usage: reader-thread NAMESPACE_PATH NAME NAMESPACE_PATH NAME [vnet]\n");
    return 1;
  }
  const int vnet = argc > 5 && strcmp(argv[5], "vnet") == 0;
  for (int i = 0; i < 2; i++) {
    devices[i] = (struct pollfd){open_tun(argv[1 + 2 * i], argv[2 + 2 * i], vnet), POLLIN, 0};
    if (fcntl(devices[i].fd, F_SETFL, O_NONBLOCK) != 0) fail("O_NONBLOCK");
  }
  wake_writer = eventfd(0, EFD_CLOEXEC);
  wake_reader = eventfd(0, EFD_CLOEXEC);
  pthread_t reader;
  if (pthread_create(&reader, NULL, read_devices, NULL) != 0) fail("pthread_create");
  puts("ready");
  fflush(stdout);
  for (;;) {
    const unsigned at = atomic_load(&head);
    while (atomic_load(&tail) == at) wait_for_change(wake_writer, &writer_sleeps, &tail, at);
    const struct slot* const slot = &slots[at % SLOTS];
    // A packet that the kernel refuses is lost, as on any link.
    if (write(devices[1 - slot->from].fd, slot->packet, slot->length) < 0 && errno == EBADFD) return 0;
    atomic_store(&head, at + 1);
    wake(wake_reader, &reader_sleeps);
  }
}
