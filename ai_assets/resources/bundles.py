"""The bundle store: payloads become Bentos under the state root, once for each content."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

import ai_assets
from ai_assets.lifecycle.errors import BundleError, did_you_mean
from ai_assets.serving.place import FOLDER, state_root

if TYPE_CHECKING:
    from ai_assets.serving.bundle import Bundle

BENTOFILE = "bentofile.yaml"
PAYLOAD = "product"
_LONGEST_BUILD_S = 600
_READERS = {"image": "pillow", "text": "tokenizers"}
"""What a server needs beside, for requests with columns of such a type."""


def project_root() -> Path:
    """The folder with `bentofile.yaml`, beside the package."""
    return Path(ai_assets.__file__).resolve().parent.parent


def bentofile(project: Path) -> dict[str, Any]:
    """What `bentofile.yaml` says."""
    import yaml

    path = project / BENTOFILE
    if not path.is_file():
        raise BundleError(f"Bundles are built from a checkout, but '{path}' is missing.")
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return dict(content)


class BundleStore(dg.ConfigurableResource):
    """Builds, lists and opens bundles. BentoML works offline in a home folder of its own."""

    home: str = Field(
        default="", description="BENTOML_HOME of the bundles; default: below the state root."
    )
    project: str = Field(default="", description=f"Folder with {BENTOFILE}; default: the checkout.")
    trusted_key: str = Field(
        default="", description="Public key that bundles must be signed by; any if ''."
    )

    @property
    def root(self) -> Path:
        """The BENTOML_HOME of the store."""
        return Path(self.home).absolute() if self.home else state_root() / "bentoml"

    def requirements(self, types: Iterable[str] = ()) -> list[str]:
        """The packages that a bundle installs whose request has columns of these types."""
        return list(bentofile(self._project())["python"]["packages"]) + readers(types)

    def build(self, payload: Path) -> str:
        """Build a Bento around a signed payload and return its tag.

        A payload that was built before gives the same tag at once. A build that is killed leaves
        nothing in the store.

        Raises:
            BundleError: the payload's signature does not verify, or BentoML cannot build it.
        """
        tag = self._verified(payload).tag
        with self._lock(tag):
            if not self._place(tag).is_dir():
                self._build(payload, tag)
        return tag

    def load(self, tag: str) -> "Bundle":
        """The verified bundle of a tag."""
        return self._verified(self.payload(tag))

    def path(self, tag: str) -> Path:
        """The folder of the Bento.

        Raises:
            BundleError: no such bundle was built.
        """
        place = self._place(tag)
        if not place.is_dir():
            raise BundleError(f"There is no bundle '{tag}'.{did_you_mean(tag, self.list())}")
        return place

    def payload(self, tag: str) -> Path:
        """The folder that `load_bundle` reads."""
        return self.path(tag) / "src" / PAYLOAD

    def tags(self, product: str) -> list[str]:
        """The tags of a product, oldest build first."""
        found = (self.root / "bentos" / product).glob("*/bento.yaml")
        built = sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.parent.name))
        return [f"{product}:{path.parent.name}" for path in built]

    def list(self) -> list[str]:
        """All tags, by product, oldest build first."""
        products = self.root / "bentos"
        names = sorted(p.name for p in products.iterdir()) if products.is_dir() else []
        return [tag for name in names for tag in self.tags(name)]

    def _verified(self, payload: Path) -> "Bundle":
        from ai_assets.serving.bundle import load_bundle

        return load_bundle(payload, self.trusted_key or None)

    def _project(self) -> Path:
        return Path(self.project) if self.project else project_root()

    def _place(self, tag: str) -> Path:
        name, _, version = tag.partition(":")
        if not version or "/" in tag or ".." in tag:
            raise BundleError(f"A bundle's tag must be '<product>:<version>', but got {tag!r}.")
        return self.root / "bentos" / name / version

    def _build(self, payload: Path, tag: str) -> None:
        place = self._place(tag)
        # BentoML refuses to build below a hidden folder, such as `.state`; but the Bento must be
        # made on the store's own disk, to be moved into place at once.
        with (
            tempfile.TemporaryDirectory(prefix="ai_assets_") as outside,
            tempfile.TemporaryDirectory(prefix=".building-", dir=self.root) as home,
        ):
            context = Path(outside, "context")
            stage_context(self._project(), payload, context)
            run_bentoml(context, Path(home), tag)
            place.parent.mkdir(parents=True, exist_ok=True)
            Path(home, "bentos", place.parent.name, place.name).rename(place)
        # `bentoml serve <product>:latest` reads this file.
        (place.parent / "latest").write_text(place.name, encoding="utf-8")

    @contextmanager
    def _lock(self, tag: str) -> Iterator[None]:
        locks = self.root / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        with (locks / tag.replace(":", "@")).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def stage_context(project: Path, payload: Path, context: Path) -> None:
    """Lay out a build context: the files that `bentofile.yaml` includes, and the payload.

    The included files are all that is there, so a build also proves that they suffice.
    """
    import yaml

    said = bentofile(project)
    for pattern in said["include"]:
        for path in _matching(project, pattern):
            target = context / path.relative_to(project)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    said["python"]["packages"] += readers(_types_asked(payload))
    (context / BENTOFILE).write_text(yaml.safe_dump(said, sort_keys=False), encoding="utf-8")
    shutil.copytree(payload, context / PAYLOAD)


def readers(types: Iterable[str]) -> list[str]:
    """The packages that read columns of these types, at the version installed here."""
    names = sorted({_READERS[kind] for kind in types if kind in _READERS})
    return [f"{name}=={version(name)}" for name in names]


def _types_asked(payload: Path) -> set[str]:
    """The types of the columns that a payload's requests have."""
    file = payload / "request.json"
    if not file.is_file():  # what is no bundle is told when it is built
        return set()
    table = json.loads(file.read_text(encoding="utf-8"))["table"]
    return {column["type"] for column in table["columns"].values()}


def run_bentoml(context: Path, home: Path, tag: str) -> None:
    """Run `bentoml build` in a process of its own: this one has other modules loaded."""
    name, _, version = tag.partition(":")
    command = [sys.executable, "-m", "bentoml", "build", "--name", name, "--version", version]
    environment = {k: v for k, v in os.environ.items() if k != FOLDER} | {
        "BENTOML_HOME": str(home),
        "BENTOML_DO_NOT_TRACK": "True",
        "PYTHONPATH": str(context),
    }
    done = subprocess.run(
        [*command, str(context)],
        cwd=context,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_LONGEST_BUILD_S,
        check=False,
    )
    if done.returncode:
        raise BundleError(f"bentoml build failed:\n{(done.stdout + done.stderr)[-4000:]}")


def _matching(project: Path, pattern: str) -> Iterator[Path]:
    if pattern.startswith(f"{PAYLOAD}/"):
        return
    found = (
        (project / pattern.removesuffix("/**")).rglob("*")
        if pattern.endswith("/**")
        else (project.glob(pattern))
    )
    for path in sorted(found):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path
