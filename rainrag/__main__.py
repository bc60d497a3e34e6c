"""``python -m rainrag`` is ``rainrag``."""

from rainrag.cli import main

if __name__ == "__main__":
    main()
