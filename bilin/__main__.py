"""`python -m bilin`: the command line."""

from bilin.cli.app import main

if __name__ == "__main__":
    main()
