"""`python -m fovea` is the command line `fovea`."""

from fovea.cli.main import main

if __name__ == "__main__":
    main()
