/* A disk that is slow past the page cache, as some are behind a hypervisor: loaded into a program by LD_PRELOAD, holds what it
   writes with O_DIRECT to SLOW_DIRECT_BYTES_PER_S. What goes through the page cache is left alone. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t offset) {
    static ssize_t (*next)(int, const void *, size_t, off64_t);
    if (!next) next = dlsym(RTLD_NEXT, "pwrite64");
    const char *pace = getenv("SLOW_DIRECT_BYTES_PER_S");
    if (!pace || !(fcntl(file, F_GETFL) & O_DIRECT)) return next(file, bytes, count, offset);
    pthread_mutex_lock(&one_at_a_time);
    double began = now();
    ssize_t written = next(file, bytes, count, offset);
    double left = count / atof(pace) - (now() - began);
    if (left > 0) usleep(left * 1e6);
    pthread_mutex_unlock(&one_at_a_time);
    return written;
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) { return pwrite64(file, bytes, count, offset); }
