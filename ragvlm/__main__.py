"""``python -m ragvlm`` is the command ``ragvlm``."""

from ragvlm.cli import main

if __name__ == "__main__":
    main()
