"""The command line: ``pstore``, ``python -m pstore``.

    pstore run URI SCRIPT [ARG ...]             run a script that calls asyncio.run, durably
    pstore demo | demo ping-pong | demo set     the demonstrations
    pstore ps URI | show URI TASK               look into a store; runs nothing, writes nothing
    pstore send URI TASK MESSAGE                a message to a task of a program that runs

Rules: what a user can get wrong is one line on stderr that begins with ``pstore: ``, and exit code 1, without a
traceback; wrong arguments are argparse's, exit code 2; Ctrl-C is 130, a closed pipe 141.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tomllib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from pstore.errors import CodeChanged, PstoreError
from pstore.tools import listing, running, sending
from pstore.tools.demo import DemoFailed, pingpong, sets, travel
from pstore.tools.terminal import Terminal

__all__ = ["main"]

_DESCRIPTION = "Durable Python: suspended coroutines and all they refer to, kept in a ZODB database."
_EPILOG = """\
examples:
  pstore run shop.fs shop.py       run a script that calls asyncio.run; kill it, run this again: it goes on
  pstore demo                      kill a travel agent six times, see every booking come out right
  pstore demo --seed 7 --kills 12  the same bookings and kill instants again, or more kills
  pstore demo ping-pong            stop and start two players with ENTER
  pstore demo set                  where replaying a history gives wrong values, and this does not
  pstore ps orders.fs              the tasks of a store, and where each stands
  pstore show orders.fs order-17   the stack of one task, with source lines and locals
  pstore send orders.fs order-17 '{"approved": true}'    a message to a task of the program that uses the store

ps and show open the store read-only, also while a program is using it.  The modules of the program must
be importable: they are looked for in the current folder, beside the store and on PYTHONPATH.
"""
_RUN = """Run a script with asyncio.run() durable: the state of what it runs is in the store.  Kill it, run the same
again: what was suspended goes on.  Code outside of asyncio.run() runs each time."""
_PS = "List the tasks: id, state, age (how long it stands there), where, what it waits for, and the line of source."
_SEND = """Send a message to a task of a program that runs, and has called engine.listen().  Ends when the message is
durable there: exit code 0, and nothing is printed, but "known" if it came before under the same id."""
_URI = "the store: path of a file"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the name of the program; those of the process if None.

    Returns:
        The exit code.
    """
    asked = _parser().parse_args(arguments)
    try:
        code: int = asked.command(asked)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Python flushes stdout once more when it ends; give it something that can be written to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        return _complain("interrupted", 130)
    except CodeChanged as error:
        return _complain(str(error).splitlines()[0])  # what follows is the difference
    except (PstoreError, DemoFailed) as error:
        return _complain(str(error))
    except OSError as error:
        return _complain(f"{error.filename or 'the system'}: {error.strerror or error}")
    except RecursionError:
        return _complain("what is stored is nested too deeply to be shown")


def _complain(message: str, code: int = 1) -> int:
    print(f"pstore: {' '.join(message.split())}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pstore",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    version = f"pstore {_version()}, Python {platform.python_version()}"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_run(commands.add_parser("run", help="run a script that calls asyncio.run, durably", description=_RUN))
    _add_demos(commands.add_parser("demo", help="see programs killed and resumed", description=travel.SUMMARY))
    _add_ps(commands.add_parser("ps", help="list the tasks of a store", description=_PS))
    _add_send(commands.add_parser("send", help="send a message to a program that runs", description=_SEND))
    _add_show(commands.add_parser("show", help="show the stack of a task", description="Show the stack of a task."))
    return parser


def _add_demos(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seed", type=_number, metavar="N", help="of trips, refusals and kill instants (default: drawn)"
    )
    parser.add_argument("--kills", type=_number, default=6, metavar="N", help="how often to kill it (default: 6)")
    parser.add_argument("--dir", metavar="D", help="folder for store and ledgers, new or empty; it is left there")
    parser.add_argument("--keep", action="store_true", help="leave the temporary folder there")
    parser.set_defaults(command=lambda asked: travel.demo(Terminal(), asked.seed, asked.kills, asked.dir, asked.keep))
    demos = parser.add_subparsers(metavar="ANOTHER", title="other demos")
    ping = demos.add_parser("ping-pong", help="stop and start with ENTER", description=pingpong.SUMMARY)
    ping.add_argument("--auto", type=_number, metavar="N", help="stop and start N times without being asked, then end")
    ping.add_argument("uri", nargs="?", metavar="URI", help=f"{_URI}; continued if it is there (default: a temporary)")
    ping.set_defaults(command=lambda asked: pingpong.demo(Terminal(), asked.uri, asked.auto))
    unordered = demos.add_parser("set", help="a set under another hash seed", description=sets.SUMMARY)
    unordered.set_defaults(command=lambda asked: sets.demo(Terminal()))


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("uri", metavar="URI", help=f"{_URI}; made if there is none")
    parser.add_argument("-m", dest="as_module", action="store_true", help="SCRIPT is the name of a module")
    parser.add_argument("script", metavar="SCRIPT", help="path of the script")
    parser.add_argument("arguments", metavar="ARG", nargs=argparse.REMAINDER, help="arguments of the script")
    parser.set_defaults(
        command=lambda asked: running.run(asked.uri, asked.script, asked.arguments, as_module=asked.as_module)
    )


def _add_ps(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("uri", metavar="URI", help=_URI)
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for programs")
    parser.set_defaults(command=lambda asked: listing.ps(Terminal(), asked.uri, as_json=asked.json))


def _add_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("uri", metavar="URI", help=_URI)
    parser.add_argument("task", metavar="TASK", help="id of the task, as `pstore ps` shows it")
    parser.set_defaults(command=lambda asked: listing.show(Terminal(), asked.uri, asked.task))


def _add_send(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("uri", metavar="URI", help=f"{_URI}, or of the socket at which its program listens")
    parser.add_argument("task", metavar="TASK", help="id of the task, or name of an inbox in the root")
    parser.add_argument("message", metavar="MESSAGE", help="JSON; - for standard input")
    parser.add_argument("--id", metavar="ID", help="a message that comes again under the same id is dropped")
    parser.add_argument("--timeout", type=float, default=30.0, metavar="S", help="seconds to wait (default: 30)")
    parser.set_defaults(command=sending.send)


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def _version() -> str:
    """Give the version; in a checkout that is not installed, from its pyproject.toml."""
    try:
        return metadata.version("pstore")
    except metadata.PackageNotFoundError:
        project = Path(__file__).parents[2] / "pyproject.toml"
        if not project.is_file():
            return "(unknown version)"
        return str(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"])
