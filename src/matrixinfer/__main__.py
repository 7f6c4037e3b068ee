"""`python -m matrixinfer` is the `matrixinfer` command."""

from matrixinfer.cli import main

if __name__ == "__main__":
    main()
