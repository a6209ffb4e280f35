"""`python -m tonghua`."""

from tonghua.cli import main

if __name__ == "__main__":
    main()
