"""What is written of records: the table's columns, the figures, and a page that needs no other file."""

import re
from html.parser import HTMLParser

import pytest

from gossamer.study import summary
from gossamer.study.study_figures import COSTS, DISTRACTORS, EVENNESS, LIST_LENGTHS, SPEED, SPEED_AT_MOST
from gossamer.study.summary import REPORT, TABLE, table, write_summary
from study_records import records

FIGURES = (SPEED, DISTRACTORS, COSTS, EVENNESS, LIST_LENGTHS)


class Page(HTMLParser):
    """The tags of a page, and its captions."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.captions, self._in_caption = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._in_caption = tag == "figcaption"
        self.captions += [""] if self._in_caption else []

    def handle_endtag(self, tag):
        self._in_caption = self._in_caption and tag != "figcaption"

    def handle_data(self, data):
        if self._in_caption:
            self.captions[-1] += data


def assert_self_contained(text):
    """No tag may name another file; styles may not, either."""
    for tag, attributes in Page(text).tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base")
        for name in ("src", "href", "srcset", "data", "poster", "action", "background"):
            assert attributes.get(name, "data:").startswith("data:")
    assert "url(" not in text
    assert "@import" not in text


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    write_summary(out, records())
    return out


def test_the_page_is_one_file_that_holds_all_figures(written):
    text = (written / REPORT).read_text(encoding="utf-8")
    assert_self_contained(text)
    images = [attributes["src"] for tag, attributes in Page(text).tags if tag == "img"]
    assert len(images) == len(set(images)) == len(FIGURES)
    assert all(image.startswith("data:image/png;base64,iVBOR") for image in images)


def test_every_figure_is_explained_in_two_sentences(written):
    captions = Page((written / REPORT).read_text(encoding="utf-8")).captions
    assert len(captions) == len(FIGURES)
    for caption in captions:
        assert len(re.findall(r"[.!?](?:\s|$)", caption.strip())) == 2, caption


def test_every_figure_that_records_hold_enough_for_is_a_png(written):
    assert {path.name for path in written.iterdir()} == {*FIGURES, TABLE, REPORT}
    for name in FIGURES:
        assert (written / name).read_bytes().startswith(b"\x89PNG")


def test_records_of_dense_methods_alone_are_one_figure(tmp_path):
    dense = [record for record in records(seeds=(0,), distractors=(1000,), kinds=False) if record["method"] != "sparse"]
    write_summary(tmp_path, dense)
    assert {path.name for path in tmp_path.iterdir()} == {SPEED, TABLE, REPORT}
    assert list(table(dense)[0])[-2:] == ["bytes per document", "training, minutes"]


def test_methods_among_more_distractors_than_all_had_are_a_figure_of_their_own(tmp_path):
    made = [r for r in records(seeds=(0,)) if r["n_distractors"] < 100_000 or r["method"] != "pca"]
    write_summary(tmp_path, made)
    page = (tmp_path / REPORT).read_text(encoding="utf-8")
    assert (tmp_path / SPEED_AT_MOST).read_bytes() != (tmp_path / SPEED).read_bytes()
    titles = [f"Time against accuracy, {n} distractors</h2>" for n in ("10,000", "100,000")]
    assert 0 < page.index(titles[0]) < page.index(titles[1])


def test_a_study_in_which_all_failed_has_a_page_without_figures(tmp_path):
    failed = [{**record, "status": "failed", "error": "no"} for record in records(seeds=(0,), distractors=(1000,))]
    write_summary(tmp_path, failed)
    assert "<img" not in (tmp_path / REPORT).read_text(encoding="utf-8")


def test_the_table_tells_what_only_some_methods_have():
    lines = {(line["method"], line["distractors"]): line for line in table(records(seeds=(0,), kinds=False))}
    sparse, exhaustive = lines["sparse, l1, FLOPs 1.0", "100,000"], lines["exhaustive", "100,000"]
    assert (sparse["FLOPs per document"], sparse["R_sub"], sparse["training, minutes"]) == ("1.00", "5.00", "10.0")
    assert sparse["nnz per row"] == f"{(4096 / 5) ** 0.5:.1f}"
    for title in ("FLOPs per document", "nnz per row", "R_sub"):
        assert exhaustive[title] == "–"
    assert exhaustive["training, minutes"] == "5.0"


def test_the_table_counts_the_kinds_of_distractors():
    assert list(dict.fromkeys(line["distractors"] for line in table(records(seeds=(0,))))) == [
        "1,000 (1,000 pictures)",
        "10,000 (4,000 pictures, 6,000 turned)",
        "100,000 (4,000 pictures, 28,000 turned, 68,000 warped)",
    ]


def test_columns_are_explained_where_they_are(written, tmp_path):
    assert "warped copies" in (written / REPORT).read_text(encoding="utf-8")
    assert all(title in table(records(seeds=(0,)))[0] for title in summary._OF_COLUMNS)
    write_summary(tmp_path, records(seeds=(0,), distractors=(1000,), kinds=False))
    assert "warped copies" not in (tmp_path / REPORT).read_text(encoding="utf-8")
