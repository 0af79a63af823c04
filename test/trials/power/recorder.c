/*
 * Records, in one total order, the file operations of a process below one folder. Loaded with
 * LD_PRELOAD. recorder.ts builds it; trace.ts reads its output.
 *
 *   RECORDER_ROOT     the folder, as realpath gives it
 *   RECORDER_TRACE    the file to which the records are appended
 *   RECORDER_KILL_AT  the process gets SIGKILL instead of its n-th change of the folder
 *   RECORDER_FAIL_AT  its n-th sync of a file says EIO
 *
 * stdout is recorded in the same order and goes nowhere else: it is what the process has reported.
 * No fsync reaches the disk. The reader of the trace decides what is durable, so the trial is fast.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum operation { OPEN = 1, WRITE, TRUNCATE, SYNC, SYNC_DIRECTORY, RENAME, UNLINK, MAKE_DIRECTORY, REMOVE_DIRECTORY, LINK, MAP, SAY, SYNC_FAILED };

/* 32 bytes in the machine's byte order, which is little-endian. The path and the data follow. */
struct header {
  uint32_t size;
  uint32_t operation;
  uint64_t inode;
  /* The offset of a write, the size of a truncate, the flags of an open. */
  uint64_t at;
  uint32_t path_size;
  uint32_t data_size;
};

enum { WITH_CREATE = 1, WITH_TRUNCATE = 2 };

enum kind { NOT_OURS, OUR_FILE, OUR_DIRECTORY };
#define MAX_FD 65536
static struct descriptor {
  enum kind kind;
  uint64_t inode;
  char *path;
} descriptors[MAX_FD];

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static const char *root;
static size_t root_size;
static int trace = -1;
static long kill_at, changes, fail_at, syncs;

#define REAL(name) \
  static __typeof__(name) *real_##name; \
  if (real_##name == NULL) real_##name = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static void fail(const char *what) {
  fprintf(stderr, "recorder: %s (errno %d)\n", what, errno);
  abort();
}

static long number_of(const char *name) {
  const char *text = getenv(name);
  return text == NULL ? 0 : atol(text);
}

__attribute__((constructor)) static void begin(void) {
  const char *file = getenv("RECORDER_TRACE");
  root = getenv("RECORDER_ROOT");
  if (file == NULL || root == NULL) return;
  root_size = strlen(root);
  kill_at = number_of("RECORDER_KILL_AT");
  fail_at = number_of("RECORDER_FAIL_AT");
  REAL(open);
  trace = real_open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (trace < 0) fail("cannot open the trace");
}

static void write_all(const void *bytes, size_t size) {
  REAL(write);
  for (size_t at = 0; at < size;) {
    ssize_t written = real_write(trace, (const char *)bytes + at, size - at);
    if (written < 0) fail("cannot write the trace");
    at += (size_t)written;
  }
}

static void record(enum operation operation, uint64_t inode, uint64_t at, const char *path, const void *data, size_t data_size) {
  size_t path_size = path == NULL ? 0 : strlen(path);
  struct header header = {(uint32_t)(sizeof header + path_size + data_size), operation, inode, at, (uint32_t)path_size, (uint32_t)data_size};
  write_all(&header, sizeof header);
  if (path_size > 0) write_all(path, path_size);
  if (data_size > 0) write_all(data, data_size);
}

/*
 * The caller holds the mutex, so no other thread is in the middle of a change and the trace is
 * complete.
 */
static void count_change(void) {
  if (++changes != kill_at) return;
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

/*
 * Puts the path without the root into `into`. Returns NULL when the path is not below the root. The
 * root itself is the empty path.
 */
static const char *below_root(const char *path, char into[PATH_MAX]) {
  if (trace < 0 || path == NULL) return NULL;
  if (path[0] == '/') {
    if (snprintf(into, PATH_MAX, "%s", path) >= PATH_MAX) return NULL;
  } else {
    if (getcwd(into, PATH_MAX) == NULL) return NULL;
    size_t length = strlen(into);
    if (snprintf(into + length, PATH_MAX - length, "/%s", path) >= (int)(PATH_MAX - length)) return NULL;
  }
  if (strncmp(into, root, root_size) != 0) return NULL;
  if (into[root_size] == '\0') return into + root_size;
  return into[root_size] == '/' ? into + root_size + 1 : NULL;
}

static struct descriptor *descriptor_of(int fd) {
  return trace >= 0 && fd >= 0 && fd < MAX_FD && descriptors[fd].kind != NOT_OURS ? &descriptors[fd] : NULL;
}

static struct descriptor *file_of(int fd) {
  struct descriptor *descriptor = descriptor_of(fd);
  return descriptor != NULL && descriptor->kind == OUR_FILE ? descriptor : NULL;
}

/* --- opening and closing --- */

static int open_recorded(int (*real)(const char *, int, ...), const char *path, int flags, mode_t mode) {
  char absolute[PATH_MAX];
  const char *below = below_root(path, absolute);
  if (below == NULL) return real(path, flags, mode);
  pthread_mutex_lock(&mutex);
  if ((flags & (O_CREAT | O_TRUNC)) != 0) count_change();
  int fd = real(path, flags, mode);
  int error = errno;
  struct stat status;
  if (fd >= 0 && fd < MAX_FD && fstat(fd, &status) == 0) {
    enum kind kind = S_ISDIR(status.st_mode) ? OUR_DIRECTORY : S_ISREG(status.st_mode) ? OUR_FILE : NOT_OURS;
    descriptors[fd] = (struct descriptor){kind, status.st_ino, kind == OUR_DIRECTORY ? strdup(below) : NULL};
    uint64_t with = ((flags & O_CREAT) != 0 ? WITH_CREATE : 0) | ((flags & O_TRUNC) != 0 ? WITH_TRUNCATE : 0);
    if (kind == OUR_FILE) record(OPEN, status.st_ino, with, below, NULL, 0);
  }
  pthread_mutex_unlock(&mutex);
  errno = error;
  return fd;
}

#define MODE_OF(flags) \
  mode_t mode = 0; \
  if (((flags) & O_CREAT) != 0) { \
    va_list list; \
    va_start(list, flags); \
    mode = va_arg(list, mode_t); \
    va_end(list); \
  }

int open(const char *path, int flags, ...) {
  REAL(open);
  MODE_OF(flags)
  return open_recorded(real_open, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
  REAL(open64);
  MODE_OF(flags)
  return open_recorded(real_open64, path, flags, mode);
}

int close(int fd) {
  REAL(close);
  struct descriptor *descriptor = descriptor_of(fd);
  if (descriptor == NULL) return real_close(fd);
  pthread_mutex_lock(&mutex);
  free(descriptor->path);
  *descriptor = (struct descriptor){NOT_OURS, 0, NULL};
  int result = real_close(fd);
  pthread_mutex_unlock(&mutex);
  return result;
}

/* --- contents --- */

static void record_vector(struct descriptor *file, uint64_t at, const struct iovec *vector, int count, ssize_t written) {
  for (int i = 0; i < count && written > 0; i++) {
    size_t size = vector[i].iov_len < (size_t)written ? vector[i].iov_len : (size_t)written;
    record(WRITE, file->inode, at, NULL, vector[i].iov_base, size);
    at += size;
    written -= (ssize_t)size;
  }
}

/* The offset at which the last write began. Right for O_APPEND too. */
static uint64_t began_at(int fd, ssize_t written) {
  return (uint64_t)(lseek(fd, 0, SEEK_CUR) - written);
}

#define RECORDED_WRITE(call, at_expression, vector, count) \
  pthread_mutex_lock(&mutex); \
  count_change(); \
  ssize_t written = call; \
  int error = errno; \
  if (written > 0) record_vector(file, at_expression, vector, count, written); \
  pthread_mutex_unlock(&mutex); \
  errno = error; \
  return written

static ssize_t say(const void *bytes, size_t size) {
  pthread_mutex_lock(&mutex);
  record(SAY, 0, 0, NULL, bytes, size);
  pthread_mutex_unlock(&mutex);
  return (ssize_t)size;
}

ssize_t write(int fd, const void *bytes, size_t size) {
  REAL(write);
  if (trace >= 0 && fd == STDOUT_FILENO) return say(bytes, size);
  struct descriptor *file = file_of(fd);
  if (file == NULL) return real_write(fd, bytes, size);
  const struct iovec vector = {(void *)bytes, size};
  RECORDED_WRITE(real_write(fd, bytes, size), began_at(fd, written), &vector, 1);
}

ssize_t writev(int fd, const struct iovec *vector, int count) {
  REAL(writev);
  struct descriptor *file = file_of(fd);
  if (file == NULL) return real_writev(fd, vector, count);
  RECORDED_WRITE(real_writev(fd, vector, count), began_at(fd, written), vector, count);
}

#define POSITIONED_WRITES(pwrite_name, pwritev_name, offset_type) \
  ssize_t pwrite_name(int fd, const void *bytes, size_t size, offset_type at) { \
    REAL(pwrite_name); \
    struct descriptor *file = file_of(fd); \
    if (file == NULL) return real_##pwrite_name(fd, bytes, size, at); \
    const struct iovec vector = {(void *)bytes, size}; \
    RECORDED_WRITE(real_##pwrite_name(fd, bytes, size, at), (uint64_t)at, &vector, 1); \
  } \
  ssize_t pwritev_name(int fd, const struct iovec *vector, int count, offset_type at) { \
    REAL(pwritev_name); \
    struct descriptor *file = file_of(fd); \
    if (file == NULL) return real_##pwritev_name(fd, vector, count, at); \
    RECORDED_WRITE(real_##pwritev_name(fd, vector, count, at), (uint64_t)at, vector, count); \
  }
POSITIONED_WRITES(pwrite, pwritev, off_t)
POSITIONED_WRITES(pwrite64, pwritev64, off64_t)

#define TRUNCATES(name, offset_type) \
  int name(int fd, offset_type size) { \
    REAL(name); \
    struct descriptor *file = file_of(fd); \
    if (file == NULL) return real_##name(fd, size); \
    pthread_mutex_lock(&mutex); \
    count_change(); \
    int result = real_##name(fd, size); \
    int error = errno; \
    if (result == 0) record(TRUNCATE, file->inode, (uint64_t)size, NULL, NULL, 0); \
    pthread_mutex_unlock(&mutex); \
    errno = error; \
    return result; \
  }
TRUNCATES(ftruncate, off_t)
TRUNCATES(ftruncate64, off64_t)

/* Writes through the map are not seen: the reader of the trace treats the contents as unknown. */
#define MAPS(name, offset_type) \
  void *name(void *address, size_t size, int protection, int flags, int fd, offset_type at) { \
    REAL(name); \
    struct descriptor *file = file_of(fd); \
    if (file != NULL && (flags & MAP_SHARED) != 0 && (protection & PROT_WRITE) != 0) { \
      pthread_mutex_lock(&mutex); \
      record(MAP, file->inode, 0, NULL, NULL, 0); \
      pthread_mutex_unlock(&mutex); \
    } \
    return real_##name(address, size, protection, flags, fd, at); \
  }
MAPS(mmap, off_t)
MAPS(mmap64, off64_t)

static int sync_recorded(struct descriptor *descriptor) {
  pthread_mutex_lock(&mutex);
  count_change();
  int is_failing = descriptor->kind == OUR_FILE && ++syncs == fail_at;
  if (descriptor->kind == OUR_DIRECTORY) record(SYNC_DIRECTORY, 0, 0, descriptor->path, NULL, 0);
  else record(is_failing ? SYNC_FAILED : SYNC, descriptor->inode, 0, NULL, NULL, 0);
  pthread_mutex_unlock(&mutex);
  if (is_failing) errno = EIO;
  return is_failing ? -1 : 0;
}

int fsync(int fd) {
  REAL(fsync);
  struct descriptor *descriptor = descriptor_of(fd);
  return descriptor == NULL ? real_fsync(fd) : sync_recorded(descriptor);
}

int fdatasync(int fd) {
  REAL(fdatasync);
  struct descriptor *descriptor = descriptor_of(fd);
  return descriptor == NULL ? real_fdatasync(fd) : sync_recorded(descriptor);
}

/* --- names --- */

#define RECORDED_NAME(operation, call, path, other, other_size) \
  pthread_mutex_lock(&mutex); \
  count_change(); \
  int result = call; \
  int error = errno; \
  if (result == 0) record(operation, 0, 0, path, other, other_size); \
  pthread_mutex_unlock(&mutex); \
  errno = error; \
  return result

#define ONE_NAME(signature, name, arguments, path, operation) \
  int signature { \
    REAL(name); \
    char absolute[PATH_MAX]; \
    const char *below = below_root(path, absolute); \
    if (below == NULL) return real_##name arguments; \
    RECORDED_NAME(operation, real_##name arguments, below, NULL, 0); \
  }
ONE_NAME(unlink(const char *path), unlink, (path), path, UNLINK)
ONE_NAME(rmdir(const char *path), rmdir, (path), path, REMOVE_DIRECTORY)
ONE_NAME(mkdir(const char *path, mode_t mode), mkdir, (path, mode), path, MAKE_DIRECTORY)

#define TWO_NAMES(name, operation) \
  int name(const char *from, const char *to) { \
    REAL(name); \
    char absolute_from[PATH_MAX], absolute_to[PATH_MAX]; \
    const char *below_from = below_root(from, absolute_from), *below_to = below_root(to, absolute_to); \
    if (below_from == NULL && below_to == NULL) return real_##name(from, to); \
    if (below_from == NULL || below_to == NULL) fail("a name moves into or out of the folder"); \
    RECORDED_NAME(operation, real_##name(from, to), below_from, below_to, strlen(below_to)); \
  }
TWO_NAMES(rename, RENAME)
TWO_NAMES(link, LINK)
