"""`python -m benchmarks`, and the program `vaezoo`. Processes of cells import this file too, so `main` imports."""


def main() -> None:
    """Run the command line, and end the process with its exit code."""
    from benchmarks.cli import module_path

    module_path.ignore_working_folder()  # before other imports
    from benchmarks.cli.program import run_program

    run_program()


if __name__ == "__main__":
    main()
