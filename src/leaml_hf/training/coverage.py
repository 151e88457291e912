"""Which points to label, by where they lie: each strategy takes features `[n, D]` and gives places, the best first."""

import warnings
from collections.abc import Sequence

import numpy as np

NEIGHBOURS = 20  # of a point, that tell how typical it is
MOST_CLUSTERS = 500
LEAST_OF_CLUSTER = 5  # points: smaller ones are outliers
RESTARTS = 3  # of k-means
KINDS = 48  # of questions that are told apart


def stratified(
    questions: np.ndarray, pictures: np.ndarray, count: int, labelled: Sequence[int] = (), seed: int = 0
) -> list[int]:
    """
    A stratified sample: each kind of question (a cluster) has its share of the labels, and these are spread over its
    pictures: one at random from each of as many clusters. It is a random sample made even, where strategies that look
    for typical or far-off points bend what is asked how often.

    Args:
        questions (`np.ndarray`): `[n, Dq]`.
        pictures (`np.ndarray`): `[n, Dp]`, of the same rows.
        count (`int`): rows to choose, from 1 to those without a label.
        labelled (`Sequence[int]`, *optional*): places that have a label; never chosen, but part of the sample.
        seed (`int`, *optional*, defaults to 0): of k-means and of the draws.

    Returns:
        `list[int]`: `count` places; the first of them are a stratified sample, too.
    """
    rng, known = np.random.default_rng([seed, 42]), np.zeros(len(questions), bool)
    known[np.asarray(labelled, dtype=int)] = True
    kind = _clusters(questions, min(KINDS, len(questions)), seed)
    members = [np.flatnonzero(kind == name) for name in np.unique(kind)]
    have = np.array([known[rows].sum() for rows in members])
    quota = _shares([(~known[rows]).sum() for rows in members], [len(rows) for rows in members], have, count)
    ranked: list[tuple[float, int]] = []  # how much of its kind's share is used up, and the place
    for rows, number, before in zip(members, quota, have, strict=True):
        if number:
            cluster = _clusters(pictures[rows], min(int(number + before), len(rows), MOST_CLUSTERS), seed)
            chosen = _one_of_each(rows, cluster, known[rows], int(number), rng)
            ranked += [((before + place + 0.5) / (before + number), row) for place, row in enumerate(chosen)]
    return [row for _, row in sorted(ranked)]


def _shares(free: Sequence[int], sizes: Sequence[int], have: np.ndarray, count: int) -> np.ndarray:
    """How many of `count` new labels each kind gets: one after the other, where most are missing for its size, and
    never more than it has `free`."""
    free, ideal = np.array(free), (count + have.sum()) * np.array(sizes) / np.sum(sizes)
    quota = np.zeros(len(free), int)
    for _ in range(count):
        quota[np.where(quota < free, ideal - have - quota, -np.inf).argmax()] += 1
    return quota


def _one_of_each(
    rows: np.ndarray, cluster: np.ndarray, known: np.ndarray, count: int, rng: np.random.Generator
) -> list[int]:
    """`count` of the rows that are not known, at random: those of clusters without a known or chosen one first."""
    order = rng.permutation(np.flatnonzero(~known))
    met = np.bincount(cluster[known], minlength=cluster.max() + 1)
    chosen: list[int] = []
    while len(chosen) < count:
        order = order[np.argsort(met[cluster[order]], kind="stable")]
        place, order = order[0], order[1:]
        met[cluster[place]] += 1
        chosen.append(int(rows[place]))
    return chosen


def typical(features: np.ndarray, count: int, labelled: Sequence[int] = (), seed: int = 0) -> list[int]:
    """
    TypiClust (Hacohen et al. 2022, arXiv 2202.02794): the most typical point of each cluster, large clusters and those
    without a label first.

    Args:
        features (`np.ndarray`): `[n, D]`.
        count (`int`): points to choose, from 1 to those without a label.
        labelled (`Sequence[int]`, *optional*): places that have a label; never chosen.
        seed (`int`, *optional*, defaults to 0): of k-means.

    Returns:
        `list[int]`: `count` places.
    """
    labelled = np.asarray(labelled, dtype=int)
    cluster = _clusters(features, min(len(labelled) + count, MOST_CLUSTERS), seed)
    sizes = np.bincount(cluster)
    free = np.ones(len(features), bool)
    free[labelled] = False
    ranked: dict[int, list[int]] = {}  # points of a cluster that may be chosen, the most typical first
    for name in range(len(sizes)):
        members = np.flatnonzero(cluster == name)
        order = members[np.argsort(-_typicality(features[members]), kind="stable")]
        ranked[name] = order[free[order]].tolist()
    chosen: list[int] = []
    taken = np.bincount(cluster[labelled], minlength=len(sizes))
    while len(chosen) < count:
        open_ones = [name for name in ranked if ranked[name]]
        best = min(open_ones, key=lambda name: (sizes[name] < LEAST_OF_CLUSTER, taken[name], -sizes[name]))
        chosen.append(ranked[best].pop(0))
        taken[best] += 1
    return chosen


def k_center(features: np.ndarray, count: int, labelled: Sequence[int] = (), seed: int = 0) -> list[int]:
    """
    Greedy k-center, the core-set of Sener & Savarese 2018 (arXiv 1708.00489): each time the point that lies farthest
    from all that are chosen or have a label. Arguments and result as in [`typical`]; without labels the first point is
    drawn by the seed.
    """
    chosen: list[int] = []
    distance = np.full(len(features), np.inf)
    for place in labelled:
        distance = np.minimum(distance, _squared_distances(features, features[place]))
    distance[list(labelled)] = -1.0
    while len(chosen) < count:
        first = np.isinf(distance).all()
        place = int(np.random.default_rng([seed, 41]).integers(len(features)) if first else distance.argmax())
        chosen.append(place)
        distance = np.minimum(distance, _squared_distances(features, features[place]))
        distance[place] = -1.0
    return chosen


def uncertain(features: np.ndarray, uncertainty: np.ndarray, count: int, seed: int = 0) -> list[int]:
    """
    The most uncertain point of each of `count` clusters, so that not all are of one kind.

    The clusters are those of CLUE (Prabhu et al. 2021, arXiv 2010.08666): k-means in which uncertain points weigh
    more. CLUE takes the point nearest to each centre, which may be a certain one.

    Args:
        features (`np.ndarray`): `[n, D]`.
        uncertainty (`np.ndarray`): `[n]`, 0 or more.
        count (`int`): points to choose, from 1 to n.
        seed (`int`, *optional*, defaults to 0): of k-means.

    Returns:
        `list[int]`: `count` places, the most uncertain first.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    weights = np.asarray(uncertainty, dtype=np.float64) + 1e-6
    with warnings.catch_warnings():  # points that are all the same make fewer clusters
        warnings.simplefilter("ignore", ConvergenceWarning)
        cluster = KMeans(count, n_init=1, random_state=seed).fit_predict(features, sample_weight=weights)
    order = np.argsort(-weights, kind="stable")
    _, first = np.unique(cluster[order], return_index=True)
    chosen = order[np.sort(first)]
    others = order[~np.isin(order, chosen)][: count - len(chosen)]
    return [*chosen.tolist(), *others.tolist()]


def _clusters(features: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The cluster `[n]` of each point, in 0 to `count` - 1."""
    from sklearn.cluster import MiniBatchKMeans

    return MiniBatchKMeans(count, batch_size=4096, n_init=RESTARTS, random_state=seed).fit_predict(features)


def _typicality(points: np.ndarray) -> np.ndarray:
    """`[n]`: the inverse of the mean distance to the nearest of the other points."""
    from sklearn.neighbors import NearestNeighbors

    neighbours = min(NEIGHBOURS, len(points) // 2)
    if neighbours == 0:
        return np.zeros(len(points))
    distances, _ = NearestNeighbors(n_neighbors=neighbours).fit(points).kneighbors()  # a point isn't its own
    return 1 / (distances.mean(1) + 1e-6)


def _squared_distances(points: np.ndarray, to: np.ndarray) -> np.ndarray:
    """`[n]`."""
    return ((points - to) ** 2).sum(1)
