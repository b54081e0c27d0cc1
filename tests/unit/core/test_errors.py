import inspect
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from voltaloop.core import FAILURE_REASONS, ReferenceFailure, VoltaloopError, did_you_mean, errors

CLASSES = [
    found
    for _, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, VoltaloopError)
]


def made(kind: type[VoltaloopError]) -> VoltaloopError:
    if kind is ReferenceFailure:
        return ReferenceFailure("not_converged", "after 200 steps")
    return kind("expected this, got that")


def raise_it(kind: type[VoltaloopError]) -> None:
    raise made(kind)


def test_there_are_errors_to_test() -> None:
    assert len(CLASSES) >= 8


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_survives_pickling_with_its_text(kind: type[VoltaloopError]) -> None:
    error = made(kind)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(copy) is kind
    assert (copy.args, str(copy)) == (error.args, str(error))


def test_an_error_reaches_the_caller_of_a_worker_process() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        future = pool.submit(raise_it, ReferenceFailure)
        with pytest.raises(ReferenceFailure) as caught:
            future.result(timeout=60)
    assert (caught.value.reason, caught.value.detail) == ("not_converged", "after 200 steps")


@pytest.mark.parametrize("reason", FAILURE_REASONS)
def test_a_failure_reads_as_reason_and_detail(reason: str) -> None:
    assert str(ReferenceFailure(reason, "0.3 Å")) == f"{reason}: 0.3 Å"
    assert str(ReferenceFailure(reason)) == reason
    assert ReferenceFailure(reason).detail == ""


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("pod2", " Did you mean 'pod'?"),
        ("chgnett", " Did you mean 'chgnet'?"),
        ("zzz", ""),
        ("", ""),
    ],
)
def test_a_near_word_is_suggested_and_a_far_one_is_not(word: str, hint: str) -> None:
    assert did_you_mean(word, ["pod", "chgnet", "mace"]) == hint


def test_nothing_is_suggested_where_nothing_is_known() -> None:
    assert did_you_mean("pod", []) == ""
