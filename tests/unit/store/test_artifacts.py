import errno
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from voltaloop.core import ArtifactError
from voltaloop.store import ArtifactStore, artifacts

KEY = "ab" * 32
SHA256_OF_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


def test_a_file_is_named_by_its_sha256_and_sharded_by_its_first_two_digits(
    store: ArtifactStore,
) -> None:
    name = store.put_bytes(b"abc", "pod")
    assert name == f"{SHA256_OF_ABC}.pod"
    assert store.path(name) == store.root / "ba" / name
    assert store.path(name).read_bytes() == store.get_bytes(name) == b"abc"


def test_writing_the_same_twice_leaves_one_untouched_file(store: ArtifactStore) -> None:
    name = store.put_bytes(b"abc", "txt")
    before = store.path(name).stat().st_mtime_ns
    assert store.put_bytes(b"abc", "txt") == name
    assert store.path(name).stat().st_mtime_ns == before
    assert [file.name for file in store.root.rglob("*") if file.is_file()] == [name]


def test_json_comes_back_equal_and_its_name_does_not_depend_on_the_order_of_keys(
    store: ArtifactStore,
) -> None:
    name = store.put_json({"b": [1, 2.5, None], "a": "Å"})
    assert store.get_json(name) == {"a": "Å", "b": [1, 2.5, None]}
    assert store.put_json({"a": "Å", "b": [1, 2.5, None]}) == name


def test_json_with_nan_is_refused(store: ArtifactStore) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.put_json({"energy": float("nan")})


def test_arrays_come_back_bit_for_bit(store: ArtifactStore) -> None:
    arrays = {
        "rows": np.random.default_rng(1).normal(size=(7, 3)),
        "numbers": np.array([3, 28, 8], dtype=np.int32),
        "energy": np.float64(-1.25),
        "mask": np.array([True, False]),
        "empty": np.zeros((0, 4)),
        "symbols": np.array(["Li", "Ni"]),
        "special": np.array([np.nan, -0.0, np.inf]),
    }
    back = store.get_arrays(store.put_arrays(**arrays))
    assert set(back) == set(arrays)
    for name, array in arrays.items():
        assert back[name].dtype == np.asarray(array).dtype
        assert back[name].shape == np.shape(array)
        assert back[name].tobytes() == np.asarray(array).tobytes()


def test_the_same_arrays_have_the_same_name_in_any_process_order_and_memory_layout(
    store: ArtifactStore,
) -> None:
    rows, energy = np.arange(6.0).reshape(2, 3), np.array(1.0)
    name = store.put_arrays(rows=rows, energy=energy)
    assert store.put_arrays(energy=energy, rows=np.asfortranarray(rows)) == name
    program = (
        "import sys, numpy as np; from voltaloop.store import ArtifactStore; "
        "rows = np.arange(6.0).reshape(2, 3); "
        "print(ArtifactStore(sys.argv[1]).put_arrays(rows=rows, energy=np.array(1.0)))"
    )
    other = subprocess.run(
        [sys.executable, "-c", program, store.root], capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == name


def test_numpy_alone_can_read_stored_arrays(store: ArtifactStore) -> None:
    name = store.put_arrays(rows=np.arange(3))
    with np.load(store.path(name), allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["rows"], [0, 1, 2])


def test_python_objects_are_refused_because_only_pickle_could_store_them(
    store: ArtifactStore,
) -> None:
    with pytest.raises(TypeError, match=r"Array 'odd': expected numbers.*got Python objects"):
        store.put_arrays(odd=np.array([{}, None], dtype=object))


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "ba/x.txt",
        SHA256_OF_ABC,
        f"{SHA256_OF_ABC}.",
        f"{KEY}.a/b",
        f"{KEY}.t\n",
    ],
)
def test_a_name_that_could_leave_the_folder_is_refused(store: ArtifactStore, name: str) -> None:
    for method in (store.path, store.has, store.verify, store.get_bytes, store.get_json):
        with pytest.raises(ArtifactError, match=r"expected '<64 hex digits>.<suffix>', got"):
            method(name)


@pytest.mark.parametrize("suffix", ["", ".txt", "a/b", "TXT", "x" * 17])
def test_a_suffix_that_is_no_suffix_is_refused(store: ArtifactStore, suffix: str) -> None:
    with pytest.raises(ValueError, match="Artifact suffix: expected 1 to 16 of a-z and 0-9"):
        store.put_bytes(b"abc", suffix)


def test_a_missing_artifact_is_named_with_a_way_out(store: ArtifactStore) -> None:
    name = f"{SHA256_OF_ABC}.txt"
    assert not store.has(name)
    assert not store.verify(name)
    with pytest.raises(ArtifactError, match=f"{name} is not in .*computed again"):
        store.get_bytes(name)


@pytest.mark.parametrize("damage", [b"", b"ab", b"abd", b"abcd"])
def test_damage_is_noticed_even_after_a_good_reading_and_writing_again_repairs(
    store: ArtifactStore, damage: bytes
) -> None:
    name = store.put_bytes(b"abc", "txt")
    assert store.get_bytes(name) == b"abc"
    store.path(name).write_bytes(damage)
    assert store.has(name)
    assert not store.verify(name)
    with pytest.raises(ArtifactError, match="is damaged: its content does not match its name"):
        store.path(name)
    assert store.put_bytes(b"abc", "txt") == name
    assert store.get_bytes(name) == b"abc"


def test_an_unchanged_file_is_hashed_once(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = store.put_bytes(b"hashed once", "txt")
    store.get_bytes(name)
    monkeypatch.setattr(artifacts.hashlib, "file_digest", lambda *_: pytest.fail("hashed again"))
    assert store.get_bytes(name) == b"hashed once"
    assert pickle.loads(pickle.dumps(store)).get_bytes(name) == b"hashed once"  # noqa: S301 - our own


def test_a_store_is_cheap_to_send_to_a_worker(store: ArtifactStore) -> None:
    store.put_bytes(bytes(100_000), "bin")
    assert len(pickle.dumps(store)) < 500


def test_a_full_disk_gives_a_clear_error_and_leaves_nothing(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        ArtifactError, match=r"Cannot write .* \(3 bytes\): No space left on device"
    ):
        store.put_bytes(b"abc", "txt")
    assert [file for file in store.root.rglob("*") if file.is_file()] == []
    monkeypatch.undo()
    assert store.get_bytes(store.put_bytes(b"abc", "txt")) == b"abc"


def test_a_folder_in_which_nobody_may_write_gives_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match=r"Cannot write .*: (File exists|Not a directory)"):
        ArtifactStore(tmp_path / "file").put_bytes(b"abc", "txt")


def test_writers_killed_at_any_instant_leave_only_whole_artifacts(store: ArtifactStore) -> None:
    program = (
        "import sys; from voltaloop.store import ArtifactStore\n"
        "store = ArtifactStore(sys.argv[1])\n"
        "for n in range(100000):\n"
        "    print(store.put_bytes(bytes(200_000) + b'%d' % n, 'bin'), flush=True)\n"
    )
    acknowledged = []
    for lines in (3, 11, 20):
        writer = subprocess.Popen(
            [sys.executable, "-c", program, store.root], stdout=subprocess.PIPE, text=True
        )
        with writer:
            assert writer.stdout is not None
            acknowledged += [writer.stdout.readline().strip() for _ in range(lines)]
            writer.kill()
    names = {file.name for file in store.root.rglob("*.bin")}
    assert set(acknowledged) <= names
    assert all(store.verify(name) for name in names)


def test_leftovers_of_killed_writers_are_removed_and_artifacts_stay(store: ArtifactStore) -> None:
    name = store.put_bytes(b"abc", "txt")
    (store.root / "ba" / "ba7816-0123.tmp").write_bytes(b"ab")
    assert store.remove_leftovers() == 1
    assert store.remove_leftovers() == 0
    assert store.get_bytes(name) == b"abc"


def test_a_memo_comes_back_until_it_is_replaced(store: ArtifactStore) -> None:
    assert store.memo_get(KEY) is None
    store.memo_put(KEY, rows=np.arange(4.0))
    back = store.memo_get(KEY)
    assert back is not None
    np.testing.assert_array_equal(back["rows"], np.arange(4.0))
    store.memo_put(KEY, rows=np.zeros(1))
    back = store.memo_get(KEY)
    assert back is not None
    assert back["rows"].shape == (1,)


def test_a_truncated_or_altered_memo_counts_as_absent(store: ArtifactStore) -> None:
    store.memo_put(KEY, rows=np.arange(100.0))
    (file,) = store.root.rglob("*.memo")
    whole = file.read_bytes()
    for length in (0, 10, 64, 65, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        assert store.memo_get(KEY) is None, length
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert store.memo_get(KEY) is None


@pytest.mark.parametrize("key", ["", "../x", KEY[:-1], KEY.upper(), f"{KEY}\n"])
def test_a_memo_key_that_is_no_hash_is_refused(store: ArtifactStore, key: str) -> None:
    with pytest.raises(ArtifactError, match="Memo key: expected 64 hex digits, got"):
        store.memo_get(key)
    with pytest.raises(ArtifactError, match="Memo key: expected 64 hex digits, got"):
        store.memo_put(key, rows=np.zeros(1))
