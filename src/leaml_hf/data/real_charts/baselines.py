"""What can be answered without looking: the commonest answer, and a reader of the question alone."""

import json
import os
from collections import Counter, defaultdict
from pathlib import Path

from ...errors import LeamlInputError

_RAREST = 3  # answers that occur less often in training than this are left out of the question-only reader


def real_charts_baselines(folder: str | os.PathLike) -> dict[str, object]:
    """
    Measures two baselines that never see a picture, trained on `train/` and tested on `test/`.

    `prior` gives the commonest answer of each program. `question_only` is, for each program, a logistic regression on
    the question's words and pairs of words. Answers count as right if they are the same up to case.

    Args:
        folder (`str` or `os.PathLike`): a folder that `build_real_charts` wrote.

    Returns:
        `dict`: `n`, `prior`, `question_only` (accuracies in 0..1 over all test rows), and `programs`, which holds the
        same three for each program.

    Raises:
        [`LeamlInputError`]: if the folder has no `metadata.jsonl` for both splits.
    """
    train, test = (_by_program(Path(folder) / split / "metadata.jsonl") for split in ("train", "test"))
    programs = {}
    for program, rows in test.items():
        answers = [answer for _, answer in rows]
        prior = Counter(answer for _, answer in train[program]).most_common(1)[0][0]
        guesses = _read_questions(train[program], [question for question, _ in rows])
        programs[program] = {
            "n": len(rows),
            "prior": sum(answer == prior for answer in answers) / len(rows),
            "question_only": sum(guess == answer for guess, answer in zip(guesses, answers, strict=True)) / len(rows),
        }
    count = sum(figures["n"] for figures in programs.values())
    overall = {
        name: sum(figures[name] * figures["n"] for figures in programs.values()) / count
        for name in ("prior", "question_only")
    }
    return {"n": count, **overall, "programs": programs}


def _by_program(path: Path) -> dict[str, list[tuple[str, str]]]:
    if not path.is_file():
        raise LeamlInputError(f"{path} is missing: build the real charts first.")
    rows = defaultdict(list)
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        rows[row["program"]].append((row["question"].casefold(), row["answer"].casefold()))
    return dict(sorted(rows.items()))


def _read_questions(train: list[tuple[str, str]], questions: list[str]) -> list[str]:
    """Answers guessed from the words of each question."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    counts = Counter(answer for _, answer in train)
    common = [(question, answer) for question, answer in train if counts[answer] >= _RAREST]
    answers = {answer for _, answer in common}
    if len(answers) < 2:
        return [counts.most_common(1)[0][0]] * len(questions)
    reader = make_pipeline(CountVectorizer(ngram_range=(1, 2), binary=True), LogisticRegression(C=0.3, max_iter=200))
    reader.fit(*zip(*common, strict=True))
    return list(reader.predict(questions))
