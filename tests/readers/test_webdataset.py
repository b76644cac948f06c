"""WebDataset shards: what is read of them, and that nothing in a tar breaks a run or leaves it."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shards import picture, sample, write_shards, write_tar
from tiny import ColourEncoder, build

from ragvlm.braces import expand_braces
from ragvlm.corpus import Corpus
from ragvlm.errors import CorpusError, ImageError
from ragvlm.images import open_image
from ragvlm.locator import Locator


def reasons(corpus: Corpus) -> dict[str, str]:
    return {item.item: item.reason for item in corpus.skipped}


def test_a_folder_of_shards(tmp_path: Path) -> None:
    corpus = Corpus.load(write_shards(tmp_path / "w"))
    assert (corpus.reader, len(corpus), corpus.skipped) == ("webdataset", 12, ())
    record = corpus.records[5]
    assert record.id == "00001/000000005"
    assert record.image == "00001.tar#member=000000005.png"
    assert (record.caption, record.modality) == ("a square, number 5", "paint")
    assert record.extra == {
        "key": "000000005", "status": "success", "url": "https://example.org/000000005", "width": 16
    }  # fmt: skip
    assert corpus.dropped_columns == ("PatientName",)
    image = open_image(corpus.image_path(record))
    assert image.tobytes() == open_image(picture(5)).tobytes()


@pytest.mark.parametrize("what", ["00001.tar", "{00000..00002}.tar", "{00002,00000}.tar", "shards.txt"])
def test_a_shard_a_pattern_and_a_list(tmp_path: Path, what: str) -> None:
    root = write_shards(tmp_path / "w")
    (root / "shards.txt").write_text("00002.tar\n\n00001.tar\n")
    corpus = Corpus.load(root / what)
    wanted = {"00001.tar": [4], "{00000..00002}.tar": [0, 4, 8], "{00002,00000}.tar": [8, 0], "shards.txt": [8, 4]}
    assert [record.id for record in corpus] == [f"{i // 4:05d}/{i + j:09d}" for i in wanted[what] for j in range(4)]
    assert corpus.image_path(corpus.records[0]).is_relative_to(root)


def test_an_index_of_shards_equals_that_of_files(tmp_path: Path) -> None:
    root = write_shards(tmp_path / "w", 2, 3)
    index = build(Corpus.load(root), tmp_path / "i")
    encoder = ColourEncoder()
    wanted = encoder.encode_images([open_image(picture(number)) for number in range(6)])
    assert index.image_embeddings(range(6)) == pytest.approx(wanted, abs=1e-3)
    again = build(Corpus.load(root), tmp_path / "i", encoder)
    assert again.report.unchanged == 6
    assert encoder.images == 6  # those encoded above


def test_braces() -> None:
    assert expand_braces("a-{08..10}-{x,y}.tar") == [f"a-{n}-{c}.tar" for n in ("08", "09", "10") for c in "xy"]
    assert expand_braces("plain.tar") == ["plain.tar"]
    for wrong in ("{5..3}.tar", "{0..99999999}.tar", "{0..9999}{0..9999}.tar"):
        with pytest.raises(CorpusError, match="pattern"):
            expand_braces(wrong)


def test_a_shard_of_the_pattern_that_is_not_there_is_skipped(tmp_path: Path) -> None:
    write_shards(tmp_path, 2)
    corpus = Corpus.load(tmp_path / "{00000..00002}.tar")
    assert len(corpus) == 8
    assert reasons(corpus) == {"00002.tar": "No such file or directory"}


def test_bad_members_are_skipped_by_name(tmp_path: Path) -> None:
    members = sample(0) | {
        "dir/1.jpg": picture(1, "JPEG"),  # keys may hold folders; no caption is fine
        "dir/1.cls": b"3",
        "2.png": picture(2),
        "2.jpg": picture(2, "JPEG"),
        "2.json": b"[1]",
        "3.txt": b"words alone",
        "4.png": picture(4),
        "4.txt": b"\xff\xfe",
        "5.png": b"no picture",
        "5.txt": b"five",
        "../6.png": picture(6),
        "/abs/7.png": picture(7),
        "README.md": b"not a sample",
    }
    write_tar(tmp_path / "w" / "0.tar", members)
    corpus = Corpus.load(tmp_path / "w")
    # names are keys, whatever they look like: nothing is ever written to them
    assert {r.id.removeprefix("0/") for r in corpus} == {"000000000", "dir/1", "2", "4", "5", "../6", "/abs/7"}
    assert next(r for r in corpus if r.id == "0/dir/1").labels == {"label": 3}
    found = reasons(corpus)
    assert found.pop("0.tar#member=2.jpg") == "is a second picture of its sample"
    assert found.pop("0.tar#member=2.json") == "is list, not a JSON object"
    assert found.pop("0.tar#member=4.txt") == "is not UTF-8"
    assert list(found.values()) == ["image is empty: every row needs its picture"]
    report = build(corpus, tmp_path / "i").report
    assert report.records == 6
    assert any("5.png" in item for item, _ in report.skipped)


def test_links_devices_and_folders_are_nobodys_pictures(tmp_path: Path) -> None:
    path = tmp_path / "0.tar"
    (tmp_path / "secret.png").write_bytes(picture(9))
    with tarfile.open(path, "w") as tar:
        for name, kind in (("a.png", tarfile.SYMTYPE), ("b.png", tarfile.LNKTYPE), ("c.png", tarfile.FIFOTYPE)):
            item = tarfile.TarInfo(name)
            item.type, item.linkname = kind, str(tmp_path / "secret.png")
            tar.addfile(item)
        item = tarfile.TarInfo("d.png")
        item.size = len(picture(1))
        tar.addfile(item, io.BytesIO(picture(1)))
    assert [record.id for record in Corpus.load(path)] == ["0/d"]
    with pytest.raises(ImageError, match=r"no member 'a\.png'"):
        open_image(Locator(str(path), {"member": "a.png"}).__str__())


@pytest.mark.parametrize("cut", [1200, 3000, 5200])
def test_a_cut_shard_gives_what_is_before_the_cut(tmp_path: Path, cut: int) -> None:
    root = write_shards(tmp_path / "w", 2, 3)
    whole = len(Corpus.load(root))
    data = (root / "00000.tar").read_bytes()
    (root / "00000.tar").write_bytes(data[:cut])
    corpus = Corpus.load(root)
    assert 3 <= len(corpus) < whole
    assert {record.id.split("/")[0] for record in corpus} >= {"00001"}
    assert corpus.skipped


def test_a_broken_header_is_told(tmp_path: Path) -> None:
    root = write_shards(tmp_path / "w", 1, 3)
    data = bytearray((root / "00000.tar").read_bytes())
    with tarfile.open(root / "00000.tar") as tar:
        second = tar.getmembers()[3].offset
    data[second : second + 512] = b"\x55" * 512
    (root / "00000.tar").write_bytes(data)
    corpus = Corpus.load(root)
    assert [record.id for record in corpus] == ["00000/000000000"]
    assert "what follows member '000000000.txt' is no header" in reasons(corpus)["00000.tar"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_any_changed_byte_is_read_or_told(tmp_path: Path, at: int, byte: int) -> None:
    members = {name: data for number in range(2) for name, data in sample(number).items()}
    path = write_tar(tmp_path / "0.tar", members)
    data = bytearray(path.read_bytes())
    data[at % len(data)] = byte
    path.write_bytes(data)
    try:
        corpus = Corpus.load(path, reader="webdataset")
    except CorpusError as error:
        assert "\n" not in str(error)
        return
    for record in corpus:
        try:
            open_image(corpus.image_path(record))
        except ImageError as error:
            assert "\n" not in str(error)


def test_a_member_is_bounded(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "0.tar", {"a.png": picture(1), "a.txt": b"x" * (1 << 24) + b"y"})
    corpus = Corpus.load(path)
    assert "16,777,217 bytes" in next(iter(reasons(corpus).values()))
    with pytest.raises(ImageError, match="more than 16"):
        open_image(corpus.image_path(corpus.records[0]), max_pixels=1)


@pytest.mark.parametrize(
    ("place", "says"),
    [("0.tar", "name one"), ("0.tar#member=b.png", "no member 'b.png'"), ("0.tar#slice=1", "no part 'slice'")],
)
def test_a_place_that_is_none(tmp_path: Path, place: str, says: str) -> None:
    write_tar(tmp_path / "0.tar", {"a.png": picture(1)})
    with pytest.raises(ImageError, match=says):
        open_image(str(tmp_path / place))


def test_no_shards(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="holds no shards"):
        Corpus.load(tmp_path, reader="webdataset")
    with pytest.raises(CorpusError, match="braces may stand in the last part"):
        Corpus.load(tmp_path / "{a,b}" / "{0..1}.tar")
