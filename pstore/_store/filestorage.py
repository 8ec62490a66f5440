"""`SealedFileStorage`: a FileStorage that never takes a damaged file for an older state of it, and survives its disk.

FileStorage has no checksums, and goes on where it can: what it cannot make sense of at the end of a file it drops, an
object whose header is damaged it takes for another, an index beside the file it believes, a packed file it renames
into place without knowing that it is on disk.  Owned here, in its place:

- Opening: `filewalk` checks the whole structure, or what was written since the last checkpoint (`filecheckpoint`).
  ZODB's own index beside the file is not read.  What stands before the checkpoint is checked when it is read, and all
  of it before anything of the past is, or is packed.
- The end of a file after a crash: `filetail` has the rule of what is dropped.  It is copied to ``PATH.torn-N``, cut
  off, and reported (`repair`).  What is damaged otherwise is refused, and not touched.
- The seal: every record that is written ends in a checksum of the object's id and the data (`fileformat`), checked
  whenever a record is read, before anything is unpickled.  Records without a seal (written through a storage that was
  handed over) are read too; `store.Record` has a checksum of its own.
- Durability: a commit is written without a buffer, and fsynced before it is acknowledged; then the mark beside the
  file says so (`filemark`).  A new file is on disk under its name before anything is written to it, and so is a packed
  one before it takes the place of the old one, in one step.  What an opening finds is fsynced before anyone sees it:
  its process may have died before it could.
- Failures: a transaction that cannot be written is cut off again (StoreNotWritten: go on).  When its fsync fails the
  kernel may have forgotten what it could not write, so no later fsync means anything: StoreInDoubt, until the file is
  opened again, where the last transaction is written once more before it is fsynced.

With ``durability="os"`` nothing is fsynced while the store is open: the death of the process loses nothing, a power cut
any number of the last commits, and may leave a file that is refused.

Not to be seen in one file without its mark: that whole transactions are missing at its end.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import time
import weakref
from pathlib import Path
from typing import Any

from persistent.TimeStamp import TimeStamp
from ZODB.FileStorage import FileStorage
from ZODB.FileStorage.FileStorage import FileStorageError, TempFormatter
from ZODB.FileStorage.format import TxnHeader
from ZODB.fsIndex import fsIndex
from ZODB.POSException import ReadOnlyError, StorageTransactionError

from pstore._store import filecheckpoint
from pstore._store.filecheckpoint import Checkpoint, read_checkpoint, remove_checkpoint, write_checkpoint
from pstore._store.fileformat import LENGTH, MAGIC, RECORD, STATUS_AT, TRANSACTION, read, seal, seal_holds, write_all
from pstore._store.filemark import Mark, MarkFile, read_mark
from pstore._store.filetail import Repair, keep_tail, report
from pstore._store.filewalk import Found, no_checksum, no_record, walk
from pstore.errors import StoreCorrupt, StoreError, StoreInDoubt, StoreNotWritten

__all__ = ["MAGIC", "SealedFileStorage", "is_locked_here"]

# The storages that hold the locks of their files, and the process that has locked them: a child inherits this.
# The lock files have ids of processes in them, but two containers that share a folder may both be process 1.
_locked_here: weakref.WeakKeyDictionary[SealedFileStorage, int] = weakref.WeakKeyDictionary()

_IN_MEMORY = 16 << 20
_CHUNK = 1 << 20
_MOST_RECENT = 10_000  # records of which is known, without a look at the file, where they are and of which transaction
_NOT_RECENT = (0, b"")


def is_locked_here(path: str) -> bool:
    """Whether this process has the file open, not only to read."""
    names = [storage._file_name for storage, process in list(_locked_here.items()) if process == os.getpid()]
    return any(_is_one_file(name + ".lock", path + ".lock") for name in names)


def _is_one_file(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


class SealedFileStorage(FileStorage):  # type: ignore[misc]  # ZODB has no types
    """See the module.

    Args:
        path: the file; made when it is not there, unless `read_only`.
        read_only: take no lock, and change nothing.
        sync: whether commits are fsynced.

    Attributes:
        repair: what was dropped when it was opened, or None.

    Raises:
        StoreTruncated, StoreCorrupt: when it is opened, and when a record is read.
        StoreNotWritten, StoreInDoubt: by a commit.
    """

    # ZODB's own
    _file: Any
    _pos: int
    _tfile: Any
    _pack_is_in_progress: bool

    def __init__(self, path: str, *, read_only: bool = False, sync: bool = True) -> None:
        self.repair: Repair | None = None
        self._sync = sync
        self._doubt = ""
        self._ragged = False  # whether bytes of no account may follow the last transaction
        self._marks: MarkFile | None = None
        self._found = Found()
        self._trusted = 0  # up to here the checkpoint was believed
        self._checkpoint_end = self._checkpoint_size = 0
        if not read_only and not os.path.exists(path):
            _create(path, sync)
        try:
            super().__init__(path, read_only=read_only)
            self._identity = _identity(os.fstat(self._file.fileno()))
            if not read_only:
                self._own_files()
                _locked_here[self] = os.getpid()
        except BaseException:
            self._let_go()
            raise

    def _let_go(self) -> None:
        """Close what an opening that failed has opened, the lock in particular."""
        for name in ("_file", "_files", "_tfile", "_marks", "_lock_file"):
            opened = getattr(self, name, None)
            if opened is not None:
                opened.close()

    def _own_files(self) -> None:
        """Put unbuffered files in the place of ZODB's: what is written is written, and what is read is there."""
        self._file.close()
        self._file = open(self._file_name, "r+b", buffering=0)  # noqa: SIM115  # as ZODB: for as long as it is open
        named = self._tfile.name
        self._new_temp()
        with contextlib.suppress(OSError):
            os.remove(named)
        self._settle()

    def _settle(self) -> None:
        """Have on disk what was found, unless it is known to be."""
        found = self._found
        self._marks = MarkFile(self._file_name)
        mark = read_mark(self._file_name, self._file.fileno())
        if found.start and self._sync and (mark is None or mark.end != found.end):
            with _refused_at_opening(self.__name__):
                _write_again(self._file.fileno(), found.start, found.end)
                os.fsync(self._file.fileno())
                _sync_folder(self._file_name)
            self._mark(found.start, found.end, found.tid)
        elif found.start and self._sync:
            self._checkpoint(found.start, found.end, found.tid)

    def _mark(self, start: int, end: int, tid: bytes) -> None:
        """Note that the file is on disk up to here."""
        if self._marks is not None:
            self._marks.put(self._file.fileno(), Mark(start, end, tid))
            self._checkpoint(start, end, tid)
        self._found.start = start

    def _checkpoint(self, start: int, end: int, tid: bytes) -> None:
        if end - self._checkpoint_end >= filecheckpoint.GROWN + 8 * self._checkpoint_size:
            found = Checkpoint(start, end, tid, self._index)
            self._checkpoint_size = write_checkpoint(self._file_name, self._file.fileno(), found)
            self._checkpoint_end = end

    # -- opening

    def _restore_index(self) -> tuple[fsIndex, int, bytes] | None:
        """ZODB's place for reading the index beside the file; it goes on reading where this one ends."""
        descriptor = self._file.fileno()
        if os.fstat(descriptor).st_size <= len(MAGIC):
            return None
        checkpoint = read_checkpoint(self._file_name, descriptor)
        mark = read_mark(self._file_name, descriptor)
        found = self._found = walk(self.__name__, descriptor, mark, checkpoint)
        self._trusted = self._checkpoint_end = found.walked
        if found.size > found.end:
            self._drop_tail(found)
        index = found.index()
        found.last_of, found.before = {}, None
        return index, found.end, found.tid

    def _drop_tail(self, found: Found) -> None:
        descriptor, kept = self._file.fileno(), ""
        if self._is_read_only:
            self._file.close()
            self._file = _UpTo(self._file_name, found.end)
        else:
            with _refused_at_opening(self.__name__):
                if found.torn:
                    kept = keep_tail(self._file_name, descriptor, found.end, found.size)
                    _sync_folder(self._file_name)
                os.ftruncate(descriptor, found.end)
                os.fsync(descriptor)
        self.repair = Repair(found.end, found.size - found.end, found.torn, kept)
        report(self.__name__, self.repair)

    def _save_index(self) -> None:
        """ZODB's place for writing the index beside the file, which nobody here reads."""

    def _walk_all(self) -> None:
        """Walk over what the checkpoint was believed about."""
        with self._lock:
            if self._trusted:
                walk(self.__name__, self._file.fileno(), Mark(0, self._trusted, bytes(8)), None)
                self._trusted = 0

    # -- records

    def _read_data_header(self, pos: int, oid: bytes | None = None, _file: Any = None) -> Any:
        """ZODB's place for reading the header of a record, wherever it needs one."""
        if pos < self._trusted:
            self._check_header(pos, oid)
        return super()._read_data_header(pos, oid, _file)

    def _check_header(self, position: int, oid: bytes | None) -> None:
        descriptor = self._file.fileno()
        found, tid, previous, transaction, zero, length = read(descriptor, RECORD, position)
        fits = (found == oid or oid is None) and zero == 0 and previous < transaction < position and length < self._pos
        if not fits or os.pread(descriptor, len(tid), transaction) != tid:
            raise no_record(self.__name__, position)

    def store(self, oid: bytes, oldserial: bytes, data: bytes, version: str, transaction: Any) -> None:
        """Write a record, sealed."""
        sealed = seal(oid, data)
        with self._lock:
            if not self._store_at_once(oid, oldserial, sealed, transaction):
                super().store(oid, oldserial, sealed, version, transaction)

    def _store_at_once(self, oid: bytes, oldserial: bytes, sealed: bytes, transaction: Any) -> bool:
        """Do what ZODB does where nothing is in the way, in a third of the time; else tell so, and do nothing."""
        if transaction is not self._transaction or self._is_read_only:
            return False
        before, serial = self._recent.get(oid, _NOT_RECENT)
        if not before:
            before, serial = self._index_get(oid, 0), oldserial
            if before and os.pread(self._file.fileno(), 16, before) != oid + oldserial:
                return False  # a conflict, or damage
        if serial != oldserial:
            return False  # a conflict
        if oid > self._oid:
            self.set_max_oid(oid)
        self._tindex[oid] = self._pos + self._tfile.tell() + self._thl
        self._tfile.write(RECORD.pack(oid, self._tid, before, self._pos, 0, len(sealed)) + sealed)
        return True

    def load(self, oid: bytes, version: str = "") -> tuple[bytes, bytes]:
        """Give data and tid of the last record of an object."""
        data, tid = super().load(oid, version)
        return self._checked(oid, data), tid

    def loadBefore(self, oid: bytes, tid: bytes) -> tuple[bytes, bytes, bytes | None] | None:
        """Give data, tid and next tid of the last record of an object before `tid`."""
        if self._trusted and self._is_past(oid, tid):
            self._walk_all()
        found = super().loadBefore(oid, tid)
        if found is not None:
            self._checked(oid, found[0])
        return found  # type: ignore[no-any-return]

    def loadSerial(self, oid: bytes, serial: bytes) -> bytes:
        """Give the data of the record of an object in one transaction."""
        self._walk_all()
        return self._checked(oid, super().loadSerial(oid, serial))

    def _is_past(self, oid: bytes, tid: bytes) -> bool:
        """Whether the last record of an object is of `tid` or later."""
        place = self._index.get(oid, 0)
        return bool(place and read(self._file.fileno(), RECORD, place)[1] >= tid)

    def _checked(self, oid: bytes, data: bytes) -> bytes:
        if not seal_holds(oid, data):
            raise no_checksum(self.__name__, oid)
        return data

    # -- commits

    def tpc_begin(self, transaction: Any, tid: bytes | None = None, status: str = " ") -> None:
        """Begin a commit."""
        if self._doubt:
            raise StoreInDoubt(self.__name__, self._doubt)
        self._check_place()
        super().tpc_begin(transaction, tid, status)
        if self._ragged:
            self._cut()
            if self._ragged:
                self.tpc_abort(transaction)
                raise StoreNotWritten(self.__name__, "what an earlier commit left cannot be cut off")

    def _check_place(self) -> None:
        """Nobody would find again what is committed to a file that has no name any more, or another one."""
        try:
            if _identity(os.stat(self._file_name)) == self._identity:
                return
            why = "another file has its name"
        except OSError as error:
            why = _text(error)
        self._doubt = f"its file was deleted, moved or replaced while it was open ({why})"
        raise StoreInDoubt(self.__name__, self._doubt)

    def tpc_vote(self, transaction: Any) -> Any:
        """Write the transaction to the end of the file, unfinished."""
        with self._lock:
            if transaction is not self._transaction:
                raise StorageTransactionError("tpc_vote called with wrong transaction")
            try:
                self._nextpos = self._pos + self._write()
            except BaseException as error:
                self._cut()
                if isinstance(error, OSError):
                    raise StoreNotWritten(self.__name__, error.strerror or str(error)) from error
                raise
            return self._resolved

    def _write(self) -> int:
        """Write header, records and length; give how many bytes they are."""
        user, description, extension = self._ude
        size = self._tfile.tell()
        length = self._thl + size
        header = TxnHeader(self._tid, length, "c", len(user), len(description), len(extension))
        header.user, header.descr, header.ext = user, description, extension
        self._tfile.seek(0)
        part, position, left = header.asString(), self._pos, size
        while True:
            more = self._tfile.read(min(_CHUNK, left)) if left else b""
            left -= len(more)
            part += more + (b"" if left else LENGTH.pack(length))
            write_all(self._file.fileno(), part, position)
            position += len(part)
            part = b""
            if not left:
                return int(length + LENGTH.size)

    def _finish(self, tid: bytes, u: bytes, d: bytes, e: bytes) -> None:
        """Finish the transaction in the file, and have it on disk."""
        descriptor = self._file.fileno()
        try:
            write_all(descriptor, self._tstatus.encode(), self._pos + STATUS_AT)
            if self._sync:
                os.fsync(descriptor)
        except BaseException as error:
            self._doubt = f"the last commit was written, but could not be made durable ({_text(error)})"
            self._nextpos = 0
            raise StoreInDoubt(self.__name__, self._doubt) from error
        start, self._pos = self._pos, self._nextpos
        self._index.update(self._tindex)
        self._note_recent(tid)
        self._ltid = tid
        if self._sync:
            self._mark(start, self._pos, tid)
        else:
            self._found.start = start

    def _note_recent(self, tid: bytes) -> None:
        if len(self._recent) > _MOST_RECENT:
            self._recent.clear()
        for oid, place in self._tindex.items():
            self._recent[oid] = place, tid

    def _initIndex(self, index: Any, tindex: Any) -> Any:
        """Take another index: all records may be elsewhere."""
        self._recent: dict[bytes, tuple[int, bytes]] = {}
        return super()._initIndex(index, tindex)

    def _abort(self) -> None:
        if self._nextpos:
            self._cut()
            self._nextpos = 0

    def _cut(self) -> None:
        """Cut off what follows the last transaction; if that cannot be done now, before the next."""
        try:
            os.ftruncate(self._file.fileno(), self._pos)
            self._ragged = False
        except OSError:
            self._ragged = True
        self._files.flush()

    def _clear_temp(self) -> None:
        if getattr(self._tfile, "_rolled", False):  # it was large: give memory and disk back
            self._new_temp()
        super()._clear_temp()

    def _new_temp(self) -> None:
        self._tfile.close()
        folder = os.path.dirname(self._file_name)
        self._tfile = tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=folder)  # noqa: SIM115
        self._tfmt = TempFormatter(self._tfile)

    def close(self) -> None:
        """Close the files; have them on disk first, unless a commit failed.  Calling it twice does no harm."""
        if not self._file.closed and not self._is_read_only:
            if self._ragged:
                self._cut()
            if not self._doubt and self._found.start:
                self._sync_at_end()
        super().close()
        _locked_here.pop(self, None)
        if self._marks is not None:
            self._marks.close()

    def _sync_at_end(self) -> None:
        with contextlib.suppress(OSError):  # then there is no mark, and the next opening does it
            if not self._sync:
                os.fsync(self._file.fileno())
            self._mark(self._found.start, self._pos, self._ltid)

    # -- the past

    def iterator(self, start: bytes | None = None, stop: bytes | None = None) -> Any:
        """Give the transactions, as ZODB's tools read them."""
        self._walk_all()
        return super().iterator(start, stop)

    def undo(self, transaction_id: bytes, transaction: Any) -> Any:
        """Take a transaction back, as ZODB's tools do."""
        self._walk_all()
        return super().undo(transaction_id, transaction)

    def history(self, oid: bytes, size: int = 1, filter: Any = None) -> Any:
        """Tell of the records of an object, as ZODB's tools ask."""
        self._walk_all()
        return super().history(oid, size, filter)

    def newest_transactions(self) -> Any:
        """Yield (tid, note, whether pack has been at it), the newest first, reading no more than is asked for."""
        self._walk_all()
        with open(self._file_name, "rb") as file:
            descriptor, position = file.fileno(), self._pos
            while position > len(MAGIC):
                (length,) = read(descriptor, LENGTH, position - LENGTH.size)
                position -= length + LENGTH.size
                tid, again, status, user, description, _ = read(descriptor, TRANSACTION, position)
                if again != length:
                    raise StoreCorrupt(self.__name__, f"there is no transaction at byte {position:,}")
                note = os.pread(descriptor, description, position + TRANSACTION.size + user)
                yield tid, note, status == b"p"

    def pack(self, t: float | bytes, referencesf: Any, gc: bool | None = None) -> None:
        """Put a file in its place that has only what is reachable, and what is newer than `t`: seconds, or a tid."""
        if self._is_read_only:
            raise ReadOnlyError
        if self._doubt:
            raise StoreInDoubt(self.__name__, self._doubt)
        if not self._index:
            return
        self._walk_all()
        with self._lock:
            if self._pack_is_in_progress:
                raise FileStorageError("Already packing")
            self._pack_is_in_progress = True
        try:
            stop = t if isinstance(t, bytes) else TimeStamp(*time.gmtime(t)[:5], t % 60).raw()
            with _cannot_be_packed(self.__name__):
                packed = self.packer(self, referencesf, stop, self._pack_gc if gc is None else gc)
            if packed is not None:
                try:
                    self._take_place(*packed)
                finally:
                    self._commit_lock.release()  # the packer took it
        finally:
            with self._lock:
                self._pack_is_in_progress = False

    def _take_place(self, end: int, index: fsIndex) -> None:
        new = self._file_name + ".pack"
        with self._files.write_lock(), self._lock:
            self._files.empty()
            file = None
            try:
                with _cannot_be_packed(self.__name__):
                    _sync_file(new, self._sync)
                    file = open(new, "r+b", buffering=0)  # noqa: SIM115
                    self._clear_index()  # ZODB's own storage may have left one: of places where other things are now
                    remove_checkpoint(self._file_name)
                    os.replace(new, self._file_name)
                    file.name = self._file_name  # the next pack opens what is called so
            except BaseException:
                if file is not None:
                    file.close()
                with contextlib.suppress(OSError):
                    os.remove(new)
                raise
            self._file.close()
            self._file, self._identity = file, _identity(os.fstat(file.fileno()))
            self._initIndex(index, self._tindex)
            self._pos = end
            self._checkpoint_end = self._checkpoint_size = 0
            try:
                if self._sync:
                    _sync_folder(self._file_name)
            except OSError as error:
                self._doubt = f"it was packed, but its folder could not be made durable ({_text(error)})"
                raise StoreInDoubt(self.__name__, self._doubt) from error
            (length,) = read(file.fileno(), LENGTH, end - LENGTH.size)
            self._mark(end - LENGTH.size - length, end, self._ltid)


def _identity(stat: os.stat_result) -> tuple[int, int]:
    """What makes a file the same under whatever name."""
    return stat.st_dev, stat.st_ino


class _UpTo(io.FileIO):
    """A file that ends early: what follows is not there for ZODB."""

    def __init__(self, path: str, end: int) -> None:
        super().__init__(path, "rb")
        self._end = end

    def seek(self, offset: int, whence: int = 0) -> int:
        return super().seek(self._end + offset) if whence == os.SEEK_END else super().seek(offset, whence)

    def read(self, size: int | None = -1) -> bytes:
        left = max(self._end - self.tell(), 0)
        return super().read(left if size is None or size < 0 else min(size, left)) or b""


def _create(path: str, sync: bool) -> None:
    """Make an empty file, all or nothing."""
    new = f"{path}.new"
    with open(new, "wb", buffering=0) as file:
        write_all(file.fileno(), MAGIC, 0)
        if sync:
            os.fsync(file.fileno())
    os.replace(new, path)
    if sync:
        _sync_folder(path)


def _write_again(descriptor: int, position: int, end: int) -> None:
    """Write what is there: after an fsync that failed the kernel may hold it as clean without its being on disk."""
    while position < end:
        part = os.pread(descriptor, min(_CHUNK, end - position), position)
        write_all(descriptor, part, position)
        position += len(part)


def _sync_file(path: str, sync: bool) -> None:
    if sync:
        with open(path, "rb") as file:
            os.fsync(file.fileno())


def _sync_folder(path: str) -> None:
    """Have the names in the folder of `path` on disk."""
    descriptor = os.open(Path(path).absolute().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _cannot_be_packed(name: str) -> Any:
    try:
        yield
    except OSError as error:
        raise StoreError(name, f"it could not be packed ({_text(error)}); it is as it was") from error


@contextlib.contextmanager
def _refused_at_opening(name: str) -> Any:
    try:
        yield
    except OSError as error:
        raise StoreError(name, f"what a crash left of it could not be put in order ({_text(error)})") from error


def _text(error: BaseException) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
