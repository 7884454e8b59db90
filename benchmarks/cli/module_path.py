"""Where Python searches for modules. This file imports what Python has already loaded, which no file can replace."""

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def ignore_working_folder() -> None:
    """Stop searching the working folder for modules: a file `statistics.py` there would replace Python's.

    `python -m` and an empty entry of PYTHONPATH add this folder. It stays if it contains this package, or if PYTHONPATH
    names it. Variables of the environment do the same for the processes that this one starts.
    """
    named = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    try:
        here = os.getcwd()
    except OSError:  # the folder has been deleted
        return
    if here in (ROOT, *map(os.path.abspath, named)):
        return
    sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder) != here]
    os.environ |= {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(named)}
