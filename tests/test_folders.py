"""A user's own folder: what is read, how it is split, and what is refused with one sentence."""

import io
import json
import os
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset
from PIL import Image

from leaml_hf import LeamlInputError
from leaml_hf.data.folders import SPLIT_FOLDERS, load_folder, split_of

ROWS = [
    {"file_name": "a.png", "question": "How many bars?", "answer": 3},
    {"file_name": "a.png", "question": "What color?", "answer": None},
    {"file_name": "b.png", "question": "How many bars?", "answer": 4},
]


def picture(path: Path, shade: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4), (shade % 256, shade // 256, 3)).save(path)


def write_jsonl(folder: Path, *rows: dict) -> None:
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def all_rows(splits: dict[str, Dataset]) -> list[dict]:
    return sorted((row for part in splits.values() for row in part), key=lambda row: row["id"])


def refusal(folder: Path) -> str:
    """The one sentence that a folder is refused with."""
    with pytest.raises(LeamlInputError) as error:
        load_folder(folder)
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.fixture()
def folder(tmp_path: Path) -> Path:
    picture(tmp_path / "a.png", 1)
    picture(tmp_path / "b.png", 2)
    return tmp_path


class TestMetadata:
    @pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
    def test_all_formats_give_the_same_rows(self, folder, kind):
        table = pd.DataFrame(ROWS)
        if kind == "jsonl":
            write_jsonl(folder, *ROWS)
        elif kind == "csv":
            table.astype({"answer": "Int64"}).to_csv(folder / "metadata.csv", index=False)
        else:
            table.to_parquet(folder / "metadata.parquet")
        rows = all_rows(load_folder(folder))
        assert [(row["id"], row["question"], row["answer"]) for row in rows] == [
            ("a.png#0", "How many bars?", "3"),
            ("a.png#1", "What color?", None),
            ("b.png#2", "How many bars?", "4"),
        ]
        assert all(row["image"].size == (6, 4) for row in rows)

    def test_numbers_become_texts_as_they_were_written(self, folder):
        answers = [3, 3.0, 2.5, 123456789012345678901234567890, 0.1234567890123456, "007", " red "]
        rows = [{"file_name": "a.png", "question": "q", "answer": a, "id": i} for i, a in enumerate(answers)]
        write_jsonl(folder, *rows, {"file_name": "b.png"})
        found = [row["answer"] for row in all_rows(load_folder(folder)) if row["question"]]
        assert found == ["3", "3", "2.5", "123456789012345678901234567890", "0.1234567890123456", "007", "red"]

    @pytest.mark.parametrize("answer", [None, "", "   ", float("nan")])
    def test_an_empty_answer_is_none(self, folder, answer):
        write_jsonl(folder, {"file_name": "a.png", "question": "q", "answer": answer})
        assert [row["answer"] for row in all_rows(load_folder(folder))] == [None, None]

    def test_csv_keeps_answers_that_look_missing(self, folder):
        (folder / "metadata.csv").write_text('file_name,question,answer\na.png,q,None\na.png,"q, too",NA\nb.png,q,\n')
        rows = all_rows(load_folder(folder))
        assert [(row["question"], row["answer"]) for row in rows] == [("q", "None"), ("q, too", "NA"), ("q", None)]

    def test_a_byte_order_mark_and_blank_lines_do_no_harm(self, folder):
        text = '{"file_name": "a.png", "answer": "\u00e9\u2028x", "question": "q"}\n\n{"file_name": "b.png"}\n'
        (folder / "metadata.jsonl").write_bytes(b"\xef\xbb\xbf" + text.encode())
        assert [row["answer"] for row in all_rows(load_folder(folder))] == ["\u00e9\u2028x", None]

    def test_other_columns_and_ids_are_kept(self, folder):
        write_jsonl(folder, {"file_name": "a.png", "id": 7, "program": "count", "boxes": [[0.0, 0.5]]},
                    {"file_name": "b.png", "id": 8})  # fmt: skip
        rows = all_rows(load_folder(folder))
        assert [(row["id"], row.get("program"), row.get("boxes")) for row in rows] == [
            ("7", "count", [[0.0, 0.5]]),
            ("8", None, None),
        ]

    def test_a_column_named_image_does_not_replace_the_picture(self, folder, tmp_path_factory):
        elsewhere = tmp_path_factory.mktemp("elsewhere") / "secret.png"
        picture(elsewhere, 99)
        write_jsonl(folder, {"file_name": "a.png", "image": str(elsewhere)}, {"file_name": "b.png"})
        assert [row["image"].getpixel((0, 0)) for row in all_rows(load_folder(folder))] == [(1, 0, 3), (2, 0, 3)]

    def test_a_picture_without_a_row_has_no_question(self, folder, caplog):
        picture(folder / "deep" / "c.JPG", 3)
        write_jsonl(folder, *ROWS[:2])
        rows = {row["id"]: row for row in all_rows(load_folder(folder))}
        assert set(rows) == {"a.png#0", "a.png#1", "b.png", "deep/c.JPG"}
        assert (rows["b.png"]["question"], rows["b.png"]["answer"]) == (None, None)
        assert "2 pictures" in caplog.text

    def test_pictures_alone_make_a_data_set(self, folder):
        assert [row["question"] for row in all_rows(load_folder(folder))] == [None, None]

    def test_what_file_managers_hide_is_no_picture(self, folder):
        (folder / "._a.png").write_bytes(b"not a picture")
        picture(folder / ".thumbnails" / "a.png")
        assert len(all_rows(load_folder(folder))) == 2

    def test_linked_pictures_are_read(self, folder, tmp_path_factory):
        blob = tmp_path_factory.mktemp("cache") / "0123abcd"
        shutil.move(folder / "a.png", blob)
        (folder / "a.png").symlink_to(blob)  # as in a snapshot from the Hub
        write_jsonl(folder, *ROWS)
        assert len(all_rows(load_folder(folder))) == 3

    def test_a_name_may_wind_within_the_folder(self, folder):
        write_jsonl(folder, {"file_name": "./x/../a.png", "question": "q"}, {"file_name": "b.png"})
        assert len(all_rows(load_folder(folder))) == 2


class TestSplits:
    def test_the_folders_decide(self, tmp_path):
        for number, name in enumerate(SPLIT_FOLDERS):
            picture(tmp_path / name / "x.png", number)
            write_jsonl(tmp_path / name, {"file_name": "x.png", "question": "q", "answer": name})
        splits = load_folder(tmp_path)
        assert {name: part["answer"] for name, part in splits.items()} == {name: [name] for name in SPLIT_FOLDERS}

    def test_a_split_without_pictures_is_left_out(self, tmp_path):
        (tmp_path / "train").mkdir()
        picture(tmp_path / "test" / "x.png")
        assert list(load_folder(tmp_path)) == ["test"]

    def test_no_picture_is_on_two_sides(self, tmp_path):
        for number in range(60):
            picture(tmp_path / f"{number}.png", number)
        shutil.copy(tmp_path / "0.png", tmp_path / "copy.png")
        write_jsonl(
            tmp_path, *({"file_name": f"{i % 60}.png", "question": f"q{i}", "answer": "x"} for i in range(240))
        )
        splits = load_folder(tmp_path)
        sides = [{picture.tobytes() for picture in part["image"]} for part in splits.values()]
        assert sum(map(len, sides)) == len(set.union(*sides)) == 60
        assert sum(map(len, splits.values())) == 241
        assert len(splits["train"]) > len(splits["test"]) > 0

    def test_the_seed_decides(self, tmp_path):
        for number in range(30):
            picture(tmp_path / f"{number}.png", number)
        first, again, other = load_folder(tmp_path, 0), load_folder(tmp_path, 0), load_folder(tmp_path, 1)
        assert first["train"]["id"] == again["train"]["id"] != other["train"]["id"]

    def test_the_name_of_the_folder_does_not(self, tmp_path):
        splits = []
        for parent in ("one", "two"):
            picture(tmp_path / parent / "a.png", 5)
            splits.append(split_of(str(tmp_path / parent / "a.png"), 0))
        assert splits[0] == splits[1]

    def test_metadata_beside_split_folders_is_refused(self, tmp_path):
        picture(tmp_path / "train" / "a.png")
        write_jsonl(tmp_path, {"file_name": "train/a.png", "question": "q", "answer": "x"})
        assert "metadata.jsonl is not read" in refusal(tmp_path)

    def test_pictures_beside_split_folders_are_told(self, tmp_path, caplog):
        for name in ("train/a.png", "val/b.png", "c.png"):
            picture(tmp_path / name)
        assert len(all_rows(load_folder(tmp_path))) == 1
        assert "2 pictures" in caplog.text


class TestRefusals:
    def test_a_missing_folder(self, tmp_path):
        assert "no folder" in refusal(tmp_path / "nowhere")

    def test_a_file_in_its_place(self, folder):
        assert "no folder" in refusal(folder / "a.png")

    @pytest.mark.parametrize("name", ["", "train", "validation"])
    def test_a_folder_without_pictures(self, tmp_path, name):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "notes.txt").write_text("nothing here")
        assert "holds no pictures" in refusal(tmp_path)

    def test_two_metadata_files(self, folder):
        write_jsonl(folder, *ROWS)
        (folder / "metadata.csv").write_text("file_name\na.png\n")
        assert "metadata.jsonl and metadata.csv" in refusal(folder)

    @pytest.mark.parametrize("name", ["c.png", "x" * 300 + ".png", "a\0.png", ".", "metadata"])
    def test_a_row_without_its_file(self, folder, name):
        write_jsonl(folder, ROWS[0], {"file_name": name, "question": "q"})
        assert "row 2 names" in refusal(folder)

    @pytest.mark.parametrize("row", [{"question": "q"}, {"file_name": ""}, {"file_name": None}, ["a.png"], 5])
    def test_a_row_that_names_no_file(self, folder, row):
        write_jsonl(folder, ROWS[0], row)
        assert "row 2 has no file_name" in refusal(folder)

    @pytest.mark.parametrize("name", ["../secret.png", "x/../../secret.png", "..", "ABSOLUTE"])
    def test_a_row_that_leaves_the_folder(self, tmp_path, name):
        picture(tmp_path / "secret.png")
        picture(tmp_path / "data" / "a.png")
        name = str(tmp_path / "secret.png") if name == "ABSOLUTE" else name
        write_jsonl(tmp_path / "data", {"file_name": name})
        assert "outside the folder" in refusal(tmp_path / "data")

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("metadata.jsonl", b'{"file_name": "a.png"'),
            ("metadata.jsonl", b'{"file_name": "a.png", "answer": "\xe9"}'),
            ("metadata.csv", b'file_name,question\na.png,"cut'),
            ("metadata.csv", b"file_name,question\na.png,q,too,many"),
            ("metadata.csv", b"file_name,question\na.png,\xe9"),
            ("metadata.parquet", b"PAR1"),
        ],
    )
    def test_metadata_that_cannot_be_read(self, folder, name, content):
        (folder / name).write_bytes(content)
        assert "could not be read as" in refusal(folder)

    @pytest.mark.parametrize("answer", [["red", "blue"], {"text": "red"}])
    def test_an_answer_that_is_no_text(self, folder, answer):
        write_jsonl(folder, {"file_name": "a.png", "question": "q", "answer": answer})
        assert "one text or number" in refusal(folder)

    def test_a_column_of_mixed_kinds(self, folder):
        write_jsonl(folder, *({"file_name": "a.png", "size": size} for size in (1, "large", [2])))
        assert "different kinds" in refusal(folder)


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a hundred bytes whose header promises `width` x `height` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def noisy(kind: str) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]


class TestPictures:
    @pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
    @pytest.mark.parametrize(
        ("name", "content", "reason"),
        [
            ("a.png", b"", "can't be read"),
            ("a.png", b"not a picture", "can't be read"),
            ("a.png", noisy("PNG")[:3000], "can't be read"),
            ("a.jpg", noisy("JPEG")[:1000], "can't be read"),
            ("a.png", flipped(noisy("PNG")), "can't be read"),
            ("a.png", png_claiming(30_000, 30_000), "50 million"),
            ("a.png", png_claiming(10_000, 10_000), "50 million"),
            ("a.png", png_claiming(2**31 - 1, 2**31 - 1), "50 million"),
        ],
        ids=["empty", "text", "cut png", "cut jpg", "damaged", "bomb", "large", "absurd"],
    )
    def test_one_that_cannot_be_used_is_named(self, tmp_path, name, content, reason):
        picture(tmp_path / "good.png")
        (tmp_path / name).write_bytes(content)
        text = refusal(tmp_path)
        assert str(tmp_path / name) in text
        assert reason in text

    def test_the_bad_ones_are_counted(self, tmp_path):
        for number in range(3):
            (tmp_path / f"{number}.png").write_bytes(b"")
        assert "2 more" in refusal(tmp_path)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_one_that_may_not_be_read_is_named(self, folder):
        (folder / "a.png").chmod(0)
        assert "can't be read" in refusal(folder)

    def test_unusual_kinds_are_read(self, tmp_path):
        frames = [Image.new("P", (5, 5), color) for color in (1, 2)]
        frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
        Image.new("CMYK", (5, 5), (0, 255, 0, 0)).save(tmp_path / "print.jpg")
        Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
        Image.new("L", (5, 5), 77).save(tmp_path / "gray.png")
        Image.fromarray(np.full((5, 5), 40_000, dtype=np.uint16)).save(tmp_path / "deep.png")
        Image.new("RGBA", (5, 5), (255, 0, 0, 0)).save(tmp_path / "clear.png")
        Image.new("1", (5, 5)).save(tmp_path / "bits.bmp")
        rows = all_rows(load_folder(tmp_path))
        assert len(rows) == 7
        assert {row["id"]: row["image"].size for row in rows}["dot.png"] == (1, 1)
