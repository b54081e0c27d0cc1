"""``python -m voltaloop``"""

from voltaloop.cli import main

if __name__ == "__main__":
    main()
