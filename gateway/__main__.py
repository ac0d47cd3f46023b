"""`python -m gateway` is `gantry`."""

from gateway.cli import main

if __name__ == "__main__":
    main()
