"""`python -m benchmarks`; cells import this file too, so it imports nothing unless it is the program."""

if __name__ == "__main__":
    import sys

    from benchmarks.cli import main

    sys.exit(main())
