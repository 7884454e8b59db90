"""`python -m benchmarks`. Processes of cells import this file too, so imports are inside the condition."""

if __name__ == "__main__":
    from benchmarks.cli import interrupts
    from benchmarks.common.errors import ExitCode

    interrupts.install_handlers()
    try:
        from benchmarks.cli.main import main

        code = main()
    except KeyboardInterrupt:  # before the command line could handle it
        code = ExitCode.INTERRUPTED
    interrupts.exit_program(code)
