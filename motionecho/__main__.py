"""`python -m motionecho`: the command line where the console script is not on the PATH."""

from motionecho.cli import main

if __name__ == "__main__":
    main()
