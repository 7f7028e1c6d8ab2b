"""The exception for mistakes that a user can mend, and how other exceptions are shown on a line.

A job turns ``UserError`` into a single line on standard error and exit code 2 (see ``jobs/``);
every other exception is a defect of the program and keeps its traceback.
"""


class UserError(Exception):
    """A wrong study file, argument or input file.

    The message is one line that names the file or the field, the value, and what would be right.
    """


class InputError(UserError):
    """What is wrong with an input file, met only when a step reads it.

    The job ends as if it had been found before anything ran: one line and exit code 2.
    """


class TrackingError(UserError):
    """MLflow's server or database does not answer, or refuses.

    Where a step meets it, the job ends with its line as the last one and exit code 1: nothing of
    the study is wrong, and the same command goes on.
    """


def last_line(error: BaseException) -> str:
    """An exception's type and the last line of its message, which names the reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else 'no message'}"
