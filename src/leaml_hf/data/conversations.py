"""Conversations about pictures, as TRL and chat templates have them, taken apart into rows of one question each.

A conversation is a column `messages`, or `prompt` and `completion`, of messages with a `role` and a `content` (a text,
or a list of parts `{"type": "image"}` and `{"type": "text", "text": ...}`), beside the picture in a column `images` (a
list of one) or `image`.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..errors import LeamlInputError

if TYPE_CHECKING:
    from datasets import Dataset

TEXT_COLUMNS = ("messages", "prompt", "completion")
PICTURE_COLUMNS = ("images", "image")
LEFT_OUT = ("system", "developer")  # messages by such roles ask nothing


def are_conversations(columns: Iterable[str]) -> bool:
    """Whether columns are those of conversations and not of rows with a question and an answer."""
    columns = set(columns)
    return bool(columns & {"messages", "prompt"}) and "question" not in columns


def question_answer_pairs(record: dict[str, Any], where: str) -> list[tuple[str, str | None]]:
    """
    The questions of a conversation with their answers, in order.

    Args:
        record (`dict`): with `messages`, or `prompt` and perhaps `completion` (messages, or a text each).
        where (`str`): names the record in an error.

    Returns:
        `list[tuple]`: a question and its answer, `None` where nobody answered, for each message of the user.

    Raises:
        [`LeamlInputError`]: if something isn't a message, no message asks, an answer stands alone, or a picture is not
            in the column of pictures, or one of several.
    """
    if record.get("messages") is not None:
        messages = _messages(record["messages"], "user", where)
    else:
        messages = _messages(record.get("prompt"), "user", where)
        messages += _messages(record.get("completion"), "assistant", where)
    pairs: list[tuple[str, str | None]] = []
    pictures, open_question = 0, False
    for message in messages:
        role = message.get("role")
        if role in LEFT_OUT:
            continue
        text, shown = _content(message.get("content"), where)
        pictures += shown
        if role == "user":
            if not text:
                raise LeamlInputError(f"{where} has a message of the user without text; every question needs one.")
            pairs.append((text, None))
            open_question = True
        elif role == "assistant":
            if not open_question:
                raise LeamlInputError(f"{where} has an answer that no question comes before; let the roles user and "
                                      "assistant take turns.")  # fmt: skip
            pairs[-1] = (pairs[-1][0], text or None)
            open_question = False
        else:
            raise LeamlInputError(f"{where} has a message by the role {role!r}; user, assistant and system are known.")
    if not pairs:
        raise LeamlInputError(f"{where} has no message of the user, so it asks nothing; give it one or remove it.")
    if pictures > 1:
        raise _too_many(where, pictures)
    return pairs


def one_picture(record: dict[str, Any], where: str) -> Any:
    """
    The picture of a conversation.

    Args:
        record (`dict`): with `images` (a list of one, or one) or `image`.
        where (`str`): names the record in an error.

    Returns:
        whatever stands for the picture there.

    Raises:
        [`LeamlInputError`]: if there is no picture, or more than one.
    """
    given = next((record[name] for name in PICTURE_COLUMNS if record.get(name) is not None), None)
    pictures = [picture for picture in given if picture is not None] if isinstance(given, list) else [given]
    if len(pictures) > 1:
        raise _too_many(where, len(pictures))
    if not pictures or pictures[0] is None:
        raise LeamlInputError(f"{where} has no picture; put one into its column images.")
    return pictures[0]


def turn_name(name: str, turn: int, turns: int) -> str:
    """The id of a row: that of the conversation, with the number of the question where there are several."""
    return name if turns == 1 else f"{name}/{turn}"


def as_rows(dataset: "Dataset") -> "Dataset":
    """
    Rows of one picture, one question and one answer, whichever way a data set has them.

    A conversation gives a row for each message of the user, which keeps all other columns; what was said before it,
    and messages by the system, are left out. A question that nobody answered makes an unlabelled row.

    Args:
        dataset (`Dataset`): with conversations, or with `image` and `question` already.

    Returns:
        `Dataset`: with `image`, `question`, `answer` and `id`; `dataset` itself where it has no conversations.

    Raises:
        [`LeamlInputError`]: names the first row that can't be taken apart, and why.
    """
    if not are_conversations(dataset.column_names):
        return dataset
    import datasets

    stored = [name for name in (*TEXT_COLUMNS, *PICTURE_COLUMNS, "id") if name in dataset.column_names]
    records = dataset.select_columns(stored).with_format("arrow")[:].to_pylist()  # pictures stay encoded
    owners, columns = [], {"image": [], "question": [], "answer": [], "id": []}
    for number, record in enumerate(records):
        where = f"Row {number + 1} of the data set"
        picture, pairs = one_picture(record, where), question_answer_pairs(record, where)
        name = str(number if record.get("id") is None else record["id"])
        for turn, (question, answer) in enumerate(pairs):
            owners.append(number)
            cells = (picture, question, answer, turn_name(name, turn, len(pairs)))
            for column, cell in zip(columns.values(), cells, strict=True):
                column.append(cell)
    text = datasets.Value("string")
    features = datasets.Features({"image": datasets.Image(), "question": text, "answer": text, "id": text})
    rows = datasets.Dataset.from_dict(columns, features=features)
    others = [name for name in dataset.column_names if name not in stored and name != "answer"]
    if not others:
        return rows
    return datasets.concatenate_datasets([rows, dataset.select_columns(others).select(owners)], axis=1)


def _messages(given: Any, role: str, where: str) -> list[dict[str, Any]]:
    """Messages as a list; a text is one message by `role`."""
    if isinstance(given, str):
        return [{"role": role, "content": given}]
    messages = [] if given is None else given
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise LeamlInputError(f"{where} has messages that are no list of messages with a role and a content.")
    return messages


def _content(content: Any, where: str) -> tuple[str, int]:
    """The text of a message, and how many pictures it shows."""
    if content is None or isinstance(content, str):
        return (content or "").strip(), 0
    texts, pictures = [], 0
    for part in content if isinstance(content, list) else [content]:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"].strip())
        elif kind == "image":
            if any(part.get(key) is not None for key in ("image", "url", "path", "base64")):
                raise LeamlInputError(f"{where} has a picture inside a message; put it into the column images, and "
                                      '{"type": "image"} in its place.')  # fmt: skip
            pictures += 1
        else:
            raise LeamlInputError(f"{where} has a part of a message that is neither text nor image: {part!r:.80}.")
    return " ".join(text for text in texts if text), pictures


def _too_many(where: str, count: int) -> LeamlInputError:
    return LeamlInputError(f"{where} shows {count} pictures, but a row is one question about one picture; join them "
                           "into one, or keep the one that its questions are about.")  # fmt: skip
