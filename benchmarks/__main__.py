"""The command line: `python -m benchmarks keys [--quick] [--write]`."""

from __future__ import annotations

import argparse
import sys

from .keys import main as keys


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    subjects = parser.add_subparsers(dest="subject", required=True)
    subject = subjects.add_parser("keys", help="fetches, answers and waits while keys are had, lost and changed")
    subject.add_argument("--quick", action="store_true", help="this package alone, in about 20 seconds")
    subject.add_argument("--write", action="store_true", help="replace the measured part of docs/keys.md")
    subject.add_argument("--only", metavar="WORD", help="only the scenarios whose name contains this word")
    arguments = parser.parse_args()
    return keys(quick=arguments.quick, write=arguments.write, only=arguments.only)


if __name__ == "__main__":
    sys.exit(main())
