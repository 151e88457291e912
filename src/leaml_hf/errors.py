"""The two errors that leaml_hf raises on purpose; the command line maps them to exit codes."""

LONGEST = 1_000  # characters of a message


class LeamlError(Exception):
    """
    Something could not be done (exit code 1).

    Args:
        message (`str`): one sentence that says what to do. What it quotes from a file may be anything, so it is
            brought to one line of at most 1,000 characters that can all be shown.
    """

    def __init__(self, message: str) -> None:
        line = " ".join("".join(c if c.isprintable() else " " for c in message).split())
        super().__init__(line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} … {line[-LONGEST // 2 + 3 :]}")


class LeamlInputError(LeamlError, ValueError):
    """Wrong use or bad input (exit code 2); the message is one sentence that says what to change."""
