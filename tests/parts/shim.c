/* What stands between a program and its disk: LD_PRELOAD this.

   SHIM_ROOT   only what lies below this folder is looked at (required)
   SHIM_FAULT  call:n:error[:count]  the n-th such call below the root, and the next count-1 (0: all that follow), fail with
               ENOSPC, EIO or EROFS, or kill the process (KILL: before it is done; KILLED: after)
               call is one of write sync rename unlink link open mkdir, or any; write and sync stand for their kin
   SHIM_PATH   only calls on paths that have this text in them fail
   SHIM_HOLD   while this file is there, every such call below the root waits for it to go: a disk that stands still
   SHIM_SKIP   dir: syncs of directories are said to be done and are not; else a text: those of files whose path has it
   SHIM_LOG    a file to which every call that changed something is appended, for the replay of power cuts:
               a header of four native words (kind, size of a, size of b, number), then a, b

   The variables are read when the program starts, and again at each call of shim_begin().
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
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { WRITE = 1, SYNC, RENAME, UNLINK, LINK, OPEN, MKDIR, TRUNCATE, RMDIR, XATTR, KINDS };
static const char *names[KINDS] = {"", "write", "sync", "rename", "unlink", "link", "open", "mkdir", "truncate", "rmdir", "xattr"};

static char root[PATH_MAX];
static size_t root_size;
static int journal = -1, fault_kind, fault_error;
static const char *skipped, *faulty_path, *hold;
static long fault_at, fault_count = 1, seen;
static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

#define REAL(type, name, ...) static type (*real)(__VA_ARGS__); if (!real) real = dlsym(RTLD_NEXT, name)

long shim_seen(void) { return seen; }

__attribute__((constructor)) void shim_begin(void)
{
    REAL(int, "open", const char *, int, ...);
    const char *text = getenv("SHIM_ROOT");
    fault_kind = 0, seen = 0, fault_count = 1, root_size = 0;
    if (!text || !realpath(text, root)) return;
    root_size = strlen(root);
    skipped = (text = getenv("SHIM_SKIP")) ? strdup(text) : NULL;
    hold = (text = getenv("SHIM_HOLD")) ? strdup(text) : NULL;
    faulty_path = (text = getenv("SHIM_PATH")) ? strdup(text) : NULL;
    if (journal < 0 && (text = getenv("SHIM_LOG"))) journal = real(text, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if ((text = getenv("SHIM_FAULT"))) {
        char name[16] = "", error[16] = "";
        if (sscanf(text, "%15[a-z]:%ld:%15[A-Z]:%ld", name, &fault_at, error, &fault_count) < 3) abort();
        fault_kind = -1;
        for (int kind = 1; kind < KINDS; kind++) if (!strcmp(name, names[kind])) fault_kind = kind;
        fault_error = !strcmp(error, "ENOSPC") ? ENOSPC : !strcmp(error, "EROFS") ? EROFS : !strcmp(error, "EIO") ? EIO
                    : !strcmp(error, "KILL") ? -1 : -2;
    }
}

/* Where a descriptor or a path relative to one lies, less the root; NULL when it is not below the root. */
static const char *below(char *whole)
{
    if (!root_size || strncmp(whole, root, root_size) || (whole[root_size] && whole[root_size] != '/')) return NULL;
    return whole + root_size;
}

static const char *path_of(int fd, char *whole)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, whole, PATH_MAX - 1);
    if (size < 0) return NULL;
    whole[size] = 0;
    return below(whole);
}

static const char *path_at(int fd, const char *name, char *whole)
{
    if (name[0] == '/') {
        snprintf(whole, PATH_MAX, "%s", name);
    } else if (fd == AT_FDCWD) {
        if (!getcwd(whole, PATH_MAX)) return NULL;
        strncat(whole, "/", PATH_MAX - strlen(whole) - 1), strncat(whole, name, PATH_MAX - strlen(whole) - 1);
    } else {
        if (!path_of(fd, whole) && strncmp(whole, root, root_size)) return NULL;
        strncat(whole, "/", PATH_MAX - strlen(whole) - 1), strncat(whole, name, PATH_MAX - strlen(whole) - 1);
    }
    return below(whole);
}

/* Whether this call is to fail: its error, 0 for none. */
static int faulty(int kind, const char *path)
{
    if (faulty_path && !strstr(path, faulty_path)) return 0;
    if (!fault_kind || (fault_kind > 0 && fault_kind != kind)) return 0;
    seen++;
    if (seen < fault_at || (fault_count && seen >= fault_at + fault_count)) return 0;
    if (fault_error == -1) kill(getpid(), SIGKILL);
    return fault_error;
}

static void after(int error) { if (error == -2) kill(getpid(), SIGKILL); }

static void note(int kind, const char *a, const void *b, size_t b_size, int64_t number)
{
    if (journal < 0) return;
    int64_t head[4] = {kind, (int64_t)strlen(a), (int64_t)b_size, number};
    struct iovec parts[3] = {{head, sizeof head}, {(void *)a, strlen(a)}, {(void *)b, b_size}};
    static ssize_t (*real)(int, const struct iovec *, int);
    if (!real) real = dlsym(RTLD_NEXT, "writev");
    if (real(journal, parts, 3) < 0) abort();
}

#define GUARDED(kind, where, call, noted)                          \
    while (hold && !access(hold, F_OK)) usleep(20000);             \
    pthread_mutex_lock(&lock);                                     \
    int error = faulty(kind, where);                                      \
    if (error > 0) { pthread_mutex_unlock(&lock); errno = error; return -1; } \
    result = call;                                                 \
    int kept = errno;                                              \
    if (result >= 0) { noted; }                                    \
    after(error);                                                  \
    pthread_mutex_unlock(&lock);                                   \
    errno = kept

ssize_t write(int fd, const void *data, size_t size)
{
    REAL(ssize_t, "write", int, const void *, size_t);
    char whole[PATH_MAX]; const char *path; ssize_t result;
    if (!root_size || !(path = path_of(fd, whole))) return real(fd, data, size);
    off_t at = lseek(fd, 0, SEEK_CUR);
    if (fcntl(fd, F_GETFL) & O_APPEND) at = lseek(fd, 0, SEEK_END);
    GUARDED(WRITE, path, real(fd, data, size), note(WRITE, path, data, result, at));
    return result;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    char whole[PATH_MAX]; const char *path; ssize_t result;
    if (!root_size || !(path = path_of(fd, whole))) return real(fd, data, size, at);
    GUARDED(WRITE, path, real(fd, data, size, at), note(WRITE, path, data, result, at));
    return result;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return pwrite64(fd, data, size, at); }

static int synced(int fd, int (*real)(int))
{
    char whole[PATH_MAX]; const char *path; int result; struct stat facts;
    if (!root_size || !(path = path_of(fd, whole))) return real(fd);
    int directory = !fstat(fd, &facts) && S_ISDIR(facts.st_mode);
    if (skipped && (strcmp(skipped, "dir") ? !directory && strstr(path, skipped) : directory)) return 0;
    GUARDED(SYNC, path, real(fd), note(SYNC, path, "", 0, directory));
    return result;
}

int fsync(int fd) { REAL(int, "fsync", int); return synced(fd, real); }
int fdatasync(int fd) { REAL(int, "fdatasync", int); return synced(fd, real); }

/* Its name is not noted: there is but one. */
int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)
{
    REAL(int, "fsetxattr", int, const char *, const void *, size_t, int);
    char whole[PATH_MAX]; const char *path; int result;
    if (!root_size || !(path = path_of(fd, whole))) return real(fd, name, value, size, flags);
    GUARDED(XATTR, path, real(fd, name, value, size, flags), note(XATTR, path, value, size, 0));
    return result;
}

int ftruncate64(int fd, off64_t size)
{
    REAL(int, "ftruncate64", int, off64_t);
    char whole[PATH_MAX]; const char *path; int result;
    if (!root_size || !(path = path_of(fd, whole))) return real(fd, size);
    GUARDED(TRUNCATE, path, real(fd, size), note(TRUNCATE, path, "", 0, size));
    return result;
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    REAL(int, "renameat", int, const char *, int, const char *);
    char one[PATH_MAX], two[PATH_MAX]; int result;
    const char *a = root_size ? path_at(from_fd, from, one) : NULL, *b = root_size ? path_at(to_fd, to, two) : NULL;
    if (!a || !b) return real(from_fd, from, to_fd, to);
    GUARDED(RENAME, a, real(from_fd, from, to_fd, to), note(RENAME, a, b, strlen(b), 0));
    return result;
}

int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }

int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
    REAL(int, "linkat", int, const char *, int, const char *, int);
    char one[PATH_MAX], two[PATH_MAX]; int result;
    const char *a = root_size ? path_at(from_fd, from, one) : NULL, *b = root_size ? path_at(to_fd, to, two) : NULL;
    if (!a || !b) return real(from_fd, from, to_fd, to, flags);
    GUARDED(LINK, a, real(from_fd, from, to_fd, to, flags), note(LINK, a, b, strlen(b), 0));
    return result;
}

int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

int unlinkat(int fd, const char *name, int flags)
{
    REAL(int, "unlinkat", int, const char *, int);
    char whole[PATH_MAX]; const char *path; int result;
    if (!root_size || !(path = path_at(fd, name, whole))) return real(fd, name, flags);
    int kind = flags & AT_REMOVEDIR ? RMDIR : UNLINK;
    GUARDED(kind, path, real(fd, name, flags), note(kind, path, "", 0, 0));
    return result;
}

int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }

int mkdirat(int fd, const char *name, mode_t mode)
{
    REAL(int, "mkdirat", int, const char *, mode_t);
    char whole[PATH_MAX]; const char *path; int result;
    if (!root_size || !(path = path_at(fd, name, whole))) return real(fd, name, mode);
    GUARDED(MKDIR, path, real(fd, name, mode), note(MKDIR, path, "", 0, 0));
    return result;
}

int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

/* Only the making of files is looked at: what is opened to be read changes nothing. */
int openat64(int fd, const char *name, int flags, ...)
{
    REAL(int, "openat64", int, const char *, int, ...);
    char whole[PATH_MAX]; const char *path; int result; mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }
    if (!root_size || !(flags & (O_CREAT | O_TRUNC)) || !(path = path_at(fd, name, whole))) return real(fd, name, flags, mode);
    struct stat facts;
    int there = !fstatat(fd, name, &facts, 0);
    if (there && !(flags & O_TRUNC)) return real(fd, name, flags, mode);
    GUARDED(OPEN, path, real(fd, name, flags, mode), note(there ? TRUNCATE : OPEN, path, "", 0, 0));
    return result;
}

int openat(int fd, const char *name, int flags, ...)
{
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }
    return openat64(fd, name, flags, mode);
}

int open64(const char *name, int flags, ...)
{
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }
    return openat64(AT_FDCWD, name, flags, mode);
}

int open(const char *name, int flags, ...)
{
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }
    return openat64(AT_FDCWD, name, flags, mode);
}
