"""Values that belong to the process, refused by kind, each with what to use instead (layer 1).

Owns: the table of kinds.

Most of these pickle would refuse as well, but at some lock deep inside and without a word about what to do; some it
stores as the numbers that they hold (a pipe's descriptor, the address of a library), and what comes back in the next
process is wrong.  A kind is known by name, so that nothing is imported for it; it stands for its subclasses, unless
they say themselves how they are stored (``__reduce__``, ``__getstate__``, `copyreg`).  What was declared with
``pstore.ephemeral`` is never asked about here.
"""

from __future__ import annotations

import copyreg
import functools
from collections.abc import Callable
from typing import Any

from pstore._frames import names
from pstore._frames.standins import refuse
from pstore.errors import UnsupportedValue

__all__ = ["reducer_for", "refuse_file"]

_HOOKS = ("__reduce__", "__reduce_ex__", "__getstate__", "__getnewargs__", "__getnewargs_ex__")

_CONNECTION = "its connection belongs to the process"
_EXCHANGE = "open it, use it and close it inside a pstore.step, or open it again after the await"
_TALK = "connect, talk and close inside a pstore.step"
_FILE = "an open file belongs to the process"
_REOPEN = "keep its path and position and open it again after the await, or do the work in a pstore.step"
_LISTING = "take os.listdir(path) or list(path.glob(...)) before the await"
_TEMPORARY = "a temporary file is removed when its process lets it go"
_THREADS = "it belongs to the threads of the process"
_OWN_LOCK = "; if threads of every process need one: pstore.ephemeral"
_WORKERS = "its workers belong to the process"
_TO_THREAD = "await asyncio.to_thread(function, ...) or loop.run_in_executor(None, function, ...), which become steps"
_CHILD = "a child process does not outlive the process"
_OWN_CHILD = "start it, wait for it and take its output inside a pstore.step: await pstore.step(subprocess.run, [...])"
_SHARED = "it is shared with processes that are gone after a restart"
_TOGETHER = "use multiprocessing inside a pstore.step; between tasks use asyncio.Queue and asyncio.Lock"
_DATABASE = "a database connection belongs to the process"
_OWN_DATABASE = (
    "have every process open its own: pstore.ephemeral(sqlite3.connect, path); or do the work in a pstore.step"
)
_STREAM = "its state is in C, where it cannot be read"
_LIBRARY = "it is an address in the memory of the process"
_WITH = "what its with block changed in the process will not be so in the next"
_LEAVE = "leave the with block before the await"

_KINDS: dict[str, tuple[str, str]] = {
    # connections
    "socket.socket": (_CONNECTION, _EXCHANGE),
    "_socket.socket": (_CONNECTION, _EXCHANGE),
    "_ssl._SSLSocket": (_CONNECTION, _EXCHANGE),
    "_ssl.MemoryBIO": (_CONNECTION, _EXCHANGE),
    "ssl.SSLObject": (_CONNECTION, _EXCHANGE),
    "_ssl._SSLContext": (
        "its keys and sessions are in C, where they cannot be read",
        "have every process make its own: pstore.ephemeral(ssl.create_default_context)",
    ),
    "asyncio.selector_events._SelectorTransport": (_CONNECTION, _TALK),
    "asyncio.proactor_events._ProactorBasePipeTransport": (_CONNECTION, _TALK),
    "asyncio.unix_events._UnixReadPipeTransport": (_CONNECTION, _TALK),
    "asyncio.unix_events._UnixWritePipeTransport": (_CONNECTION, _TALK),
    "asyncio.sslproto._SSLProtocolTransport": (_CONNECTION, _TALK),
    "asyncio.base_subprocess.BaseSubprocessTransport": (_CHILD, _OWN_CHILD),
    "asyncio.base_events.Server": (
        _CONNECTION,
        "serve on the loop that hosts the engine, and hand what comes in to engine.call_soon_threadsafe",
    ),
    "asyncio.subprocess.Process": (_CHILD, _OWN_CHILD),
    # loops
    "asyncio.base_events.BaseEventLoop": (
        "it is a loop of its own, with sockets of the process",
        "asyncio.get_running_loop() is the durable loop and is stored; run what needs another one inside a pstore.step",
    ),
    "selectors.BaseSelector": ("what it watches belongs to the process", "wait for it inside a pstore.step"),
    "select.epoll": ("what it watches belongs to the process", "wait for it inside a pstore.step"),
    "select.poll": ("what it watches belongs to the process", "wait for it inside a pstore.step"),
    "select.kqueue": ("what it watches belongs to the process", "wait for it inside a pstore.step"),
    # files
    "_io.FileIO": (_FILE, _REOPEN),
    "_io.BufferedReader": (_FILE, _REOPEN),
    "_io.BufferedWriter": (_FILE, _REOPEN),
    "_io.BufferedRandom": (_FILE, _REOPEN),
    "_io.BufferedRWPair": (_FILE, _REOPEN),
    "_io.TextIOWrapper": (_FILE, _REOPEN),
    "tempfile._TemporaryFileWrapper": (_TEMPORARY, "make it, use it and close it inside a pstore.step"),
    "tempfile.SpooledTemporaryFile": (_TEMPORARY, "use io.BytesIO or io.StringIO, or do the work in a pstore.step"),
    "tempfile.TemporaryDirectory": (
        "a temporary directory is removed when its process lets it go",
        "make it and use it inside a pstore.step, or keep the path of tempfile.mkdtemp() and remove it yourself",
    ),
    "mmap.mmap": ("it is memory of the process", _REOPEN),
    "zipfile.ZipFile": (_FILE, _REOPEN),
    "tarfile.TarFile": (_FILE, _REOPEN),
    "posix.ScandirIterator": ("an open directory belongs to the process", _LISTING),
    "posix.DirEntry": ("it belongs to an open directory of the process", "keep its path; " + _LISTING),
    # threads
    "_thread.lock": (_THREADS, "between tasks use asyncio.Lock" + _OWN_LOCK + "(threading.Lock)"),
    "_thread.RLock": (_THREADS, "between tasks use asyncio.Lock" + _OWN_LOCK + "(threading.RLock)"),
    "threading._RLock": (_THREADS, "between tasks use asyncio.Lock" + _OWN_LOCK + "(threading.RLock)"),
    "threading.Event": (_THREADS, "between tasks use asyncio.Event" + _OWN_LOCK + "(threading.Event)"),
    "threading.Condition": (_THREADS, "between tasks use asyncio.Condition" + _OWN_LOCK + "(threading.Condition)"),
    "threading.Semaphore": (_THREADS, "between tasks use asyncio.Semaphore" + _OWN_LOCK + "(threading.Semaphore)"),
    "threading.Barrier": (_THREADS, "between tasks use asyncio.Barrier"),
    "_thread._local": (_THREADS, "between tasks use a contextvars.ContextVar" + _OWN_LOCK + "(threading.local)"),
    "_threading_local.local": (_THREADS, "between tasks use a contextvars.ContextVar"),
    "threading.Thread": (_THREADS, "start a task with asyncio.create_task, or " + _TO_THREAD),
    "threading.Timer": (_THREADS, "use loop.call_later, or a task that sleeps"),
    "_thread._ThreadHandle": (_THREADS, "start a task with asyncio.create_task, or " + _TO_THREAD),
    "queue.Queue": (
        _THREADS,
        "use asyncio.Queue; threads put with engine.call_soon_threadsafe(queue.put_nowait, item)",
    ),
    "_queue.SimpleQueue": (
        _THREADS,
        "use asyncio.Queue; threads put with engine.call_soon_threadsafe(queue.put_nowait, item)",
    ),
    "queue._PySimpleQueue": (_THREADS, "use asyncio.Queue"),
    "concurrent.futures._base.Executor": (_WORKERS, _TO_THREAD),
    "concurrent.futures._base.Future": (_WORKERS, "in place of submit: " + _TO_THREAD),
    "logging.Handler": (_THREADS, "set logging up where the program starts; loggers are stored by their names"),
    # processes
    "subprocess.Popen": (_CHILD, _OWN_CHILD),
    "multiprocessing.process.BaseProcess": (_CHILD, _TOGETHER),
    "multiprocessing.connection._ConnectionBase": (_SHARED, _TOGETHER),
    "multiprocessing.connection.Listener": (_SHARED, _TOGETHER),
    "multiprocessing.synchronize.SemLock": (_SHARED, _TOGETHER),
    "multiprocessing.synchronize.Condition": (_SHARED, _TOGETHER),
    "multiprocessing.synchronize.Event": (_SHARED, _TOGETHER),
    "multiprocessing.queues.Queue": (_SHARED, _TOGETHER),
    "multiprocessing.queues.SimpleQueue": (_SHARED, _TOGETHER),
    "multiprocessing.sharedctypes.SynchronizedBase": (_SHARED, _TOGETHER),
    "multiprocessing.managers.BaseManager": (_CHILD, _TOGETHER),
    "multiprocessing.managers.BaseProxy": (_SHARED, _TOGETHER),
    "multiprocessing.pool.Pool": (_WORKERS, _TOGETHER),
    "multiprocessing.shared_memory.SharedMemory": (
        _SHARED,
        "keep bytes or a bytearray, or do the work in a pstore.step",
    ),
    "multiprocessing.shared_memory.ShareableList": (_SHARED, "keep a list, or do the work in a pstore.step"),
    "concurrent.interpreters.Interpreter": ("it belongs to the process", "make it and use it inside a pstore.step"),
    "concurrent.interpreters._queues.Queue": ("it belongs to the process", "use asyncio.Queue"),
    # databases
    "sqlite3.Connection": (_DATABASE, _OWN_DATABASE),
    "sqlite3.Cursor": (_DATABASE, "take its rows with fetchall() before the await, or do the work in a pstore.step"),
    "sqlite3.Blob": (_DATABASE, _OWN_DATABASE),
    "sqlite3.Row": (_STREAM, "keep tuple(row) or dict(row)"),
    # state in C
    "_csv.reader": (_STREAM, "take its rows before the await: list(reader)"),
    "_csv.writer": (_STREAM, "keep the rows, and write them all at once"),
    "_json.Scanner": (_STREAM, "make the decoder again after the await, or use json.loads"),
    "pyexpat.xmlparser": (_STREAM, "keep the data and parse it at once"),
    "xml.etree.ElementTree.XMLParser": (_STREAM, "keep the data and parse it at once"),
    "_hashlib.HASH": (_STREAM, "keep the data and hash it at once, in a pstore.step if it is long"),
    "_blake2.blake2b": (_STREAM, "keep the data and hash it at once, in a pstore.step if it is long"),
    "_blake2.blake2s": (_STREAM, "keep the data and hash it at once, in a pstore.step if it is long"),
    "_hashlib.HMAC": (_STREAM, "keep the data and sign it at once, in a pstore.step if it is long"),
    "hmac.HMAC": (_STREAM, "keep the data and sign it at once, in a pstore.step if it is long"),
    "zlib.Compress": (_STREAM, "keep the data and use zlib.compress, in a pstore.step if it is long"),
    "zlib.Decompress": (_STREAM, "keep the data and use zlib.decompress, in a pstore.step if it is long"),
    "_bz2.BZ2Compressor": (_STREAM, "keep the data and use bz2.compress, in a pstore.step if it is long"),
    "_bz2.BZ2Decompressor": (_STREAM, "keep the data and use bz2.decompress, in a pstore.step if it is long"),
    "_lzma.LZMACompressor": (_STREAM, "keep the data and use lzma.compress, in a pstore.step if it is long"),
    "_lzma.LZMADecompressor": (_STREAM, "keep the data and use lzma.decompress, in a pstore.step if it is long"),
    "_ctypes.Array": (
        "no module leads to its class, which ctypes has made",
        "keep bytes(value) or list(value), and make it again after the await",
    ),
    "ctypes.CDLL": (_LIBRARY, "load it at the level of a module, or pstore.ephemeral(ctypes.CDLL, name)"),
    "ctypes.LibraryLoader": (_LIBRARY, "load it at the level of a module, or pstore.ephemeral(ctypes.CDLL, name)"),
    "_ctypes.CFuncPtr": (_LIBRARY, "get it from its library again after the await"),
    # with blocks
    "decimal.ContextManager": (
        "what it will put back is in C, where it cannot be read",
        "leave the with block before the await, or call decimal.setcontext, which each task has for itself",
    ),
    "contextlib._RedirectStream": (_WITH, _LEAVE),
    "contextlib.chdir": (_WITH, _LEAVE),
    "warnings.catch_warnings": (_WITH, _LEAVE),
    "_py_warnings.catch_warnings": (_WITH, _LEAVE),
}

# Not yet, or no longer, of the process: kind -> whether a value of it is.
_ONLY_IF: dict[str, Callable[[Any], bool]] = {
    "_ctypes.Array": lambda obj: names.reference(type(obj), type(obj).__module__, type(obj).__qualname__) is None,
    "contextlib._RedirectStream": lambda obj: bool(obj._old_targets),
    "contextlib.chdir": lambda obj: bool(obj._old_cwd),
    "warnings.catch_warnings": lambda obj: bool(obj._entered),
    "_py_warnings.catch_warnings": lambda obj: bool(obj._entered),
}


def reducer_for(cls: type) -> Callable[[Any], Any] | None:
    """The reducer that refuses the instances of a class; None for a class that does not belong to the process."""
    if cls in copyreg.dispatch_table:
        return None
    for base in cls.__mro__[:-1]:
        kind = f"{base.__module__}.{base.__qualname__}"
        if kind in _KINDS:
            return functools.partial(_refuse, kind)
        if any(hook in vars(base) for hook in _HOOKS):
            return None
    return None


def refuse_file(obj: Any) -> UnsupportedValue:
    """Make the error for an open file."""
    return refuse(obj, _FILE, _REOPEN)


def _refuse(kind: str, obj: Any) -> Any:
    only_if = _ONLY_IF.get(kind)
    if only_if is not None and not only_if(obj):
        return NotImplemented
    raise refuse(obj, *_KINDS[kind])
