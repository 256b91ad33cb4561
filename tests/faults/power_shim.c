/* What a power loss leaves of a file: what was synced.
 *
 * Preloaded into a server (LD_PRELOAD), this notes how much of each part of its append-only file (*.incr.aof) is on the
 * disk: the size that the file had when a sync of it began, once that sync has succeeded. The note for
 * x.incr.aof is a native 64-bit integer in $PYRQ_SYNCED/x.incr.aof, and outlives the process. To lose power: kill the
 * server, and cut each file down to its note. A file without a note was never synced: nothing of it is left.
 *
 *     cc -shared -fPIC -O2 -o power_shim.so power_shim.c -ldl
 *
 * Only contents are lost, never names: what became of directory entries is not simulated, nor are torn pages.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char SUFFIX[] = ".incr.aof";

/* Opens the note for a file; -1 if it is none of those that are watched. */
static int open_note(const char *path) {
    char note[8192];
    const char *folder = getenv("PYRQ_SYNCED"), *name = strrchr(path, '/');
    size_t length = strlen(path);
    if (!folder || !name || length < sizeof SUFFIX || strcmp(path + length - (sizeof SUFFIX - 1), SUFFIX)) return -1;
    snprintf(note, sizeof note, "%s%s", folder, name);
    return open(note, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

static int open_note_of(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return -1;
    path[length] = 0;
    return open_note(path);
}

static void write_note(int note, int64_t size) {
    if (pwrite(note, &size, sizeof size, 0) != sizeof size) abort(); /* a wrong note would pass for a lost item */
}

/* Syncs; what is written while that goes on does not count as synced. */
static int sync_with(const char *how, int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, how);
    struct stat before;
    int note = open_note_of(fd), stated = note < 0 ? -1 : fstat(fd, &before), result = real(fd);
    if (!result && !stated) write_note(note, before.st_size);
    if (note >= 0) close(note);
    return result;
}

int fsync(int fd) { return sync_with("fsync", fd); }
int fdatasync(int fd) { return sync_with("fdatasync", fd); }

/* A server cuts off the torn end of its file itself when it starts. What it writes from there on is not synced yet. */
static void cut_note(int note, int64_t size) {
    int64_t noted;
    if (note < 0) return;
    if (pread(note, &noted, sizeof noted, 0) == sizeof noted && noted > size) write_note(note, size);
    close(note);
}

static int truncate_with(const char *how, const char *path, off64_t size) {
    int (*real)(const char *, off64_t) = (int (*)(const char *, off64_t))dlsym(RTLD_NEXT, how);
    char full[4096];
    int result = real(path, size);
    if (!result && realpath(path, full)) cut_note(open_note(full), size);
    return result;
}

static int ftruncate_with(const char *how, int fd, off64_t size) {
    int (*real)(int, off64_t) = (int (*)(int, off64_t))dlsym(RTLD_NEXT, how);
    int result = real(fd, size);
    if (!result) cut_note(open_note_of(fd), size);
    return result;
}

/* Both names: which one a server calls is up to how it was built. off_t has 64 bits where the shim is compiled. */
int truncate(const char *path, off_t size) { return truncate_with("truncate", path, size); }
int truncate64(const char *path, off64_t size) { return truncate_with("truncate64", path, size); }
int ftruncate(int fd, off_t size) { return ftruncate_with("ftruncate", fd, size); }
int ftruncate64(int fd, off64_t size) { return ftruncate_with("ftruncate64", fd, size); }
