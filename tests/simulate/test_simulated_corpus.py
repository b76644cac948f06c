"""A simulated corpus on disk: reproducible, resumable, and careful with other people's folders."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ragvlm.errors import InputError, RagvlmError
from ragvlm.simulate import KINDS, simulate_corpus
from ragvlm.simulate.plan import plan

FAST = ("comet_assay", "single_molecules", "unstained_cells")


def contents(folder: Path) -> dict[str, bytes]:
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def rows(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated") / "six"
    simulate_corpus(folder, 6, 3, kinds=FAST, workers=1)
    return folder


def test_layout_and_fields(six: Path) -> None:
    found = rows(six)
    assert len(found) == len({row["id"] for row in found}) == 6
    for row in found:
        assert (six / str(row["file_name"])).is_file()
        assert row["source"] == "ragvlm simulator" and row["licence"] == "CC0-1.0"
        assert {"caption", "subject_id", "modality", "labels"} <= row.keys()
    card = (six / "README.md").read_text(encoding="utf-8")
    assert "--n 6 --seed 3" in card and "No real specimen" in card
    assert {path.name for path in six.iterdir()} == {"images", "metadata.jsonl", "README.md", "simulation.json"}


def test_the_same_seed_gives_the_same_bytes_in_any_number_of_processes(six: Path, tmp_path: Path) -> None:
    simulate_corpus(tmp_path / "a", 12, 3, kinds=FAST, workers=2)
    simulate_corpus(tmp_path / "b", 12, 3, kinds=FAST, workers=1)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert rows(tmp_path / "a")[:6] == rows(six)
    for row in rows(six):
        name = str(row["file_name"])
        assert (tmp_path / "a" / name).read_bytes() == (six / name).read_bytes()


def test_another_seed_gives_other_pictures(six: Path, tmp_path: Path) -> None:
    simulate_corpus(tmp_path / "c", 3, 4, kinds=FAST, workers=1)
    assert [row["caption"] for row in rows(tmp_path / "c")] != [row["caption"] for row in rows(six)[:3]]


def test_a_run_that_was_cut_off_goes_on(six: Path, tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop(done: int, _: int) -> None:
        if done == 3:
            raise StopError

    folder = tmp_path / "cut"
    with pytest.raises(StopError):
        simulate_corpus(folder, 6, 3, kinds=FAST, progress=stop, workers=1)
    assert not (folder / "metadata.jsonl").exists()
    kept = {path.name: path.stat().st_mtime_ns for path in (folder / "images").iterdir()}
    (folder / "images" / ".00003-comet_assay.png.x.tmp").write_bytes(b"half")
    seen: list[tuple[int, int]] = []
    done = simulate_corpus(folder, 6, 3, kinds=FAST, progress=lambda *counts: seen.append(counts), workers=1)
    assert done.drawn == 3 and seen == [(4, 6), (5, 6), (6, 6)]
    assert all((folder / "images" / name).stat().st_mtime_ns == time for name, time in kept.items())
    assert contents(folder) == contents(six)


def test_a_lost_picture_is_drawn_again_and_a_larger_n_goes_on(six: Path, tmp_path: Path) -> None:
    folder = tmp_path / "grown"
    simulate_corpus(folder, 4, 3, kinds=FAST, workers=1)
    (folder / str(rows(folder)[1]["file_name"])).unlink()
    assert simulate_corpus(folder, 6, 3, kinds=FAST, workers=1).drawn == 3
    assert contents(folder) == contents(six)
    assert simulate_corpus(folder, 6, 3, kinds=FAST, workers=1).drawn == 0


def test_foreign_folders_and_other_recipes_are_refused_untouched(six: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="other files"):
        simulate_corpus(tmp_path, 3, kinds=FAST)
    assert contents(tmp_path) == {"thesis.txt": b"mine"}
    before = contents(six)
    with pytest.raises(InputError, match="seed=3"):
        simulate_corpus(six, 6, 5, kinds=FAST)
    with pytest.raises(InputError, match="kinds"):
        simulate_corpus(six, 6, 3)
    with pytest.raises(InputError, match="more than 2"):
        simulate_corpus(six, 2, 3, kinds=FAST)
    with pytest.raises(InputError, match="is a file"):
        simulate_corpus(tmp_path / "thesis.txt", 2)
    assert contents(six) == before


@pytest.mark.parametrize("state", ["{", "[]", '{"generator": "another"}'])
def test_a_damaged_recipe_is_one_clear_line(tmp_path: Path, state: str) -> None:
    (tmp_path / "simulation.json").write_text(state)
    with pytest.raises(InputError) as error:
        simulate_corpus(tmp_path, 2, kinds=FAST)
    assert "\n" not in str(error.value)


def test_damaged_metadata_is_one_clear_line(tmp_path: Path) -> None:
    simulate_corpus(tmp_path / "d", 2, kinds=FAST, workers=1)
    (tmp_path / "d" / "metadata.jsonl").write_text("{\n")
    with pytest.raises(InputError, match="damaged"):
        simulate_corpus(tmp_path / "d", 2, kinds=FAST, workers=1)


@pytest.mark.parametrize(
    ("n", "seed", "kinds"), [(0, 0, None), (-1, 0, None), (1, -1, None), (1, 0, ["x"]), (1, 0, [])]
)
def test_bad_arguments(tmp_path: Path, n: int, seed: int, kinds: list[str] | None) -> None:
    with pytest.raises(RagvlmError):
        simulate_corpus(tmp_path / "never", n, seed, kinds=kinds)
    assert not (tmp_path / "never").exists()


def test_plans_do_not_depend_on_n_and_are_balanced() -> None:
    plans = [plan(0, KINDS, index) for index in range(5 * len(KINDS) + 3)]
    per_kind = [sum(p.kind == kind for p in plans) for kind in KINDS]
    assert set(per_kind) == {5, 6}
    slides = [p.subject_id for p in plans]
    assert max(slides.count(slide) for slide in slides) <= 3
    assert len(set(slides)) > len(slides) / 2


def test_import_is_light() -> None:
    code = "import sys, ragvlm.simulate as s; print(s.KINDS and {'numpy', 'scipy', 'skimage'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
