"""`python -m benchmarks`. Processes of cells import this file too, so the import is inside the condition."""

if __name__ == "__main__":
    from benchmarks.cli.program import run_program

    run_program()
