"""How every job ends: quietly, with one line for a user's mistake, or with a traceback for ours."""

import sys
from collections.abc import Callable

from ccx_ray.errors import UserError

EXIT_USER_ERROR = 2


def run_command(main: Callable[[], None]) -> None:
    """Run a job; a ``UserError`` becomes one line on standard error and exit code 2."""
    try:
        main()
    except UserError as error:
        sys.stdout.flush()
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    except KeyboardInterrupt:
        print("interrupted; the same command continues where this one stopped", file=sys.stderr)
        sys.exit(130)
