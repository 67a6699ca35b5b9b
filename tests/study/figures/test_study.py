"""The figures of a study: what is drawn hollow, starred and dashed, and that every shape of input is drawn."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from gossamer.study.figures import draw_costs, draw_curves, draw_distractors, draw_evenness, draw_list_lengths, study

POINTS = {
    "exhaustive": [(300.0, 0.9)],
    "lsh, re-ranked": [(50.0, 0.7), (90.0, 0.8)],
    "sparse, flops": [(4.0, 0.8), (20.0, 0.9)],
    "sparse, flops, re-ranked": [(5.0, 0.85)],
    "sparse, l1": [(8.0, 0.8)],
}


@pytest.fixture
def drawn(monkeypatch):
    """The figures as matplotlib holds them, in the place of files."""
    figures = []
    monkeypatch.setattr(study, "save", lambda figure, _: figures.append(figure))
    return figures


def test_points_that_another_one_is_no_worse_than_are_beaten():
    assert study._beaten(POINTS) == {(300.0, 0.9), (50.0, 0.7), (90.0, 0.8), (8.0, 0.8)}
    assert study._beaten({"one": [(1.0, 0.5)], "same": [(1.0, 0.5)]}) == set()


def test_beaten_points_are_hollow_and_still_there(drawn, tmp_path):
    draw_curves(tmp_path / "speed.png", POINTS, accuracy="recall@10")
    hollow = [line for line in drawn[0].axes[0].lines if line.get_markerfacecolor() == "white"]
    assert {(line.get_xdata()[0], line.get_ydata()[0]) for line in hollow} == study._beaten(POINTS)
    assert {
        line.get_label(): len(line.get_xdata()) for line in drawn[0].axes[0].lines if line.get_label() in POINTS
    } == {name: len(points) for name, points in POINTS.items()}


def test_lines_have_one_color_for_a_first_stage_and_re_ranked_ones_are_dashed():
    styles = study._styles(POINTS)
    assert styles["exhaustive"]["marker"] == "*"
    assert styles["sparse, flops"]["color"] == styles["sparse, flops, re-ranked"]["color"]
    assert len({styles[name]["color"] for name in POINTS}) == 4
    assert {name for name in POINTS if styles[name]["linestyle"] == "--"} == {
        "lsh, re-ranked",
        "sparse, flops, re-ranked",
    }
    assert study._styles({"sparse, l1": []})["sparse, l1"]["color"] == styles["sparse, l1"]["color"]


def test_axes_say_what_they_show_and_in_which_unit(drawn, tmp_path):
    spreads = {name: [(y - 0.01, y + 0.02) for _, y in points] for name, points in POINTS.items()}
    path = tmp_path / "figure.png"
    draw_curves(path, POINTS, accuracy="recall@10", spreads=spreads, in_batches=POINTS, batch_size=1000)
    draw_distractors(path, {"pca": [(1000.0, 0.9), (1e6, 0.5)]}, accuracy="hit rate@1")
    draw_costs(path, {"sparse, l1": [(0.1, 0.9)]}, accuracy="hit rate@1", spreads={"sparse, l1": [(0.9, 0.9)]})
    draw_evenness(path, {"sparse, l1": [(0.1, 3.0)]}, is_share=True)
    draw_evenness(path, {"sparse, l1": [(24.0, 3.0)]}, is_share=False)
    draw_list_lengths(path, {"sparse, flops": [0.0, 5.0, 9.0]})
    assert [[axes.get_ylabel() for axes in figure.axes] for figure in drawn] == [
        ["recall@10\none query at a time", "recall@10\nin batches of 1,000"],
        ["hit rate@1"],
        ["hit rate@1"],
        ["sub-optimality ratio R_sub"],
        ["sub-optimality ratio R_sub"],
        ["documents in the list (log scale)"],
    ]
    assert [figure.axes[-1].get_xlabel() for figure in drawn] == [
        "µs per query (one thread, log scale)",
        "distractors searched (log scale)",
        "FLOPs per document (multiply-adds, log scale)",
        "nonzero entries (percent of dimensions, log scale)",
        "nonzeros per row (log scale)",
        "percent of dimensions, by length of their posting list",
    ]
    assert drawn[-1].axes[0].lines[0].get_xdata().tolist() == [0, 50, 100]
    assert drawn[0].axes[0].get_xlim() == drawn[0].axes[1].get_xlim()


def test_bars_reach_from_the_lowest_to_the_highest(drawn, tmp_path):
    draw_costs(tmp_path / "a.png", {"one": [(2.0, 0.5)]}, accuracy="recall@10", spreads={"one": [(0.4, 0.7)]})
    (bars,) = drawn[0].axes[0].collections
    np.testing.assert_allclose(bars.get_segments(), [[[2.0, 0.4], [2.0, 0.7]]])


def test_numbers_of_a_wide_logarithmic_scale_are_written_out(drawn, tmp_path):
    draw_distractors(tmp_path / "a.png", {"pca": [(1000.0, 0.9), (1e6, 0.5)]}, accuracy="hit rate@1")
    assert isinstance(drawn[0], Figure)
    drawn[0].draw_without_rendering()
    labels = [tick.get_text() for tick in drawn[0].axes[0].get_xticklabels()]
    assert {"1,000", "10,000", "100,000", "1,000,000"} <= set(labels)


def test_numbers_of_a_narrow_logarithmic_scale_differ(drawn, tmp_path):
    draw_evenness(tmp_path / "a.png", {"one": [(1.4, 1.8), (3.1, 1.5)]}, is_share=True)
    drawn[0].draw_without_rendering()
    labels = [tick.get_text() for tick in drawn[0].axes[0].get_xticklabels()]
    assert len(labels) > 2
    assert len(set(labels)) == len(labels)
