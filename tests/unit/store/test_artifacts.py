import errno
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from voltaloop.core import ArtifactError, StorageError
from voltaloop.store import ArtifactStore, artifacts, find_names

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
        StorageError,
        match=r"Cannot write .* \(3 bytes\): No space left on device\. Make room on that disk "
        r".*, then run again: nothing is lost\.",
    ):
        store.put_bytes(b"abc", "txt")
    assert [file for file in store.root.rglob("*") if file.is_file()] == []
    monkeypatch.undo()
    assert store.get_bytes(store.put_bytes(b"abc", "txt")) == b"abc"


def test_a_folder_in_which_nobody_may_write_gives_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"Cannot write .*: Not a directory\. Remove the file"):
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


@pytest.mark.parametrize(
    ("number", "way_out"),
    [
        (errno.EDQUOT, "Make room on that disk"),
        (errno.EROFS, "Mount it for writing"),
        (errno.EACCES, "have the permission to write there"),
        (errno.ENOENT, "Put the folder back"),
        (errno.ESTALE, "mount its disk again"),
        (errno.EIO, "Have the disk and its connection checked"),
    ],
)
def test_every_trouble_of_a_disk_is_named_with_its_way_out(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch, number: int, way_out: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", refuse)
    pattern = rf"Cannot write .*: {os.strerror(number)}\. .*{way_out}.*, then run again"
    for write in (
        lambda: store.put_bytes(b"abc", "txt"),
        lambda: store.memo_put(KEY, rows=np.zeros(1)),
        lambda: store.results_put(KEY, {}),
    ):
        with pytest.raises(StorageError, match=pattern):
            write()
    assert [file for file in store.root.rglob("*") if file.is_file()] == []


def test_a_campaign_folder_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "lno"
    folder.mkdir()
    store = ArtifactStore(folder / "artifacts")
    store.put_bytes(b"abc", "txt")
    folder.rename(tmp_path / "moved")
    with pytest.raises(StorageError, match=r"No such file or directory\. Put the folder back"):
        store.put_bytes(b"abcd", "txt")
    assert not folder.exists()
    (tmp_path / "moved").rename(folder)
    store.put_bytes(b"abcd", "txt")


def test_an_array_of_objects_that_someone_put_into_a_file_is_not_unpickled(
    store: ArtifactStore, tmp_path: Path
) -> None:
    np.savez(tmp_path / "evil.npz", odd=np.array([{}], dtype=object))
    name = store.put_bytes((tmp_path / "evil.npz").read_bytes(), "npz")
    with pytest.raises(ValueError, match="Object arrays cannot be loaded when allow_pickle=False"):
        store.get_arrays(name)


def test_a_pickle_in_place_of_json_is_not_read(store: ArtifactStore) -> None:
    name = store.put_bytes(pickle.dumps({"energy": 1.0}), "json")
    with pytest.raises(ValueError, match=r"codec can't decode|Expecting value"):
        store.get_json(name)


def test_missing_and_damaged_artifacts_are_found_each_once_in_the_order_asked(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut, other = (store.put_bytes(text, "txt") for text in (b"whole", b"cut", b"other"))
    store.path(cut).write_bytes(b"cu")
    missing = f"{SHA256_OF_ABC}.txt"
    assert store.damaged([missing, whole, cut, missing, other]) == [missing, cut]
    assert store.damaged([]) == []
    store.put_bytes(b"cut", "txt")
    assert store.damaged([whole, cut, other]) == []
    monkeypatch.setattr(artifacts.hashlib, "file_digest", lambda *_: pytest.fail("hashed again"))
    assert store.damaged(iter([whole, cut, other])) == []


def test_a_damaged_file_is_kept_aside_under_a_number_and_can_be_written_anew(
    store: ArtifactStore,
) -> None:
    name = store.put_bytes(b"abc", "txt")
    for n, damage in enumerate([b"", b"ab", b"xyz"], start=1):
        store.path(name).write_bytes(damage)
        kept = store.set_aside(name)
        assert kept == store.root / "damaged" / f"{name}.{n}"
        assert kept.read_bytes() == damage
        assert not store.has(name)
        assert store.put_bytes(b"abc", "txt") == name
    assert [file.read_bytes() for file in sorted((store.root / "damaged").iterdir())] == [
        b"",
        b"ab",
        b"xyz",
    ]


def test_what_is_missing_or_whole_is_not_set_aside(store: ArtifactStore) -> None:
    assert store.set_aside(f"{SHA256_OF_ABC}.txt") is None
    name = store.put_bytes(b"abc", "txt")
    assert store.set_aside(name) is None
    assert store.get_bytes(name) == b"abc"
    store.path(name).unlink()
    assert store.set_aside(name) is None
    assert not (store.root / "damaged").exists()


def test_names_are_found_wherever_they_stand_in_an_object() -> None:
    names = [f"{digit * 64}.json" for digit in "abcdef"]
    data = {
        "frame": names[0],
        "runs": [{"result": {"frames": (names[1], names[2]), "n": 3}}, None, 1.5, True],
        names[3]: names[3],
        "text": f"see {names[4]}",
        "path": f"ff/{names[5]}",
        "upper": names[5].upper(),
        "hash": "a" * 64,
        "line": f"{names[5]}\n",
    }
    assert find_names(data) == set(names[:4])
    assert find_names(names[0]) == {names[0]}
    assert find_names(None) == set()


@pytest.mark.parametrize("folder", ["ba", "memo", "results", "damaged"])
def test_a_link_that_leads_out_of_the_store_is_not_followed(
    store: ArtifactStore, tmp_path: Path, folder: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "theirs.tmp").write_bytes(b"theirs")
    damaged = store.put_bytes(b"other", "txt")
    store.path(damaged).write_bytes(b"damage")
    (store.root / folder).symlink_to(outside)
    write = {
        "ba": lambda: store.put_bytes(b"abc", "txt"),
        "memo": lambda: store.memo_put(KEY, rows=np.zeros(1)),
        "results": lambda: store.results_put(KEY, {}),
        "damaged": lambda: store.set_aside(damaged),
    }[folder]
    with pytest.raises(StorageError, match=r"Not a directory\. Remove the file or link"):
        write()
    store.remove_leftovers()
    assert [file.read_bytes() for file in outside.iterdir()] == [b"theirs"]


def test_a_file_that_is_a_link_is_replaced_or_moved_and_what_it_leads_to_stays(
    store: ArtifactStore, tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_bytes(b"theirs")
    name = store.put_bytes(b"abc", "txt")
    file = store.path(name)
    file.unlink()
    file.symlink_to(theirs)
    kept = store.set_aside(name)
    assert kept is not None
    assert kept.is_symlink()
    file.symlink_to(theirs)
    store.put_bytes(b"abc", "txt")
    assert not file.is_symlink()
    result = store.root / "results" / KEY[:2] / f"{KEY}.json"
    result.parent.mkdir(parents=True)
    result.symlink_to(theirs)
    assert store.results_get(KEY) is None
    result.symlink_to(theirs)
    store.results_drop(KEY)
    assert not result.is_symlink()
    assert theirs.read_bytes() == b"theirs"


def test_the_root_may_be_a_link_to_another_disk(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "artifacts").symlink_to(tmp_path / "scratch")
    store = ArtifactStore(tmp_path / "artifacts")
    assert store.get_bytes(store.put_bytes(b"abc", "txt")) == b"abc"


def test_the_result_of_a_task_is_kept_until_it_is_dropped(store: ArtifactStore) -> None:
    result = {"result": {"energy": -1.25, "frames": [1, None]}, "started": 1700000000.123456}
    assert store.results_get(KEY) is None
    store.results_put(KEY, result)
    assert store.results_get(KEY) == result
    store.results_put(KEY, {"second": True})
    assert store.results_get(KEY) == {"second": True}
    file = store.root / "results" / KEY[:2] / f"{KEY}.json"
    assert json.loads(file.read_text())["result"] == {"second": True}
    for _ in range(2):
        store.results_drop(KEY)
        assert store.results_get(KEY) is None
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.results_put(KEY, {"energy": float("nan")})


def test_a_truncated_or_altered_result_counts_as_absent_and_is_kept_aside(
    store: ArtifactStore,
) -> None:
    store.results_put(KEY, {"energy": -1.25})
    file = store.root / "results" / KEY[:2] / f"{KEY}.json"
    whole = file.read_bytes()
    damages = [
        b"",
        whole[:10],
        whole[:-1],
        whole + b" ",
        whole.replace(b"1.25", b"1.26"),
        b"{}",
        b"\xff",
    ]
    for n, damage in enumerate(damages, start=1):
        file.write_bytes(damage)
        assert store.results_get(KEY) is None, damage
        assert not file.exists()
        assert (store.root / "damaged" / f"{KEY}.json.{n}").read_bytes() == damage
    file.write_bytes(whole)
    assert store.results_get(KEY) == {"energy": -1.25}


@pytest.mark.parametrize("key", ["", "../x", KEY[:-1], KEY.upper(), f"{KEY}\n"])
def test_a_task_id_that_is_no_hash_is_refused(store: ArtifactStore, key: str) -> None:
    for method in (store.results_get, store.results_drop, lambda key: store.results_put(key, {})):
        with pytest.raises(ArtifactError, match="Task id of a result: expected 64 hex digits"):
            method(key)


def test_results_of_all_but_the_named_tasks_are_forgotten(store: ArtifactStore) -> None:
    keys = [digit * 64 for digit in "abc"]
    for key in keys:
        store.results_put(key, {"key": key})
    store.results_keep({keys[1]})
    assert [store.results_get(key) for key in keys] == [None, {"key": keys[1]}, None]


def test_another_artifact_is_read_in_place_of_a_lost_one_until_that_is_written_again(
    store: ArtifactStore,
) -> None:
    lost, newer, newest = (store.put_bytes(text, "txt") for text in (b"lost", b"newer", b"newest"))
    store.path(lost).unlink()
    store.stand_in(lost, newer)
    assert store.verify(lost)
    assert store.get_bytes(lost) == b"newer"
    store.path(newer).unlink()
    store.stand_in(newer, newest)
    assert store.get_bytes(lost) == b"newest"
    assert store.damaged([lost, newer, newest]) == []
    with pytest.raises(ValueError, match="cannot stand in for itself"):
        store.stand_in(newest, lost)
    assert store.put_bytes(b"lost", "txt") == lost
    assert store.get_bytes(lost) == b"lost"


@pytest.mark.parametrize("name", ["../../etc/passwd", f"{SHA256_OF_ABC}.txt/../x"])
def test_a_stand_in_cannot_leave_the_folder_either(store: ArtifactStore, name: str) -> None:
    other = store.put_bytes(b"abc", "txt")
    for pair in ((name, other), (other, name)):
        with pytest.raises(ArtifactError, match="Artifact name: expected"):
            store.stand_in(*pair)
    with pytest.raises(ArtifactError, match="Artifact name: expected"):
        store.set_aside(name)
    with pytest.raises(ArtifactError, match="Artifact name: expected"):
        store.damaged([name])
