import errno
import pickle

import pytest

from voltaloop.core import ReferenceFailure, StorageError
from voltaloop.references import scratch_folder
from voltaloop.references.failures import LONGEST_FILE, end_of, failure_of, read_files


def caught(err: BaseException) -> BaseException:
    """The error as it comes with its traceback."""
    try:
        raise err
    except BaseException as raised:  # noqa: BLE001 - it was raised one line above
        return raised


def test_any_error_is_engine_failed_and_keeps_its_traceback():
    failure = failure_of(caught(ZeroDivisionError("division by zero")))
    assert str(failure) == "engine_failed: ZeroDivisionError: division by zero"
    assert "in caught" in failure.files["traceback.txt"]
    copy = pickle.loads(pickle.dumps(failure))  # noqa: S301 - our own bytes
    assert copy.files == failure.files


@pytest.mark.parametrize(
    "err",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 99 bytes"),
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
    ],
)
def test_want_of_memory_is_named(err):
    assert failure_of(err).reason == "out_of_memory"


@pytest.mark.parametrize(
    ("number", "match"),
    [
        (errno.ENOSPC, r"The disk is full: free some space\. The system said: .*/Some/File"),
        (errno.EDQUOT, "quota is used up"),
        (errno.EROFS, "read-only"),
        (errno.ESTALE, "network file system"),
    ],
)
def test_trouble_with_the_storage_is_no_failure_of_the_frame(number, match):
    err = OSError(number, "as the system says", "/Some/File")
    with pytest.raises(StorageError, match=match):
        raise failure_of(err)


def test_trouble_with_the_storage_is_found_behind_the_engine_s_own_error():
    err = RuntimeError("the calculation failed")
    err.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert isinstance(failure_of(err), StorageError)


def test_another_error_of_the_system_is_the_engine_s():
    assert failure_of(FileNotFoundError(errno.ENOENT, "gone", "weights")).reason == "engine_failed"


def test_files_are_kept_from_their_end(tmp_path):
    (tmp_path / "long.txt").write_text("a" * 10 + "b" * LONGEST_FILE)
    (tmp_path / "short.txt").write_bytes(b"not utf-8: \xff")
    kept = read_files(tmp_path, ("long.txt", "short.txt", "absent.txt"))
    assert kept == {"long.txt": "b" * LONGEST_FILE, "short.txt": "not utf-8: \ufffd"}
    assert end_of("a" + "b" * LONGEST_FILE) == "b" * LONGEST_FILE


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return tmp_path / "tmp"


def test_a_scratch_folder_is_made_where_the_temporary_folder_is_gone(temporary):
    assert not temporary.exists()
    with scratch_folder("engine-") as folder:
        assert folder.parent == temporary
        (folder / "file").write_text("text")
    assert list(temporary.iterdir()) == []


def test_a_temporary_folder_that_cannot_be_made_is_trouble_with_the_storage(temporary):
    temporary.write_text("a file in its place")
    with (
        pytest.raises(StorageError, match=r"Cannot make a scratch folder: .*set TMPDIR"),
        scratch_folder("engine-"),
    ):
        pass


@pytest.mark.usefixtures("temporary")
@pytest.mark.parametrize(
    "err", [FileNotFoundError("result.json"), ReferenceFailure("engine_failed", "ended with 1")]
)
def test_a_scratch_folder_removed_in_use_is_trouble_with_the_storage(err):
    def calculate() -> None:
        with scratch_folder("engine-") as folder:
            folder.rmdir()
            raise err

    with pytest.raises(StorageError, match="was removed while a calculation used it"):
        calculate()


@pytest.mark.usefixtures("temporary")
def test_a_failure_in_a_scratch_folder_that_is_there_stays_what_it_is():
    failure = ReferenceFailure("not_converged", "after 200 steps")
    with pytest.raises(ReferenceFailure) as raised, scratch_folder("engine-"):
        raise failure
    assert raised.value is failure
