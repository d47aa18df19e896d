"""`python -m mmbench`: the command line without its script."""

from mmbench.cli.app import main

if __name__ == "__main__":
    main()
