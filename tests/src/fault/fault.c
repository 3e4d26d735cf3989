/* Stands between a program and the disk (LD_PRELOAD): the file that FLORIN_FAULT names says in one letter what is wrong with the files in whose
 * path FLORIN_FAULT_AT stands.
 *
 *   s  syncs fail, as on a disk that dies
 *   d  fdatasync of a journal segment fails, and nothing else: what was written is there
 *   w  writes fail, as on a file system that was remounted read-only
 *   f  files can not be made or become longer, as on a full disk
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static char fault(void) {
    const char *name = getenv("FLORIN_FAULT");
    char letter = 0;
    int file = name ? NEXT(open64)(name, O_RDONLY | O_CLOEXEC) : -1;
    if (file >= 0) {
        if (read(file, &letter, 1) != 1) letter = 0;
        close(file);
    }
    return letter;
}

static int is_meant(const char *path) {
    const char *at = getenv("FLORIN_FAULT_AT");
    return at && strstr(path, at) != NULL;
}

/* The path of an open file that is meant; none of others. */
static const char *path_of(int file, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, size - 1);
    if (length < 0) return NULL;
    path[length] = 0;
    return is_meant(path) ? path : NULL;
}

static int sync_fails(int file, int is_data) {
    char letter = fault(), path[4096];
    if (letter != 's' && !(letter == 'd' && is_data)) return 0;
    const char *found = path_of(file, path, sizeof path);
    if (!found) return 0;
    size_t length = strlen(found);
    return letter == 's' || (length > 4 && strcmp(found + length - 4, ".seg") == 0);
}

/* What is wrong with writing so many bytes at this place; 0 if nothing is. */
static int write_error(int file, off64_t offset, size_t count) {
    char letter = fault(), path[4096];
    struct stat64 found;
    if ((letter != 'w' && letter != 'f') || !path_of(file, path, sizeof path)) return 0;
    if (letter == 'w') return EROFS;
    if (fstat64(file, &found) != 0 || !S_ISREG(found.st_mode)) return 0;
    return offset + (off64_t)count > found.st_size ? ENOSPC : 0;
}

/* The same where the file itself knows the place. */
static int next_write_error(int file, size_t count) {
    int flags = fcntl(file, F_GETFL);
    off64_t offset = lseek64(file, 0, flags >= 0 && flags & O_APPEND ? SEEK_END : SEEK_CUR);
    return offset < 0 ? 0 : write_error(file, offset, count);
}

static int fails(int error) {
    errno = error;
    return -1;
}

int fdatasync(int file) { return sync_fails(file, 1) ? fails(EIO) : NEXT(fdatasync)(file); }

int fsync(int file) { return sync_fails(file, 0) ? fails(EIO) : NEXT(fsync)(file); }

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t offset) {
    int error = write_error(file, offset, count);
    return error ? fails(error) : NEXT(pwrite64)(file, bytes, count, offset);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) {
    int error = write_error(file, offset, count);
    return error ? fails(error) : NEXT(pwrite)(file, bytes, count, offset);
}

ssize_t pwritev64(int file, const struct iovec *parts, int count, off64_t offset) {
    size_t bytes = 0;
    for (int part = 0; part < count; part++) bytes += parts[part].iov_len;
    int error = write_error(file, offset, bytes);
    return error ? fails(error) : NEXT(pwritev64)(file, parts, count, offset);
}

ssize_t write(int file, const void *bytes, size_t count) {
    int error = next_write_error(file, count);
    return error ? fails(error) : NEXT(write)(file, bytes, count);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    size_t bytes = 0;
    for (int part = 0; part < count; part++) bytes += parts[part].iov_len;
    int error = next_write_error(file, bytes);
    return error ? fails(error) : NEXT(writev)(file, parts, count);
}

static int is_full(const char *path, int flags) {
    return flags & O_CREAT && is_meant(path) && access(path, F_OK) != 0 && fault() == 'f';
}

/* The mode stands behind the flags only where a file may be made. */
#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }

int open64(const char *path, int flags, ...) {
    MODE(flags)
    return is_full(path, flags) ? fails(ENOSPC) : NEXT(open64)(path, flags, mode);
}

int open(const char *path, int flags, ...) {
    MODE(flags)
    return is_full(path, flags) ? fails(ENOSPC) : NEXT(open)(path, flags, mode);
}
