"""`python -m benchmarks`; cells import this file too, so it imports nothing unless it is the program."""

if __name__ == "__main__":
    from benchmarks import interrupts

    interrupts.install()
    try:
        from benchmarks.cli import main

        code = main()
    except KeyboardInterrupt:  # before the command line was there to say more
        code = interrupts.INTERRUPTED
    interrupts.leave(code)
