"""The import table of the project, as data: who may import what. Every arrow points down."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gossamer

PACKAGE = Path(gossamer.__file__).parent
BASE = {"errors", "arrays"}
DATA = BASE | {"files", "catalog", "embeddings", "results", "metrics", "datasets"}
SEARCH = DATA | {"kernels", "index"}
LEAVES = {
    f"learning.{name}"
    for name in (
        "activations",
        "backbones",
        "budget",
        "devices",
        "model_card",
        "objectives",
        "pretrained",
        "regularizers",
        "settings",
    )
}
ENCODER = LEAVES | {"learning.heads", "learning.encoder"}
ENCODING = ENCODER | {
    "learning.encoding",
    "learning.health",
    "learning.calibration",
    "learning.revival",
    "learning.cost",
}

# Part of the package: (what of gossamer it may import, which third parties). The longest matching name counts.
TABLE: dict[str, tuple[set[str], set[str]]] = {
    "": (DATA | {"index", "rerank"}, set()),
    "errors": (set(), set()),
    "arrays": (set(), {"numpy"}),
    "files": ({"errors"}, set()),
    "catalog": (BASE, {"numpy"}),
    "csr_checks": (BASE, {"numpy"}),
    "embeddings": (BASE | {"csr_checks"}, {"numpy", "scipy", "torch"}),  # torch inside two functions
    "results": (BASE, {"numpy"}),
    "metrics": (BASE | {"embeddings", "results"}, {"numpy", "scipy"}),
    "datasets": (DATA - {"metrics"}, {"numpy", "scipy", "PIL"}),
    "datasets.digits": (DATA, {"numpy", "sklearn"}),
    "kernels": ({"kernels"}, {"numpy", "numba", "llvmlite"}),
    "index": (SEARCH, {"numpy"}),
    "rerank": (SEARCH, {"numpy"}),
    "baselines": (SEARCH | {"baselines", "rerank"}, {"numpy", "faiss", "sklearn"}),
    "learning": (SEARCH | {"learning"}, {"torch"}),
    **{leaf: (DATA, {"torch"}) for leaf in LEAVES},
    "learning.backbones": (DATA | {"learning.backbones"}, {"torch"}),
    "learning.backbones.frozen_vision": (BASE, {"torch", "transformers"}),
    "learning.budget": (DATA | {"learning.budget"}, {"numpy"}),
    "learning.cost": (DATA | LEAVES | {"index"}, {"numpy", "torch"}),
    "learning.regularizers": (DATA | {"learning.regularizers"}, {"torch"}),
    "learning.objectives": (DATA, {"torch", "pytorch_metric_learning"}),
    "learning.pretrained": (DATA | {"learning.model_card"}, {"torch", "safetensors"}),
    "learning.model_card": (set(), set()),
    "learning.settings": (BASE, set()),
    "learning.heads": (DATA | LEAVES, {"torch"}),
    "learning.encoder": (DATA | LEAVES | {"learning.heads"}, {"torch"}),
    "learning.revival": (DATA | LEAVES | {"learning.heads"}, {"torch"}),
    "learning.encoding": (DATA | ENCODER, {"numpy", "torch"}),
    "learning.health": (DATA | ENCODER, {"numpy", "torch"}),
    "learning.deep_hashing": (DATA | ENCODER | {"learning.training"}, {"numpy", "torch"}),
    "learning.calibration": (DATA | ENCODING, {"numpy", "torch"}),
    "learning.training": (
        DATA | ENCODING | {"learning.training"},
        {"numpy", "torch", "lightning", "rich", "safetensors"},
    ),
    "learning.model_store": (DATA | {"learning"}, {"numpy"}),
    "learning.sparsifier": (
        DATA | ENCODING | {"learning.training", "learning.sparsifier"},
        {"numpy", "scipy", "torch", "lightning", "sklearn"},
    ),
    "learning.two_towers": (
        DATA | ENCODING | {"learning.training", "learning.two_towers"},
        {"numpy", "torch", "lightning"},
    ),
    "study": (
        SEARCH | {"rerank", "baselines", "learning", "study"},
        {"numpy", "matplotlib", "jinja2", "threadpoolctl", "rich"},
    ),
    "study.config_file": (SEARCH | {"study"}, {"yaml"}),
    "study.encodings": (DATA | {"learning", "study"}, {"numpy", "torch"}),
    "study.ratings": (SEARCH | {"baselines", "learning", "study"}, {"numpy", "scipy"}),
    "study.protocols.distractors": (
        DATA | {"learning"},
        {"numpy", "torch"},
    ),  # torch inside the one function that warps
    "cli": (SEARCH | {"baselines", "learning", "study", "cli"}, {"numpy", "typer", "rich", "PIL"}),
}


def modules():
    return sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))


def name_of(module):
    return ".".join(Path(module).with_suffix("").parts).removesuffix("__init__").rstrip(".")


def allowed(name):
    return TABLE[max((key for key in TABLE if name == key or (key and name.startswith(key + "."))), key=len)]


def imports(module):
    """Every name that a module imports, wherever in the module the import stands."""
    for node in ast.walk(ast.parse((PACKAGE / module).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            if node.module == "gossamer":
                yield from (f"gossamer.{alias.name}" for alias in node.names)
            else:
                yield node.module


@pytest.mark.parametrize("module", modules())
def test_modules_import_only_what_the_table_allows(module):
    name = name_of(module)
    own, third_party = allowed(name)
    for imported in imports(module):
        top, _, rest = imported.partition(".")
        if top == "gossamer":
            permitted = rest in ("__version__", "") or any(rest == part or rest.startswith(part + ".") for part in own)
            assert permitted, f"{name} must not import {imported}"
        elif top not in sys.stdlib_module_names:
            assert top in third_party, f"{name} must not import {imported}"


def test_the_table_has_no_line_for_a_part_that_does_not_exist():
    names = {name_of(module) for module in modules()}
    assert set(TABLE) <= names


def test_importing_gossamer_loads_no_compiler_and_no_framework():
    program = (
        "import sys, gossamer\n"
        "heavy = {'torch', 'numba', 'scipy', 'lightning', 'fastapi', 'matplotlib', 'typer', 'rich', 'PIL'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_public_names_are_a_decision():
    assert sorted(gossamer.__all__) == [
        "Catalog",
        "GossamerError",
        "InvertedIndex",
        "SearchResult",
        "Searcher",
        "SparseEmbeddings",
        "TwoStageQueries",
        "TwoStageSearcher",
        "__version__",
    ]
    assert all(hasattr(gossamer, name) for name in gossamer.__all__)
