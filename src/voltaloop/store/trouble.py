"""What to tell when a disk or a database server does not take or give what it should."""

import errno
from collections.abc import Collection

from voltaloop.core import StorageError

MAKE_ROOM = "Make room on that disk (or have the quota raised)"
MAKE_WRITABLE = "Mount it for writing, or have the permission to write there given to you"
BRING_BACK = "Put the folder back, or mount its disk again"
UNBLOCK = "Remove the file or link that stands where a folder belongs"
CHECK_DISK = "Have the disk and its connection checked"

_WAYS_OUT = {
    errno.ENOSPC: MAKE_ROOM,
    errno.EDQUOT: MAKE_ROOM,
    errno.EFBIG: MAKE_ROOM,
    errno.EROFS: MAKE_WRITABLE,
    errno.EACCES: MAKE_WRITABLE,
    errno.EPERM: MAKE_WRITABLE,
    errno.ENOENT: BRING_BACK,
    errno.ESTALE: BRING_BACK,
    errno.ENODEV: BRING_BACK,
    errno.ENOTDIR: UNBLOCK,
    errno.EEXIST: UNBLOCK,
    errno.ELOOP: UNBLOCK,
}


def file_trouble(doing: str, error: OSError) -> StorageError:
    """The error for what the operating system refused; ``doing``: "write X (3 bytes)"."""
    words = error.strerror or str(error)
    return trouble(doing, words, _WAYS_OUT.get(error.errno or 0, CHECK_DISK))


def trouble(doing: str, words: str, way_out: str) -> StorageError:
    """``words``: the system's own; ``way_out``: what the user has to do, without a full stop."""
    return StorageError(f"Cannot {doing}: {words}. {way_out}, then run again: nothing is lost.")


def scrubbed(text: str, secrets: Collection[str]) -> str:
    """``text`` without the secrets, the longest first: one may be part of another."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text
