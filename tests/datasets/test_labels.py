import pytest

from gossamer.datasets.labels import read_row_labels
from gossamer.errors import FormatError, NotFoundError


def test_row_labels_are_read_one_a_line(tmp_path):
    (tmp_path / "labels.txt").write_bytes("a\r\n\nzwölf\n".encode("utf-8-sig"))
    assert read_row_labels(tmp_path / "labels.txt", 3).tolist() == ["a", "", "zwölf"]


def test_row_labels_that_cannot_be_right_are_refused(tmp_path):
    path = tmp_path / "labels.txt"
    with pytest.raises(NotFoundError, match="labels: expected a file; there is none at"):
        read_row_labels(path, 2)
    path.write_bytes(b"a\n")
    with pytest.raises(FormatError, match="expected 2 lines.*got 1"):
        read_row_labels(path, 2)
    path.write_bytes(b"a\n\xff\n")
    with pytest.raises(FormatError, match="expected UTF-8 text"):
        read_row_labels(path, 2)
