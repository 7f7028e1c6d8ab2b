"""The one exception for mistakes that a user can mend.

A job turns it into a single line on standard error and exit code 2 (see ``jobs/``); every other
exception is a defect of the program and keeps its traceback.
"""


class UserError(Exception):
    """A wrong study file, argument or input file.

    The message is one line that names the file or the field, the value, and what would be right.
    """
