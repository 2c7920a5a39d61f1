/* Preloaded into the processes of a server under test: counts the steps that outlive a process - changes of the catalog's log and of
 * image files - and, at the step that the test has chosen, kills what the test has chosen, before the step is done.
 *
 * A file FILE.full has FILE not come into being: its directory is full, however often the rest is tried.
 *
 * The page that is shared with the test (steps.rs): how many steps are left, whom to kill, what is running, and what step it was. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { OWN, OTHER, ALL };
enum { LAUNCHER, CONTROL, DATAPLANE, PROCESSES };

static struct page {
    _Atomic int left;
    int victims;
    int processes[PROCESSES];
    char met[8192 - 20];
} *page;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("VITRINE_TEST_STEPS");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *mapped = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED)
        page = mapped;
}

/* Returns when the process runs no more: another one may begin to be replaced then. */
static void end(int process) {
    char exe[64], target[8];
    snprintf(exe, sizeof exe, "/proc/%d/exe", process);
    kill(process, SIGKILL);
    for (int i = 0; i < 2000 && readlink(exe, target, sizeof target) >= 0; i++)
        usleep(500);
}

static void step(const char *what, const char *path) {
    if (!page)
        return;
    int saved = errno;
    int left = atomic_load(&page->left);
    do {
        if (left <= 0)
            return;
    } while (!atomic_compare_exchange_weak(&page->left, &left, left - 1));
    if (left > 1)
        return;
    int own = getpid(), is_control = own == page->processes[CONTROL];
    snprintf(page->met, sizeof page->met, "%s %s %s", is_control ? "control" : "dataplane", what, path);
    if (page->victims == ALL)
        end(page->processes[LAUNCHER]);
    if (page->victims != OWN)
        end(page->processes[is_control ? DATAPLANE : CONTROL]);
    if (page->victims != OTHER)
        kill(own, SIGKILL);
    errno = saved;
}

static const char *path_of(int file, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, size - 1);
    path[length < 0 ? 0 : length] = 0;
    return path;
}

static int ends(const char *path, const char *end) {
    size_t length = strlen(path), tail = strlen(end);
    return length >= tail && strcmp(path + length - tail, end) == 0;
}

/* Whether a transaction is being written: its first write is a step, before which there is nothing of it. */
static _Atomic int is_begun;

static void written(int file) {
    char path[4096];
    if (!page || atomic_load(&page->left) <= 0)
        return;
    path_of(file, path, sizeof path);
    if (ends(path, ".part") || (ends(path, "-wal") && !atomic_exchange(&is_begun, 1)))
        step("write", path);
}

static void synced(int file) {
    char path[4096];
    if (!page)
        return;
    if (ends(path_of(file, path, sizeof path), "-wal"))
        atomic_store(&is_begun, 0);
    step("sync", path);
}

ssize_t write(int file, const void *bytes, size_t size) {
    written(file);
    return syscall(SYS_write, file, bytes, size);
}

ssize_t pwrite64(int file, const void *bytes, size_t size, off64_t offset) {
    written(file);
    return syscall(SYS_pwrite64, file, bytes, size, offset);
}

int fsync(int file) {
    synced(file);
    return (int)syscall(SYS_fsync, file);
}

int fdatasync(int file) {
    synced(file);
    return (int)syscall(SYS_fdatasync, file);
}

int linkat(int from_directory, const char *from, int to_directory, const char *to, int flags) {
    char full[4096];
    step("link", to);
    snprintf(full, sizeof full, "%s.full", to);
    if (access(full, F_OK) == 0) {
        errno = ENOSPC;
        return -1;
    }
    return (int)syscall(SYS_linkat, from_directory, from, to_directory, to, flags);
}

int unlink(const char *path) {
    step("unlink", path);
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int open64(const char *path, int flags, ...) {
    unsigned mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list rest;
        va_start(rest, flags);
        mode = va_arg(rest, unsigned);
        va_end(rest);
    }
    if ((flags & O_CREAT) && ends(path, ".part"))
        step("create", path);
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
