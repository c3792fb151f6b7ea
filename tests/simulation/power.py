"""A power cut: what was written and not synchronised is gone.

A small library, compiled when it is needed and loaded into the processes under test,
keeps a copy of every database file as of its last ``fsync``. After a kill the files are
replaced by those copies: the worst a disk may do that keeps its promises.

Names in directories count as durable at once; what matters here is the content.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

_VARIABLE = "IMGURFS_TEST_SYNCED"

_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Where the copy of a file lies: a directory, and the path with "%" for "/". */
static int place(const char *path, char *copy, size_t size)
{
    const char *directory = getenv("IMGURFS_TEST_SYNCED");
    if (!directory || !strstr(path, ".db"))
        return 0;
    int at = snprintf(copy, size, "%s/", directory);
    for (const char *c = path; *c && at < (int)size - 1; c++)
        copy[at++] = *c == '/' ? '%' : *c;
    copy[at] = 0;
    return 1;
}

static void keep(int fd)
{
    char link[64], path[PATH_MAX], copy[PATH_MAX], fresh[PATH_MAX], buffer[65536];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1), n;
    if (length < 0)
        return;
    path[length] = 0;
    if (!place(path, copy, sizeof copy))
        return;
    snprintf(fresh, sizeof fresh, "%.4000s.%ld", copy, (long)syscall(SYS_gettid));
    int out = open(fresh, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (out < 0)
        return;
    for (off_t at = 0; (n = pread(fd, buffer, sizeof buffer, at)) > 0; at += n)
        if (write(out, buffer, n) != n)
            abort();
    close(out);
    rename(fresh, copy);
}

int fsync(int fd)
{
    int done = ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
    if (!done)
        keep(fd);
    return done;
}

int fdatasync(int fd)
{
    int done = ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
    if (!done)
        keep(fd);
    return done;
}

int unlink(const char *path)
{
    char copy[PATH_MAX];
    int done = ((int (*)(const char *))dlsym(RTLD_NEXT, "unlink"))(path);
    if (!done && place(path, copy, sizeof copy))
        ((int (*)(const char *))dlsym(RTLD_NEXT, "unlink"))(copy);
    return done;
}
"""


def library(directory: Path) -> Path:
    """Compile the library into ``directory``; put it into ``LD_PRELOAD``."""
    source = directory / "synced.c"
    source.write_text(_SOURCE)
    made = directory / "synced.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(made), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return made


def environment(copies: Path) -> dict[str, str]:
    """Return what a process with the library needs to keep its copies there."""
    copies.mkdir(exist_ok=True)
    return {_VARIABLE: str(copies)}


def cut(copies: Path, *databases: Path) -> int:
    """Make dead processes' databases what they were when last synchronised.

    Return how many bytes that took away.
    """
    lost = 0
    for database in databases:
        for suffix in ("", "-wal", "-journal"):
            file = database.with_name(database.name + suffix)
            copy = copies / str(file).replace("/", "%")
            before = file.read_bytes() if file.exists() else b""
            after = copy.read_bytes() if copy.exists() else b""
            lost += sum(a != b for a, b in zip(before, after, strict=False))
            lost += max(0, len(before) - len(after))
            if copy.exists():
                shutil.copyfile(copy, file)
            else:
                file.unlink(missing_ok=True)
        # An index of the log, in memory: every start makes it anew.
        database.with_name(database.name + "-shm").unlink(missing_ok=True)
    return lost
