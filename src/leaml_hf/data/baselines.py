"""What can be answered without looking: the commonest answer, and a reader of the question alone."""

from collections import Counter, defaultdict
from collections.abc import Iterable

_RAREST = 3  # answers that occur less often in training than this are left out of the question-only reader
_MOST = 40  # answers that it chooses from, the commonest ones

Row = tuple[str, str, str]  # program, question, answer


def question_baselines(train: Iterable[Row], test: Iterable[Row]) -> dict[str, object]:
    """
    Measures two baselines that never see a picture.

    `prior` gives the commonest answer of each program. `question_only` is, for each program, a logistic regression on
    the question's words and pairs of words. Answers count as right if they are the same up to case.

    Args:
        train (`Iterable`): program, question and answer of the rows to learn from.
        test (`Iterable`): of the rows to judge by; programs that are not in `train` are left out.

    Returns:
        `dict`: `n`, `prior`, `question_only` (accuracies in [0, 1] over all judged rows), and `programs`, which holds
        the same three for each program.
    """
    known, judged = _by_program(train), _by_program(test)
    programs = {}
    for program, rows in judged.items():
        if program not in known:
            continue
        answers = [answer for _, answer in rows]
        prior = Counter(answer for _, answer in known[program]).most_common(1)[0][0]
        guesses = _read_questions(known[program], [question for question, _ in rows])
        programs[program] = {
            "n": len(rows),
            "prior": sum(answer == prior for answer in answers) / len(rows),
            "question_only": sum(guess == answer for guess, answer in zip(guesses, answers, strict=True)) / len(rows),
        }
    count = sum(figures["n"] for figures in programs.values())
    overall = {
        name: sum(figures[name] * figures["n"] for figures in programs.values()) / max(count, 1)
        for name in ("prior", "question_only")
    }
    return {"n": count, **overall, "programs": programs}


def _by_program(rows: Iterable[Row]) -> dict[str, list[tuple[str, str]]]:
    found = defaultdict(list)
    for program, question, answer in rows:
        found[program].append((question.casefold(), answer.casefold()))
    return dict(sorted(found.items()))


def _read_questions(train: list[tuple[str, str]], questions: list[str]) -> list[str]:
    """Answers guessed from the words of each question."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    counts = Counter(answer for _, answer in train)
    answers = {answer for answer, count in counts.most_common(_MOST) if count >= _RAREST}
    common = [(question, answer) for question, answer in train if answer in answers]
    if len(answers) < 2:
        return [counts.most_common(1)[0][0]] * len(questions)
    reader = make_pipeline(CountVectorizer(ngram_range=(1, 2), binary=True), LogisticRegression(C=0.3, max_iter=200))
    reader.fit(*zip(*common, strict=True))
    return list(reader.predict(questions))
