"""The folders of MS-Celeb-1M, MegaFace and FaceScrub, as upstream lays them out, in tiny."""

import numpy as np
import pytest
from PIL import Image

from gossamer.datasets.images import ImageCollection

LAYOUTS = {
    # MS-Celeb-1M: a folder for each Freebase id.
    "ms-celeb-1m": {
        "m.01_0d4/0-FaceId-0.jpg": "m.01_0d4",
        "m.01_0d4/12-FaceId-0.jpg": "m.01_0d4",
        "m.0zz/3-FaceId-0.jpg": "m.0zz",
    },
    # MegaFace's distractors: Flickr accounts, in folders of accounts.
    "megaface": {
        "947/94740879@N02/5738276217_0.jpg": "947/94740879@N02",
        "947/94740879@N02/5738276217_1.jpg": "947/94740879@N02",
        "100/10001@N04/1_0.jpg": "100/10001@N04",
    },
    # FaceScrub, MegaFace's probes: a folder for each name.
    "facescrub": {
        "Aaron_Eckhart/Aaron_Eckhart_1.png": "Aaron_Eckhart",
        "Adelaide_Kane/Adelaide_Kane_101.png": "Adelaide_Kane",
    },
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_person_is_a_folder(tmp_path, name):
    for place, path in enumerate(LAYOUTS[name]):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (112, 112), (place * 40, 0, 0)).save(tmp_path / path)
    found = ImageCollection.open(tmp_path)
    assert dict(zip(found.keys.tolist(), found.labels.tolist(), strict=True)) == LAYOUTS[name]
    assert found.decode(size=16).pixels.shape == (len(LAYOUTS[name]), 3, 16, 16)


def test_the_people_of_a_list_alone_are_taken(tmp_path):
    for person in ("m.01", "m.02", "m.03"):
        (tmp_path / "faces" / person).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "faces" / person / "0-FaceId-0.jpg")
    (tmp_path / "clean.txt").write_text("m.03\nm.01\n")
    found = ImageCollection.open(tmp_path / "faces", classes=tmp_path / "clean.txt")
    assert found.labels.tolist() == ["m.01", "m.03"]
