"""In what order a server starts, and why.

BentoML imports the service twice: in its supervisor, which answers nothing, and in each worker.

1. Both verify the bundle, before anything else: what was changed is refused by its file's name. The
   supervisor needs no more, and imports neither pydantic models nor libraries that score.
2. A worker then loads in a thread what answers (`Start.begin`), while BentoML imports its own
   libraries beside it: DuckDB and ONNX Runtime work without Python's lock.
3. The worker takes requests when all of it is there (`Start.wait`), and has rehearsed an answer.
"""

import atexit
import gc
import importlib
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai_assets.serving import signature
from ai_assets.serving.online import OnlineTables
from ai_assets.serving.settings import Settings
from ai_assets.serving.traffic.releases import Releases, check_tag, payload_of

if TYPE_CHECKING:
    import onnxruntime

    from ai_assets.serving.bundle import Bundle
    from ai_assets.serving.engine import Engine
    from ai_assets.serving.metrics import Metrics
    from ai_assets.serving.record.keeper import Keeper
    from ai_assets.serving.request import RequestReader


@dataclass(frozen=True, eq=False)
class Loaded:
    """What answers: all that a verified bundle becomes."""

    bundle: "Bundle"
    reader: "RequestReader"
    metrics: "Metrics"
    engine: "Engine"
    keeper: "Keeper"


class Start:
    """A verified bundle on its way to its first answer.

    Args:
        folder: the bundle; None for the one that is in production, as the ledger says.
        settings: limits and places.

    Raises:
        BundleError: names the file that is missing, changed or not signed.
        ReleaseError: the ledger cannot be read, or has no release.
    """

    def __init__(self, folder: Path | str | None, settings: Settings) -> None:
        self._settings = settings
        self.releases: Releases | None = None
        self._released: str | None = None
        if folder is None:
            self.releases = Releases(settings.lake, settings.product)
            self._released = self.releases.newest().stable
            folder = payload_of(settings.bundles, self._released)
        self.manifest: Mapping[str, Any]
        self.manifest, self._files = signature.verified(Path(folder), settings.trusted_key or None)
        self._loaded: Future[Loaded] = Future()
        self._begun = False
        self._beginning = threading.Lock()

    def begin(self) -> None:
        """Load in the background; a second call does nothing."""
        with self._beginning:
            if self._begun:
                return
            self._begun = True
        # Its parts import each other: two threads that import it at once can each find the other
        # half way. All that is imported side by side from here on needs it.
        importlib.import_module("numpy")
        threading.Thread(target=self._run, name="start", daemon=True).start()

    def wait(self) -> Loaded:
        """What answers, once it is there.

        Raises:
            BundleError: a file of the bundle is signed, but cannot be read.
        """
        self.begin()
        return self._loaded.result()

    def _run(self) -> None:
        try:
            with _without_collecting():
                loaded = self._load()
        except BaseException as error:  # whoever waits must hear of it
            self._loaded.set_exception(error)
        else:
            self._loaded.set_result(loaded)

    def _load(self) -> Loaded:
        from ai_assets.serving.bundle import read_bundle
        from ai_assets.serving.model import open_model

        bundle = read_bundle(self.manifest, self._files)
        check_tag(bundle.tag, self._released or bundle.tag)
        with ThreadPoolExecutor(1, thread_name_prefix="model") as beside:
            # Before polars is imported: ONNX Runtime then reads the model while Python imports.
            opening = beside.submit(open_model, bundle.model, self._settings.threads)
            return self._assemble(bundle, opening)

    def _assemble(
        self, bundle: "Bundle", opening: "Future[onnxruntime.InferenceSession]"
    ) -> Loaded:
        from ai_assets.serving.engine import Engine
        from ai_assets.serving.metrics import Metrics
        from ai_assets.serving.record.keeper import Keeper
        from ai_assets.serving.request import RequestReader

        reader = RequestReader(bundle, max_rows=self._settings.max_rows)
        metrics = Metrics(bundle.product)
        keeper = Keeper(bundle, self._settings, metrics)
        keeper.recorder.begin()
        engine = Engine(
            bundle,
            reader,
            OnlineTables(self._settings.lake, bundle.online),
            metrics,
            check_s=self._settings.check_seconds,
            opening=opening.result,
        )
        engine.warm()
        return Loaded(bundle, reader, metrics, engine, keeper)


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Collect no garbage meanwhile, and never look through what was imported: it stays.

    One look at all objects of BentoML, while onnxruntime is imported, takes longer than the import.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        # DuckDB's bindings report what Python does not free at its end as leaks.
        atexit.register(gc.unfreeze)
        if collects:
            gc.enable()
