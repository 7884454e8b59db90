"""`python -m benchmarks`. Processes of cells import this file too, so imports are inside the condition."""

if __name__ == "__main__":
    from benchmarks.cli import interrupts

    interrupts.install_handlers()
    try:
        from benchmarks.cli.main import main

        code = main()
    except KeyboardInterrupt:  # before the command line could handle it
        code = interrupts.INTERRUPTED
    interrupts.exit_program(code)
