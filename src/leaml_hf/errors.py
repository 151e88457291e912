"""The two errors that leaml_hf raises on purpose; the command line maps them to exit codes."""


class LeamlError(Exception):
    """Something could not be done (exit code 1); the message is one sentence that says what to do."""


class LeamlInputError(LeamlError, ValueError):
    """Wrong use or bad input (exit code 2); the message is one sentence that says what to change."""
