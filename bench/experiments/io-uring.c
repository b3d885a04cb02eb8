// bench/forwarder.c by io_uring: a multishot read into provided buffers for each device, and the writes of
// what came submitted together. One system call submits all writes and waits for the next completions.
// Without liburing. Usage: io-uring NAMESPACE_PATH NAME NAMESPACE_PATH NAME [vnet]
//
// Needs Linux 6.7 (IORING_OP_READ_MULTISHOT).

#define _GNU_SOURCE
#include <errno.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "../open-tun.h"

enum { READ_MULTISHOT = 49, ENTRIES = 1024, BUFFERS = 256 };

static struct {
  int fd;
  unsigned *sq_tail, *sq_mask, *cq_head, *cq_tail, *cq_mask;
  struct io_uring_sqe* sqes;
  struct io_uring_cqe* cqes;
  unsigned pending;
} ring;

// A device's buffers: the kernel takes one for each read, and gets it back after the write.
static struct {
  struct io_uring_buf_ring* ring;
  uint8_t* memory;
} pools[2];

static size_t buffer_size;

static void set_up_ring(void) {
  struct io_uring_params parameters;
  memset(&parameters, 0, sizeof(parameters));
  parameters.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE;
  parameters.cq_entries = 4 * ENTRIES;
  ring.fd = (int)syscall(__NR_io_uring_setup, ENTRIES, &parameters);
  if (ring.fd < 0) fail("io_uring_setup");
  const size_t size = parameters.cq_off.cqes + parameters.cq_entries * sizeof(struct io_uring_cqe) +
                      parameters.sq_off.array + ENTRIES * sizeof(unsigned);
  uint8_t* const rings =
      mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, IORING_OFF_SQ_RING);
  ring.sqes = mmap(NULL, ENTRIES * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_POPULATE, ring.fd, IORING_OFF_SQES);
  if (rings == MAP_FAILED || ring.sqes == MAP_FAILED) fail("mmap");
  ring.sq_tail = (unsigned*)(rings + parameters.sq_off.tail);
  ring.sq_mask = (unsigned*)(rings + parameters.sq_off.ring_mask);
  ring.cq_head = (unsigned*)(rings + parameters.cq_off.head);
  ring.cq_tail = (unsigned*)(rings + parameters.cq_off.tail);
  ring.cq_mask = (unsigned*)(rings + parameters.cq_off.ring_mask);
  ring.cqes = (struct io_uring_cqe*)(rings + parameters.cq_off.cqes);
  unsigned* const array = (unsigned*)(rings + parameters.sq_off.array);
  for (unsigned i = 0; i < ENTRIES; i++) array[i] = i;
}

static void enter(unsigned wait) {
  const int submitted =
      (int)syscall(__NR_io_uring_enter, ring.fd, ring.pending, wait, IORING_ENTER_GETEVENTS, NULL, 0);
  if (submitted < 0) {
    if (errno != EINTR) fail("io_uring_enter");
    return;
  }
  ring.pending -= (unsigned)submitted;
}

static struct io_uring_sqe* next_sqe(void) {
  if (ring.pending == ENTRIES) enter(0);
  const unsigned tail = *ring.sq_tail;
  struct io_uring_sqe* const sqe = &ring.sqes[tail & *ring.sq_mask];
  memset(sqe, 0, sizeof(*sqe));
  __atomic_store_n(ring.sq_tail, tail + 1, __ATOMIC_RELEASE);
  ring.pending++;
  return sqe;
}

static void give_buffer(int pool, unsigned id) {
  struct io_uring_buf_ring* const buffers = pools[pool].ring;
  struct io_uring_buf* const buffer = &buffers->bufs[buffers->tail & (BUFFERS - 1)];
  buffer->addr = (uintptr_t)(pools[pool].memory + id * buffer_size);
  buffer->len = (uint32_t)buffer_size;
  buffer->bid = (uint16_t)id;
  __atomic_store_n(&buffers->tail, (uint16_t)(buffers->tail + 1), __ATOMIC_RELEASE);
}

static void set_up_pool(int pool) {
  const size_t size = BUFFERS * sizeof(struct io_uring_buf);
  pools[pool].ring = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  pools[pool].memory = malloc(BUFFERS * buffer_size);
  if (pools[pool].ring == MAP_FAILED || pools[pool].memory == NULL) fail("memory");
  struct io_uring_buf_reg registration;
  memset(&registration, 0, sizeof(registration));
  registration.ring_addr = (uintptr_t)pools[pool].ring;
  registration.ring_entries = BUFFERS;
  registration.bgid = (uint16_t)pool;
  if (syscall(__NR_io_uring_register, ring.fd, IORING_REGISTER_PBUF_RING, &registration, 1) != 0) {
    fail("IORING_REGISTER_PBUF_RING");
  }
  for (unsigned id = 0; id < BUFFERS; id++) give_buffer(pool, id);
}

// What a completion belongs to: the device that was read, and for a write the buffer.
enum { IS_WRITE = 1 << 17, DEVICE_BIT = 16 };

static void start_reading(int device, int fd) {
  struct io_uring_sqe* const sqe = next_sqe();
  sqe->opcode = READ_MULTISHOT;
  sqe->fd = fd;
  sqe->off = (uint64_t)-1;
  sqe->flags = IOSQE_BUFFER_SELECT;
  sqe->buf_group = (uint16_t)device;
  sqe->user_data = (uint64_t)device << DEVICE_BIT;
}

static void start_writing(int device, int fd, unsigned id, unsigned length) {
  struct io_uring_sqe* const sqe = next_sqe();
  sqe->opcode = IORING_OP_WRITE;
  sqe->fd = fd;
  sqe->off = (uint64_t)-1;
  sqe->addr = (uintptr_t)(pools[device].memory + id * buffer_size);
  sqe->len = length;
  sqe->user_data = IS_WRITE | ((uint64_t)device << DEVICE_BIT) | id;
}

int main(int argc, char** argv) {
  if (argc < 5) {
    fprintf(stderr, "usage: io-uring NAMESPACE_PATH NAME NAMESPACE_PATH NAME [vnet]\n");
    return 1;
  }
  const int vnet = argc > 5 && strcmp(argv[5], "vnet") == 0;
  buffer_size = vnet ? 65536 + 64 : 2048;
  // Not O_NONBLOCK: io_uring would give EAGAIN in place of waiting.
  const int fds[2] = {open_tun(argv[1], argv[2], vnet), open_tun(argv[3], argv[4], vnet)};
  set_up_ring();
  for (int device = 0; device < 2; device++) {
    set_up_pool(device);
    start_reading(device, fds[device]);
  }
  puts("ready");
  fflush(stdout);
  int stopped[2] = {0, 0};
  for (;;) {
    enter(1);
    unsigned head = *ring.cq_head;
    const unsigned tail = __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE);
    for (; head != tail; head++) {
      const struct io_uring_cqe cqe = ring.cqes[head & *ring.cq_mask];
      const int device = (int)(cqe.user_data >> DEVICE_BIT) & 1;
      if (cqe.user_data & IS_WRITE) {
        give_buffer(device, cqe.user_data & 0xffff);
        continue;
      }
      if (cqe.res > 0) {
        start_writing(device, fds[1 - device], cqe.flags >> IORING_CQE_BUFFER_SHIFT, (unsigned)cqe.res);
      } else if (cqe.res != -ENOBUFS && cqe.res != -EAGAIN) {
        errno = -cqe.res;
        fail("read");
      }
      if (!(cqe.flags & IORING_CQE_F_MORE)) stopped[device] = 1;
    }
    __atomic_store_n(ring.cq_head, head, __ATOMIC_RELEASE);
    for (int device = 0; device < 2; device++) {
      // It stops where no buffer is left; the writes that hold them are submitted before it goes on.
      if (stopped[device]) {
        if (ring.pending > 0) enter(0);
        start_reading(device, fds[device]);
        stopped[device] = 0;
      }
    }
  }
}
