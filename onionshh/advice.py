"""What a person can do after an error of the operating system: a phrase for each error number with a remedy.

The modules that use this file import it at once: a process without free descriptors or memory can load
nothing later.
"""

from __future__ import annotations

import errno

_ROOM = "make room there"
_OTHER_DISK = "the disk has gone or fails; look at it and at the system's log, or use another"
_LOCAL = "choose a folder on a disk of this machine"

_TO_DO = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: "raise the limit on the size of files, or choose another disk",
    errno.EROFS: "choose a folder that can be written",
    errno.EACCES: "choose a place that you may use, or change its permissions",
    errno.EPERM: "choose a place that you may use, or change its permissions",
    errno.ENOENT: "check the path",
    errno.EISDIR: "give a file, not a folder",
    errno.ENOTDIR: "give a folder, not a file",
    errno.EEXIST: "give a folder, not a file",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.ELOOP: "a symbolic link stands where a file of ours should be; remove it",
    errno.EIO: _OTHER_DISK,
    errno.ENXIO: _OTHER_DISK,
    errno.ENODEV: _OTHER_DISK,
    errno.ESTALE: _OTHER_DISK,
    errno.ENOLCK: _LOCAL,
    errno.ENOTSUP: _LOCAL,
    errno.EOPNOTSUPP: _LOCAL,
    errno.ENOSYS: _LOCAL,
    errno.EMFILE: "this process may open no more of them; raise its limit (ulimit -n) and start again",
    errno.ENFILE: "this machine may open no more of them; end other programs and start again",
    errno.ENOMEM: "end other programs, or allow this one more memory, and start again",
    errno.EADDRINUSE: "end the program that uses it, or choose another port",
    errno.EADDRNOTAVAIL: "give an address of this machine",
    errno.ENETUNREACH: "check that you are online",
    errno.EHOSTUNREACH: "check that you are online",
    errno.ENETDOWN: "check that you are online",
}


def in_words(error: OSError) -> str:
    """What is wrong and what to do, without the path. The caller says what could not be done."""
    return f"{error.strerror or error}{advice(error)}"


def advice(error: OSError) -> str:
    """What to do, as the end of a sentence that says what is wrong: "; make room there", or nothing."""
    todo = _TO_DO.get(error.errno or 0)
    return f"; {todo}" if todo else ""
