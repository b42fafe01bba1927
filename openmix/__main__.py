"""``python -m openmix COMMAND ...`` is the ``openmix`` command, where its script is not on the path."""

import sys

from openmix.commands import main

if __name__ == "__main__":
    sys.exit(main())
