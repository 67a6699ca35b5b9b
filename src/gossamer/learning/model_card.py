"""The model card: ``README.md`` beside the weights, with what was measured and how to use them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gossamer

CARD = "README.md"

FIGURES = {
    "hit_rate_at_1": "hit rate@1",
    "flops_per_document": "FLOPs per document",
    "nnz_per_row": "nonzeros per row",
    "suboptimality_ratio": "sub-optimality ratio R_sub (1 is even)",
    "class_suboptimality_ratio": "R_sub that so many classes set",
    "dead_dims": "dimensions that no row uses",
    "zero_rows": "rows without a nonzero",
}
"""What the fields of a validation are called on the card."""

# What the card tells of a training, where its field is in the metrics.
_OF_ENCODERS = {
    "n_images": " from {} images",
    "n_classes": " of {} classes",
    "step": ", {} steps",
    "training_seconds": " in {} s",
    "torch": " with torch {}",
}
_OF_SPARSIFIERS = {
    "n_rows": " from {} rows",
    "n_held_out": ", of which {} were held out,",
    "training_seconds": " in {} s",
    "torch": " with torch {}",
}
_OF_TWO_TOWERS = {
    "n_users": " from {} users",
    "n_items": " and {} items",
    "training_seconds": " in {} s",
    "torch": " with torch {}",
}

_SAMPLES = {"": "the validation images", "held_out_": "images of the training data that were held out"}


def model_card(name: str, settings: Mapping[str, Any], metrics: Mapping[str, Any], *, fingerprint: str) -> str:
    """Return the card of an encoder, Markdown with the front matter that Hugging Face's hub reads.

    Parameters
    ----------
    name : str
        Of the model's folder.
    settings : dict
        The encoder's configuration.
    metrics : dict
        What is known of the training, as in `gossamer.learning.TrainedEncoder.metrics`; what is not there
        is not on the card.
    fingerprint : str
        The encoder's.
    """
    is_sparse = settings["activation"] != "none"
    kind = "sparse" if is_sparse else "dense"
    parts = [
        _front_matter(kind),
        f"# {name}\n\nAn encoder of images: {kind} embeddings of {settings['dim']} dimensions, learned with "
        f"[Gossamer](https://pypi.org/project/gossamer) {gossamer.__version__}. Fingerprint: `{fingerprint}`.\n",
        "## Measured\n\n" + (_measured(metrics) or "Nothing was measured on images not learned from.\n"),
        "## Use\n\n" + _use(name, settings, is_sparse=is_sparse),
        "## Training\n\n" + _training(metrics),
        "## Settings\n\n" + _table("setting", {**settings, **_part(metrics, "settings")}),
    ]
    return "\n".join(parts)


def sparsifier_card(name: str, settings: Mapping[str, Any], metrics: Mapping[str, Any], *, fingerprint: str) -> str:
    """Return the card of a sparsifier; the parameters are those of `model_card`."""
    cost = {"FLOPs per document, of held-out rows against the corpus": metrics.get("flops_per_document")}
    measured = "Nothing was measured.\n" if None in cost.values() else _table("", cost)
    parts = [
        _front_matter("sparse", "feature-extraction"),
        f"# {name}\n\nA sparsifier: dense rows of {settings['width']} dimensions to sparse ones of {settings['dim']}, "
        f"learned with [Gossamer](https://pypi.org/project/gossamer) {gossamer.__version__}. "
        f"Fingerprint: `{fingerprint}`.\n",
        "## Measured\n\n" + measured,
        "## Use\n\n```python\nimport numpy as np\n\nfrom gossamer import InvertedIndex\n"
        "from gossamer.learning import Sparsifier\n\n"
        f'sparsifier = Sparsifier.from_pretrained("{name}")\ndense = np.load("dense.npy", mmap_mode="r")\n'
        "index = InvertedIndex.build(sparsifier.transform(dense))\n"
        "found = index.search(sparsifier.transform(dense[:5]), k=10)  # found.doc_ids, found.scores\n```\n",
        "## Training\n\n" + _told(metrics, _OF_SPARSIFIERS),
        "## Settings\n\n" + _table("setting", settings),
    ]
    return "\n".join(parts)


def two_towers_card(name: str, settings: Mapping[str, Any], metrics: Mapping[str, Any], *, fingerprint: str) -> str:
    """Return the card of two towers; the parameters are those of `model_card`."""
    kind = "dense" if settings["activation"] == "none" else "sparse"
    cost = {"FLOPs per item": metrics.get("flops_per_item")}
    parts = [
        _front_matter(kind, "feature-extraction"),
        f"# {name}\n\nTwo towers: users, by the items that they have, and items to {kind} codes of {settings['dim']} "
        f"dimensions, learned with [Gossamer](https://pypi.org/project/gossamer) {gossamer.__version__}. "
        f"Fingerprint: `{fingerprint}`.\n",
        "## Measured\n\n" + ("Nothing was measured.\n" if None in cost.values() else _table("", cost)),
        "## Use\n\n```python\nimport numpy as np\n\nfrom gossamer import InvertedIndex\n"
        "from gossamer.learning.two_towers import Histories, TwoTowers\n\n"
        f'towers = TwoTowers.from_pretrained("{name}")\nindex = InvertedIndex.build(towers.encode_items())\n'
        f"users = Histories([np.array([0, 1])], n_items={settings['n_items']})  # one user, who has items 0 and 1\n"
        "found = index.search(towers.encode_users(users), k=20)  # found.doc_ids are items\n```\n",
        "## Training\n\n" + _told(metrics, _OF_TWO_TOWERS),
        "## Settings\n\n" + _table("setting", settings),
    ]
    return "\n".join(parts)


def _front_matter(kind: str, task: str = "image-feature-extraction") -> str:
    tags = [f"{kind}-embeddings", *(["image-retrieval"] if task.startswith("image") else []), "feature-extraction"]
    listed = "".join(f"- {tag}\n" for tag in tags)
    return f"---\nlibrary_name: gossamer\npipeline_tag: {task}\ntags:\n{listed}---\n"


def _measured(metrics: Mapping[str, Any]) -> str:
    tables, last, budget = [], _part(metrics, "last"), _part(metrics, "budget")
    for prefix, sample in _SAMPLES.items():
        figures = {title: last.get(prefix + field) for field, title in FIGURES.items() if prefix + field in last}
        if figures:
            tables.append(f"On {sample}{', calibrated' if last.get('is_calibrated') else ''}:\n\n{_table('', figures)}")
    if {"target", "unit", "reached", "n_held_out"} <= budget.keys():
        tables.append(
            f"The budget was {_shown(budget['target'])} {budget['unit']}, and {_shown(budget['reached'])} was reached "
            f"on {budget['n_held_out']} images held out.\n"
        )
    return "\n".join(tables)


def _use(name: str, settings: Mapping[str, Any], *, is_sparse: bool) -> str:
    backbone = ", backbone=backbone" if settings["backbone"] == "custom" else ""
    before = "# backbone: a module of the architecture that was trained\n" if backbone else ""
    decode = f"decode(size={settings['image_size']}, channels={settings['channels']})"
    if is_sparse:
        head = "from gossamer import InvertedIndex\n"
        steps = (
            "embeddings = encode(encoder, images.pixels)\n"
            "found = InvertedIndex.build(embeddings).search(embeddings, k=5)  # found.doc_ids, found.scores\n"
        )
    else:
        head, steps = "", "embeddings = encode_dense(encoder, images.pixels)\nscores = embeddings @ embeddings.T\n"
    return (
        f"```python\n{head}from gossamer.datasets.images import ImageCollection\n"
        f"from gossamer.learning import Encoder, {'encode' if is_sparse else 'encode_dense'}\n\n{before}"
        f'encoder = Encoder.from_pretrained("{name}"{backbone})\n'
        f'images = ImageCollection.open("images").{decode}  # a folder or a zip\n{steps}```\n'
    )


def _training(metrics: Mapping[str, Any]) -> str:
    last = _part(metrics, "last")
    told = _told({"step": last.get("step"), **metrics}, _OF_ENCODERS)
    end = [f"{name} {_shown(last[name])}" for name in ("loss", "penalty", "weight") if last.get(name) is not None]
    return told + (f"At the end: {', '.join(end)}.\n" if end else "")


def _told(metrics: Mapping[str, Any], phrases: Mapping[str, str]) -> str:
    said = "".join(phrase.format(metrics[name]) for name, phrase in phrases.items() if metrics.get(name) is not None)
    return f"Learned{said}. `metrics.json` has the whole course.\n" if said else "Nothing is known of it.\n"


def _part(metrics: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a dict within the metrics; an empty one if a caller's have none of that name."""
    part = metrics.get(name)
    return part if isinstance(part, Mapping) else {}


def _table(title: str, rows: Mapping[str, Any]) -> str:
    lines = "".join(f"| {name} | {_shown(value)} |\n" for name, value in rows.items())
    return f"| {title} | |\n|---|---|\n{lines}"


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(item)}" for name, item in value.items())
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
