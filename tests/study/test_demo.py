"""The demo, whole, on scikit-learn's digits and for a few steps: what it leaves, and how it fails."""

import base64
import json
import re

import pytest

from gossamer import InvertedIndex
from gossamer.errors import NotFoundError, OutputExistsError
from gossamer.learning.encoder import Encoder
from gossamer.study import demo_data
from gossamer.study.comparison import DENSE, SPARSE
from gossamer.study.demo import DemoRecipe, run_demo


@pytest.fixture(autouse=True, scope="module")
def without_omniglot():
    def refuse(split, **_):
        raise NotFoundError(f"Omniglot {split}: no network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo_data, "omniglot", refuse)
        yield


@pytest.fixture(scope="module")
def finished_demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "demo"
    return out, run_demo(out, DemoRecipe(steps=8))


def test_the_demo_leaves_a_report_figures_models_and_an_index(finished_demo):
    out, result = finished_demo
    page = (out / "report.html").read_text(encoding="utf-8")
    for figure in ("nearest.png", "posting-lists.png", "speed.png", "training.png"):
        png = (out / figure).read_bytes()
        assert png.startswith(b"\x89PNG")
        assert f'src="data:image/png;base64,{base64.b64encode(png).decode()}"' in page
    assert page.count("<img") == page.count('src="') == 4
    for caption in re.findall(r"<figcaption>(.*?)</figcaption>", page):
        assert caption.count(". ") == 1
        assert caption.endswith(".")
    assert json.loads((out / "results.json").read_text(encoding="utf-8"))["rows"][0]["method"] == DENSE
    encoder = Encoder.from_pretrained(out / "model-sparse")
    index = InvertedIndex.open(out / "index")
    assert (index.dim, index.catalog.fingerprint) == (encoder.config.dim, encoder.fingerprint)
    rows = {row.method: row for row in result.rows}
    assert rows[DENSE].flops_per_document == 128
    assert rows[SPARSE].nnz_per_row == pytest.approx(index.nnz / index.n_docs)
    assert rows[DENSE].speed_up == 1.0


def test_the_digits_are_used_without_omniglot_and_the_demo_says_so(finished_demo):
    out, result = finished_demo
    assert "no network" in result.notice
    assert "digits" in result.notice
    assert "no network" in (out / "report.html").read_text(encoding="utf-8")


def test_a_demo_does_not_replace_a_folder_of_something_else(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(OutputExistsError, match="holds no report.html"):
        run_demo(tmp_path / "photos", DemoRecipe(steps=8), overwrite=True)
