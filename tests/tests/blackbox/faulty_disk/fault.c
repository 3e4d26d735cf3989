/* Stands between the program and the disk (LD_PRELOAD): the file that FLORIN_FAULT names says in one letter what is wrong with the journal.
 *
 *   s  syncs fail, as on a disk that dies
 *   w  writes fail, as on a file system that was remounted read-only
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char fault(void) {
    const char *name = getenv("FLORIN_FAULT");
    char letter = 0;
    int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    if (file >= 0) {
        if (read(file, &letter, 1) != 1) letter = 0;
        close(file);
    }
    return letter;
}

static int is_journal(int file) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, "/journal/") != NULL;
}

static int fails(int error) {
    errno = error;
    return -1;
}

int fdatasync(int file) {
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return fault() == 's' && is_journal(file) ? fails(EIO) : next(file);
}

int fsync(int file) {
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return fault() == 's' && is_journal(file) ? fails(EIO) : next(file);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t offset) {
    ssize_t (*next)(int, const void *, size_t, off64_t) =
        (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    return fault() == 'w' && is_journal(file) ? fails(EROFS) : next(file, bytes, count, offset);
}
