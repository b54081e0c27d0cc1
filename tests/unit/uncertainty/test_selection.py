import numpy as np
import pytest

from voltaloop.core import FloatArray
from voltaloop.uncertainty import Candidate, Picked, TrustLevels, auto_trust, select
from voltaloop.uncertainty.selection import MIN_UPPER, NEAR_DUPLICATE

TRUST = TrustLevels(lower=0.2, upper=1.0)
KNOWN = np.random.default_rng(0).normal(size=(40, 3))


def candidate(key: str, sigma: float, *descriptor: float) -> Candidate:
    return Candidate(key=key, sigma=sigma, descriptor=np.array(descriptor))


def many(count: int, seed: int, spread: float = 3.0) -> list[Candidate]:
    rng = np.random.default_rng(seed)
    sigmas, points = rng.uniform(0.0, 1.5, count), rng.normal(0.0, spread, (count, 3))
    return [
        Candidate(key=str(i), sigma=float(sigma), descriptor=point)
        for i, (sigma, point) in enumerate(zip(sigmas, points, strict=True))
    ]


def choose(
    candidates: list[Candidate],
    known: FloatArray = KNOWN,
    *,
    count: int = 8,
    n_random: int = 0,
    seed: int = 0,
) -> list[Picked]:
    rng = np.random.default_rng(seed)
    return select(candidates, known, TRUST, count=count, n_random=n_random, rng=rng)


def test_nothing_above_the_upper_level_is_ever_picked() -> None:
    for seed in range(20):
        picks = choose(many(60, seed), n_random=4, seed=seed)
        assert len(picks) == 8
        assert all(pick.sigma <= TRUST.upper for pick in picks)


def test_uncertain_picks_are_never_below_the_lower_level_but_random_ones_may_be() -> None:
    low = 0
    for seed in range(20):
        picks = choose(many(60, seed), n_random=4, seed=seed)
        assert all(p.sigma >= TRUST.lower for p in picks if p.origin == "uncertain")
        low += sum(p.sigma < TRUST.lower for p in picks if p.origin == "random")
    assert low > 0


def test_the_random_share_is_marked_and_comes_first() -> None:
    picks = choose(many(60, 1), count=8, n_random=3)
    assert [pick.origin for pick in picks] == ["random"] * 3 + ["uncertain"] * 5
    assert {pick.reason for pick in picks[:3]} == {"random share"}


def test_the_random_share_does_not_look_at_the_sigma() -> None:
    candidates = many(200, 2)
    sound = [c.sigma for c in candidates if c.sigma <= TRUST.upper]
    picked = [choose(candidates, count=1, n_random=1, seed=seed)[0].sigma for seed in range(400)]
    assert np.mean(picked) == pytest.approx(np.mean(sound), abs=0.05)


def test_random_picks_alone_fill_the_batch_where_nothing_is_uncertain() -> None:
    known_well = [candidate(str(i), 0.01, 10.0 * i, 0, 0) for i in range(1, 9)]
    picks = choose(known_well, count=8, n_random=2)
    assert [pick.origin for pick in picks] == ["random", "random"]


@pytest.mark.parametrize(("count", "n_random"), [(0, 0), (0, 3), (1, 3), (5, 5), (5, 0), (200, 10)])
def test_never_more_than_the_count(count: int, n_random: int) -> None:
    picks = choose(many(60, 3), count=count, n_random=n_random)
    assert len(picks) <= count
    assert len({pick.key for pick in picks}) == len(picks)
    assert sum(pick.origin == "random" for pick in picks) == min(n_random, count)


def test_a_frame_that_is_known_already_is_not_picked_again() -> None:
    copies = [
        Candidate(key=str(i), sigma=0.5, descriptor=point + 1e-6) for i, point in enumerate(KNOWN)
    ]
    new = candidate("new", 0.5, 9.0, 9.0, 9.0)
    assert [pick.key for pick in choose([*copies, new], n_random=1, count=8)] == ["new"]


def test_of_near_duplicates_among_the_candidates_one_is_picked() -> None:
    twins = [candidate(str(i), 0.5, 5.0 + 1e-4 * i, 5.0, 5.0) for i in range(6)]
    assert len(choose(twins)) == 1
    assert len(choose(twins, n_random=3)) == 1


def test_a_near_duplicate_is_one_nearer_than_a_share_of_the_usual_spacing() -> None:
    known = np.arange(11.0)[:, None]
    at = [candidate("inside", 0.5, 5 + 0.9 * NEAR_DUPLICATE)]
    beyond = [candidate("outside", 0.5, 5 + 1.1 * NEAR_DUPLICATE)]
    assert choose(at, known) == []
    assert [pick.key for pick in choose(beyond, known)] == ["outside"]


def test_uncertain_picks_go_from_the_farthest_to_the_nearest() -> None:
    known = np.array([[0.0], [1.0], [2.0]])
    line = [candidate(str(x), 0.5, x) for x in (3.2, 5.5, 9.0, 7.9)]
    # 9 is farthest; then 5.5, 3.5 from its nearest; then 3.2 (1.2 from 2) and 7.9 (1.1 from 9).
    assert [pick.key for pick in choose(line, known)] == ["9.0", "5.5", "3.2", "7.9"]


def test_the_most_uncertain_is_not_preferred_over_the_most_different() -> None:
    crowd = [candidate(f"crowd {i}", 0.99, 5.0 + 0.05 * i, 5.0, 5.0) for i in range(20)]
    lonely = candidate("lonely", 0.21, -9.0, -9.0, -9.0)
    assert "lonely" in {pick.key for pick in choose([*crowd, lonely], count=2)}


def test_the_reason_names_sigma_level_and_distance() -> None:
    known = np.array([[0.0], [1.0], [2.0]])
    (pick,) = choose([candidate("far", 0.456, 5.0)], known)
    assert pick.reason == "sigma 0.46 eV/Å above 0.20, 3.0 spacings from the nearest label"


def test_each_descriptor_counts_in_its_own_unit() -> None:
    """A descriptor in thousands must not drown one in thousandths."""
    scale = np.array([1e4, 1e-4, 1.0])
    plain = choose(many(60, 5), n_random=2)
    scaled = [
        Candidate(key=c.key, sigma=c.sigma, descriptor=c.descriptor * scale) for c in many(60, 5)
    ]
    assert [p.key for p in choose(scaled, KNOWN * scale, n_random=2)] == [p.key for p in plain]


def test_the_same_seed_gives_the_same_picks_and_another_seed_others() -> None:
    candidates = many(60, 6)
    assert choose(candidates, n_random=4, seed=1) == choose(candidates, n_random=4, seed=1)
    assert choose(candidates, n_random=4, seed=1) != choose(candidates, n_random=4, seed=2)


def test_what_is_known_may_be_one_frame_or_none() -> None:
    candidates = many(30, 7)
    for known in (np.empty((0, 3)), KNOWN[:1]):
        picks = choose(candidates, known, count=6, n_random=2)
        assert [pick.origin for pick in picks] == ["random"] * 2 + ["uncertain"] * 4


def test_a_composition_without_any_label_is_new_although_all_labels_agree_in_it() -> None:
    """Lithium content is a descriptor; labels of one content say nothing of another."""
    known = np.column_stack([KNOWN, np.ones(40)])
    other = candidate("half empty", 0.5, *KNOWN[0], 0.5)
    assert [pick.key for pick in choose([other], known)] == ["half empty"]


def test_candidates_and_labels_that_are_all_alike_give_no_pick() -> None:
    same = [candidate(str(i), 0.5, 1.0, 2.0, 3.0) for i in range(5)]
    assert choose(same, np.tile([1.0, 2.0, 3.0], (4, 1)), n_random=2) == []


def test_no_candidates_give_no_picks() -> None:
    assert choose([]) == []
    assert choose([candidate("broken", 5.0, 0, 0, 0)], n_random=1) == []


def test_the_arrays_given_are_not_changed() -> None:
    known = KNOWN.copy()
    choose(many(30, 8), known, n_random=3)
    np.testing.assert_array_equal(known, KNOWN)


@pytest.mark.parametrize("floor", [0.02, 0.1, 0.5])
def test_trust_levels_follow_the_noise_floor(floor: float) -> None:
    trust = auto_trust(floor)
    assert floor < trust.lower < trust.upper
    assert trust.upper >= MIN_UPPER


def test_given_trust_levels_win() -> None:
    assert auto_trust(0.1, lower=0.3, upper=2.5) == TrustLevels(lower=0.3, upper=2.5)
    assert auto_trust(0.1, lower=0.3).lower == 0.3
    assert auto_trust(0.1, upper=0.8).upper == 0.8
    assert auto_trust(0.1, lower=5.0).upper == 10.0
