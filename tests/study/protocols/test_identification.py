"""Hit rates worked out by hand; distractors that share no class with anything, from few pictures."""

import numpy as np
import pytest

from gossamer import Catalog
from gossamer.baselines.exhaustive import ExhaustiveSearcher
from gossamer.datasets.images import LabeledImages
from gossamer.errors import ConfigError, DataError, ShapeError
from gossamer.results import SearchResult
from gossamer.study.evaluation import search_in_turns
from gossamer.study.protocols.distractors import DistractorCounts, Distractors, turned
from gossamer.study.protocols.identification import check_disjoint, identification, split_gallery, split_groups


def lists(rows):
    return SearchResult(np.int32(rows), np.zeros(np.shape(rows), np.float32))


def test_a_probe_hits_where_its_class_is_among_the_first_and_never_by_a_distractor():
    gallery, probes = np.array(["b", "a", "c"]), np.array(["a", "b", "c", "c"])
    # Documents 3 to 6 are distractors. a: at rank 2; b: at once; c: at rank 3, and not at all.
    found = lists([[3, 1, 0], [0, 6, 5], [4, 5, 2], [6, -1, -1]])
    result = identification(found, probes, gallery, n_distractors=4, ks=(1, 2, 3))
    assert result.hit_rate == {1: 1 / 4, 2: 2 / 4, 3: 3 / 4}
    assert (result.n_probes, result.n_gallery, result.n_distractors) == (4, 3, 4)


def test_hit_rates_of_timed_lists_fall_with_distractors_and_equal_counting_by_score(rng):
    centres = rng.standard_normal((20, 8)).astype(np.float32)
    gallery, probes = (centres + 0.5 * rng.standard_normal((20, 8)).astype(np.float32) for _ in range(2))
    labels, rates = np.arange(20).astype(str), []
    others = rng.standard_normal((2000, 8)).astype(np.float32)
    for n in (0, 100, 2000):
        searcher = ExhaustiveSearcher(np.concatenate([gallery, others[:n]]))
        timed = search_in_turns({"exhaustive": (searcher, probes)}, k=10, rounds=1)["exhaustive"]
        result = identification(timed.found, labels, labels, n_distractors=n, ks=(1, 10))
        scores = probes @ searcher.documents.T
        ranks = (scores > np.diag(scores[:, :20])[:, None]).sum(axis=1)
        assert result.hit_rate == {1: (ranks < 1).mean(), 10: (ranks < 10).mean()}
        rates.append(result.hit_rate[1])
    assert rates[0] > rates[1] > rates[2]


def test_probes_that_could_never_hit_and_lists_of_other_searches_are_refused():
    with pytest.raises(DataError, match="probes: expected classes of the gallery; 'z' is not in it"):
        identification(lists([[0]]), np.array(["z"]), np.array(["a"]), n_distractors=0, ks=(1,))
    with pytest.raises(ShapeError, match="found: expected doc_ids below 3, gallery and distractors; got 3"):
        identification(lists([[3]]), np.array(["a"]), np.array(["a"]), n_distractors=2, ks=(1,))
    with pytest.raises(ShapeError, match="at least k = 10"):
        identification(lists([[0]]), np.array(["a"]), np.array(["a"]), n_distractors=2)


def test_the_gallery_has_one_picture_of_each_class_and_the_probes_all_others():
    labels = np.repeat(list("abcd"), 5)
    split, other = split_gallery(labels, seed=0), split_gallery(labels, seed=1)
    assert sorted(labels[split.gallery].tolist()) == list("abcd")
    assert sorted([*split.gallery.tolist(), *split.probes.tolist()]) == list(range(20))
    assert split.gallery.tolist() != other.gallery.tolist()
    np.testing.assert_array_equal(split.gallery, split_gallery(labels, seed=0).gallery)
    with pytest.raises(DataError, match="at least two pictures of each class; 'e' has one"):
        split_gallery(np.array(["a", "a", "e"]), seed=0)


def test_groups_are_split_whole_and_in_half():
    groups = np.repeat(list("abcde"), 3)
    first, second = split_groups(groups, seed=0)
    assert (first ^ second).all()
    assert (np.unique(groups[first]).size, np.unique(groups[second]).size) == (3, 2)
    assert not set(groups[first]) & set(groups[second])
    with pytest.raises(DataError, match="groups: expected at least two"):
        split_groups(np.array(["a", "a"]), seed=0)


def test_sets_of_classes_that_share_one_are_refused_by_name():
    check_disjoint(training=np.array(["a", "b"]), probes=np.array(["c"]), distractors=np.array(["d"]))
    with pytest.raises(DataError, match="distractors: expected no class of training; both have 'b'"):
        check_disjoint(training=np.array(["a", "b"]), probes=np.array(["c"]), distractors=np.array(["b"]))


def pictures(n):
    pixels = np.random.default_rng(0).integers(0, 256, (n, 1, 6, 6)).astype(np.uint8)
    return LabeledImages(pixels=pixels, catalog=Catalog(n=n, labels=np.array([f"class-{i // 2}" for i in range(n)])))


def test_distractors_are_pictures_then_turned_then_warped():
    images = pictures(4)
    distractors = Distractors(images, n=50, seed=0)
    assert distractors.counts == DistractorCounts(pictures=4, turned=28, warped=18)
    pixels = distractors.pixels(0, 50)
    assert pixels.shape == (50, 1, 6, 6)
    np.testing.assert_array_equal(pixels[:4], images.pixels)
    # Those with a corner, the eight symmetries of a square are all different, and hold the same values.
    for i in range(4):
        same = pixels[i:32:4]
        assert len(np.unique(same.reshape(8, -1), axis=0)) == 8
        assert (np.sort(same.reshape(8, -1), axis=1) == np.sort(images.pixels[i].ravel())).all()
    # Warped ones are none of them.
    assert not (pixels[32:, None] == pixels[None, :32]).all(axis=(2, 3, 4)).any()


def test_a_distractor_does_not_depend_on_how_it_is_asked_for():
    images = pictures(3)
    whole = Distractors(images, n=5000, seed=0).pixels(0, 5000)
    parts = Distractors(images, n=5000, seed=0)
    np.testing.assert_array_equal(np.concatenate([parts.pixels(i, i + 700) for i in range(0, 5000, 700)]), whole)
    np.testing.assert_array_equal(parts.pixels(4090, 4100), whole[4090:4100])
    np.testing.assert_array_equal(Distractors(images, n=300, seed=0).pixels(0, 300), whole[:300])
    assert (Distractors(images, n=5000, seed=1).pixels(100, 200) != whole[100:200]).any()
    assert len(parts.pixels(10, 10)) == len(parts.pixels(5000, 6000)) == 0


def test_turned_distractors_are_of_classes_of_their_own():
    assert Distractors(pictures(4), n=2, seed=0).classes.tolist() == ["class-0"]
    classes = Distractors(pictures(4), n=9, seed=0).classes
    assert classes.tolist() == [f"class-{i}{turn}" for turn in ("", "/turn-1", "/turn-2") for i in (0, 1)]
    assert np.unique(Distractors(pictures(4), n=1000, seed=0).classes).size == 16


def test_turning_is_by_right_angles_after_mirroring():
    picture = np.uint8([[[[1, 2], [3, 4]]]])
    assert turned(picture, 1)[0, 0].tolist() == [[2, 4], [1, 3]]
    assert turned(picture, 4)[0, 0].tolist() == [[2, 1], [4, 3]]
    assert turned(picture, 6)[0, 0].tolist() == [[3, 4], [1, 2]]


def test_no_distractors_are_refused():
    with pytest.raises(ConfigError, match="distractors: expected at least 1, of at least 1 picture; got 0 of 4"):
        Distractors(pictures(4), n=0, seed=0)
