"""A folder of files that appears whole or not at all, and takes the place of the one before it in one step.

It is filled in a hidden folder beside its place, flushed to disk, and then changes places with the folder that is there
(renameat2 with RENAME_EXCHANGE: one step on ext4, xfs, btrfs, tmpfs). Where the file system cannot do that (NFS), the
old folder is renamed away first, and for that moment there is none; who is killed in it is put right by the next run.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pgtrace.errors import PgtraceError
from pgtrace.lake.steps import reached

#: ends of the names of hidden folders: not in place yet or no more, and out of its place for a moment
_NEW, _OLD = ".pgtrace-new", ".pgtrace-old"
_HIDDEN = re.compile(rf"\.(.+)\.[0-9a-f]{{8}}({re.escape(_NEW)}|{re.escape(_OLD)})")
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100
#: what renameat2 says where kernel or file system cannot exchange
_CANNOT = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTTY)


@contextmanager
def whole_folder(out: Path, may_replace: Callable[[Path], None]) -> Iterator[Path]:
    """A folder to fill, which at the end of the block is the one at ``out``; after an error all is as it was.

    ``may_replace`` is called with the folder that is to be replaced and raises where that must not happen. Raises
    PgtraceError where nothing can be written beside ``out``.
    """
    try:
        out = out.resolve()
        out.parent.mkdir(parents=True, exist_ok=True)
        with _locked(out.parent):
            _put_right(out.parent)
            _check(out, may_replace)
            staged = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}{_NEW}")
            staged.mkdir()
            in_use = _hold(staged)
    except OSError as error:
        raise _unwritable(out, error) from None
    try:
        _like(staged, out)
        yield staged
        _sync(staged)
        reached("staged")
        with _locked(out.parent):
            _check(out, may_replace)
            put_in_place(staged, out)
            reached("in place")
        _sync_folder(out.parent)
    except OSError as error:
        raise _unwritable(out, error) from None
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        os.close(in_use)


def put_in_place(staged: Path, out: Path, *, exchange: Callable[[Path, Path], bool] | None = None) -> None:
    """``staged`` becomes ``out``; what was there is then at ``staged``, or gone."""
    try:
        staged.rename(out)  # there is none, or an empty one
        return
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    if (exchange or _exchanged)(staged, out):
        return
    before = out.with_name(staged.name.removesuffix(_NEW) + _OLD)
    out.rename(before)
    reached("out of place")
    staged.rename(out)
    reached("in place")
    shutil.rmtree(before, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder in one step for those who look at it. Raises PgtraceError."""
    gone = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}{_NEW}")
    try:
        folder.rename(gone)
    except OSError as error:
        raise PgtraceError(f"{folder}: cannot be removed ({error.strerror})") from None
    shutil.rmtree(gone, ignore_errors=True)


def _exchanged(one: Path, other: Path) -> bool:
    """Let two folders change places; False where kernel or file system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT:
        return False
    raise OSError(number, os.strerror(number), str(other))


def _check(out: Path, may_replace: Callable[[Path], None]) -> None:
    if out.is_dir():
        may_replace(out)
    elif out.exists():
        raise PgtraceError(f"{out}: is a file, and the report is a folder; give another --out")


def _put_right(parent: Path) -> None:
    """Undo what runs left that were killed: their unfinished folders, and a report that was out of its place."""
    for path in sorted(parent.iterdir()):
        found = _HIDDEN.fullmatch(path.name)
        if found is None:
            continue
        if found[2] == _OLD and not (place := parent / found[1]).exists():
            path.rename(place)
        elif (held := _hold(path, wait=False)) >= 0:
            shutil.rmtree(path, ignore_errors=True)
            os.close(held)


def _hold(folder: Path, *, wait: bool = True) -> int:
    """Lock a folder until the descriptor is closed or the process dies; -1 where another holds it or nobody can."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # a file system without locks: then nobody clears the folders of others
        if not wait:
            os.close(descriptor)
            return -1
    return descriptor


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = _hold(folder)
    try:
        yield
    finally:
        os.close(descriptor)


def _like(staged: Path, out: Path) -> None:
    """Give the new folder the group and the rights that an administrator gave the one it replaces."""
    if not out.is_dir():
        return
    known = out.stat()
    with suppress(OSError):
        os.chown(staged, -1, known.st_gid)
    staged.chmod(stat.S_IMODE(known.st_mode))


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot sync a folder
            raise
    finally:
        os.close(descriptor)


def _unwritable(out: Path, error: OSError) -> PgtraceError:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EXDEV):
        return PgtraceError(
            f"{out}: cannot be written ({error.strerror}); a report is made beside its folder and then takes its "
            f"place, so {out.parent} must be writable and {out.name} no mount point: give a folder inside, "
            f"as in --out {out / 'latest'}"
        )
    where = "" if error.filename is None else f" {error.filename}:"
    return PgtraceError(f"{out}: the report cannot be written:{where} {error.strerror or error}")
