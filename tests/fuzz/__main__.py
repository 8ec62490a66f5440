"""python -m tests.fuzz --seed N --programs M: random programs, suspended and rebuilt everywhere.

The exit code is 1 if something went wrong; what did is minimised and printed.
"""

import argparse
import json
import platform
import sys
import tempfile

from .programs import seeded_program
from .runner import ADAPTERS
from .session import Session


def arguments():
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--programs", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="number of the first program")
    parser.add_argument("--size", type=int, default=60, help="how large programs are, roughly in nodes")
    parser.add_argument("--adapter", choices=sorted(ADAPTERS), default="pstore")
    parser.add_argument("--modes", help="some of every,orig,once,throw,close")
    parser.add_argument(
        "--fresh", type=int, default=2, metavar="N", help="each N-th program also in a fresh process; 0: none"
    )
    parser.add_argument("--minimise", type=int, default=40, metavar="SECONDS", help="for each kind of mismatch; 0: not")
    parser.add_argument("--throws", type=int, default=2, help="points of each of once, throw and close")
    parser.add_argument("--homes", help="some of module,nested,exec")
    parser.add_argument("--keep", metavar="FOLDER", help="where programs that go wrong are saved")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--show", action="store_true", help="print the first program and stop")
    return parser.parse_args()


def report(session):
    figures = session.figures()
    for name, value in figures.items():
        if not isinstance(value, dict):
            print(f"{name + ':':30}{value}")
    print("outcomes:", ", ".join(f"{k} {n}" for k, n in sorted(figures["outcomes"].items())))
    print(
        "suspended in, % of programs:",
        ", ".join(f"{k} {n}" for k, n in figures["share of programs suspended in"].items()),
    )
    for key, count in figures["kinds of mismatch"].items():
        print(f"MISMATCH x{count}: {key}")
    for wrong in session.wrong:
        print("\n" + "-" * 100)
        program = wrong["program"]
        print(f"program {wrong['number']} (seed {session.seed}), home {program.home}, sends {program.sends}")
        for name, value in wrong["shown"].items():
            print(f"  {name}: {str(value)[:1500]}")
        print(program.text)
    return figures


def main():
    options = arguments()
    if options.show:
        print(seeded_program(options.seed, options.first, options.size).source)
        return 0
    modes = options.modes.split(",") if options.modes else None
    with tempfile.TemporaryDirectory() as folder:
        session = Session(
            options.adapter, folder, options.seed, options.size, modes, options.minimise, options.fresh, options.throws
        )
        session.homes = options.homes and options.homes.split(",")
        session.run(range(options.first, options.first + options.programs))
        figures = report(session)
        if options.keep:
            session.save(options.keep)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as f:
            json.dump({"python": platform.python_version(), "adapter": options.adapter, **figures}, f, indent=1)
    return 1 if session.wrong else 0


sys.exit(main())
