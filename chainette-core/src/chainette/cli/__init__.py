"""The command line."""

from __future__ import annotations

import logging
import sys


def main() -> None:
    """Run the command line; an error of Chainette ends it with one message."""
    from chainette.cli.app import app
    from chainette.cli.light import command
    from chainette.errors import ChainetteError
    from chainette.text import escaped

    try:
        command(app)()
    except ChainetteError as error:
        logging.getLogger("chainette").debug("raised here", exc_info=True)
        print(f"error: {escaped(str(error))}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)  # noqa: T201
        sys.exit(130)
