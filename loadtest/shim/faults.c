/*
 * Faults of disk and clock below a real server, by LD_PRELOAD.
 *
 * FAULTS_DIR is the directory whose files are hit, FAULTS_CONTROL a file of int64 words that is mapped and read at
 * each call, so that a test switches faults while the server runs. The words are numbered below; faults.rs writes them.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
    WRITE_ERRNO = 0,   /* each write, truncation and allocation fails with this */
    SYNC_ERRNO = 1,    /* each fsync and fdatasync fails with this */
    SYNC_DELAY_MS = 2, /* each fsync and fdatasync takes so much longer */
    CLOCK_OFFSET_MS = 3,
    STEP = 4,       /* n > 0: the n-th write, truncation or sync from now on fails, once */
    STEP_ERRNO = 5, /* with this */
    STEPS_SEEN = 6, /* how many were attempted since it was set to 0 */
    WORDS = 8
};

static volatile int64_t *control;
static char prefix[PATH_MAX];
static size_t prefix_length;

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static ssize_t (*real_pwritev)(int, const struct iovec *, int, off64_t);
static int (*real_ftruncate)(int, off64_t);
static int (*real_fallocate)(int, int, off64_t, off64_t);
static int (*real_posix_fallocate)(int, off64_t, off64_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_clock_gettime)(clockid_t, struct timespec *);

/* Whoever comes before the constructor gets here, too. */
#define REAL(name, symbol)                                                                                             \
    do {                                                                                                               \
        if (!real_##name) *(void **)&real_##name = dlsym(RTLD_NEXT, symbol);                                           \
    } while (0)

__attribute__((constructor)) static void begin(void)
{
    const char *dir = getenv("FAULTS_DIR"), *path = getenv("FAULTS_CONTROL");
    REAL(write, "write");
    REAL(pwrite, "pwrite64");
    REAL(writev, "writev");
    REAL(pwritev, "pwritev64");
    REAL(ftruncate, "ftruncate64");
    REAL(fallocate, "fallocate64");
    REAL(posix_fallocate, "posix_fallocate64");
    REAL(fsync, "fsync");
    REAL(fdatasync, "fdatasync");
    REAL(clock_gettime, "clock_gettime");
    if (!dir || !path) return;
    int length = snprintf(prefix, sizeof prefix, "%s/", dir);
    if (length <= 0 || (size_t)length >= sizeof prefix) return;
    prefix_length = (size_t)length;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *words = mmap(NULL, WORDS * sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (words != MAP_FAILED) control = words;
}

static int is_ours(int fd)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path);
    return length > (ssize_t)prefix_length && memcmp(path, prefix, prefix_length) == 0;
}

/* The errno this call has to fail with, or 0. */
static int fault(int fd, int word)
{
    if (!control) return 0;
    int saved = errno, counted = 0;
    int64_t error = control[word], step = control[STEP];
    if (control[STEPS_SEEN] >= 0 && is_ours(fd)) {
        counted = 1;
        __atomic_add_fetch(&control[STEPS_SEEN], 1, __ATOMIC_SEQ_CST);
        if (!error && step > 0 && __atomic_fetch_sub(&control[STEP], 1, __ATOMIC_SEQ_CST) == 1)
            error = control[STEP_ERRNO];
    }
    errno = saved;
    if (!error || (!counted && !is_ours(fd))) return 0;
    return (int)error;
}

#define FAIL_IF(fd, word)                                                                                              \
    do {                                                                                                               \
        int error_ = fault(fd, word);                                                                                  \
        if (error_) {                                                                                                  \
            errno = error_;                                                                                            \
            return -1;                                                                                                 \
        }                                                                                                              \
    } while (0)

ssize_t write(int fd, const void *buffer, size_t length)
{
    FAIL_IF(fd, WRITE_ERRNO);
    REAL(write, "write");
    return real_write(fd, buffer, length);
}

ssize_t pwrite64(int fd, const void *buffer, size_t length, off64_t offset)
{
    FAIL_IF(fd, WRITE_ERRNO);
    REAL(pwrite, "pwrite64");
    return real_pwrite(fd, buffer, length, offset);
}

ssize_t pwrite(int fd, const void *buffer, size_t length, off_t offset)
{
    return pwrite64(fd, buffer, length, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    FAIL_IF(fd, WRITE_ERRNO);
    REAL(writev, "writev");
    return real_writev(fd, parts, count);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset)
{
    FAIL_IF(fd, WRITE_ERRNO);
    REAL(pwritev, "pwritev64");
    return real_pwritev(fd, parts, count, offset);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    return pwritev64(fd, parts, count, offset);
}

int ftruncate64(int fd, off64_t length)
{
    FAIL_IF(fd, WRITE_ERRNO);
    REAL(ftruncate, "ftruncate64");
    return real_ftruncate(fd, length);
}

int ftruncate(int fd, off_t length)
{
    return ftruncate64(fd, length);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t length)
{
    FAIL_IF(fd, WRITE_ERRNO);
    REAL(fallocate, "fallocate64");
    return real_fallocate(fd, mode, offset, length);
}

int fallocate(int fd, int mode, off_t offset, off_t length)
{
    return fallocate64(fd, mode, offset, length);
}

/* Gives the error back instead of setting errno. */
int posix_fallocate64(int fd, off64_t offset, off64_t length)
{
    int error = fault(fd, WRITE_ERRNO);
    if (error) return error;
    REAL(posix_fallocate, "posix_fallocate64");
    return real_posix_fallocate(fd, offset, length);
}

int posix_fallocate(int fd, off_t offset, off_t length)
{
    return posix_fallocate64(fd, offset, length);
}

static void delay(int fd)
{
    if (!control || control[SYNC_DELAY_MS] <= 0 || !is_ours(fd)) return;
    int64_t ms = control[SYNC_DELAY_MS];
    struct timespec wait = {ms / 1000, (ms % 1000) * 1000000};
    while (nanosleep(&wait, &wait) == -1 && errno == EINTR) {
    }
}

int fsync(int fd)
{
    delay(fd);
    FAIL_IF(fd, SYNC_ERRNO);
    REAL(fsync, "fsync");
    return real_fsync(fd);
}

int fdatasync(int fd)
{
    delay(fd);
    FAIL_IF(fd, SYNC_ERRNO);
    REAL(fdatasync, "fdatasync");
    return real_fdatasync(fd);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = real_clock_gettime ? real_clock_gettime(clock, now) : (int)syscall(SYS_clock_gettime, clock, now);
    if (result || !control || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return result;
    int64_t offset = control[CLOCK_OFFSET_MS];
    if (!offset) return 0;
    int64_t nanos = now->tv_nsec + offset % 1000 * 1000000;
    now->tv_sec += offset / 1000;
    if (nanos < 0) {
        nanos += 1000000000;
        now->tv_sec -= 1;
    } else if (nanos >= 1000000000) {
        nanos -= 1000000000;
        now->tv_sec += 1;
    }
    now->tv_nsec = nanos;
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    (void)zone;
    struct timespec precise;
    if (clock_gettime(CLOCK_REALTIME, &precise)) return -1;
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now)
{
    struct timespec precise;
    if (clock_gettime(CLOCK_REALTIME, &precise)) return (time_t)-1;
    if (now) *now = precise.tv_sec;
    return precise.tv_sec;
}
