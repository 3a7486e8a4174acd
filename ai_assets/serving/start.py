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
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai_assets.serving import signature
from ai_assets.serving.online import OnlineTables
from ai_assets.serving.settings import Settings

if TYPE_CHECKING:
    from ai_assets.serving.bundle import Bundle
    from ai_assets.serving.engine import Engine
    from ai_assets.serving.metrics import Metrics
    from ai_assets.serving.request import RequestReader

_SWITCH_S = 0.0005


@dataclass(frozen=True, eq=False)
class Loaded:
    """What answers: all that a verified bundle becomes."""

    bundle: "Bundle"
    reader: "RequestReader"
    metrics: "Metrics"
    engine: "Engine"


class Start:
    """A verified bundle on its way to its first answer.

    Args:
        folder: the bundle.
        settings: limits and places.

    Raises:
        BundleError: names the file that is missing, changed or not signed.
    """

    def __init__(self, folder: Path | str, settings: Settings) -> None:
        self._settings = settings
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
            with _starting():
                loaded = self._load()
        except BaseException as error:  # whoever waits must hear of it
            self._loaded.set_exception(error)
        else:
            self._loaded.set_result(loaded)

    def _load(self) -> Loaded:
        from ai_assets.serving.bundle import read_bundle
        from ai_assets.serving.engine import Engine
        from ai_assets.serving.metrics import Metrics
        from ai_assets.serving.request import RequestReader

        settings = self._settings
        bundle = read_bundle(self.manifest, self._files)
        reader = RequestReader(bundle, max_rows=settings.max_rows)
        metrics = Metrics(bundle)
        tables = OnlineTables(settings.lake, bundle.online)
        engine = Engine(
            bundle,
            reader,
            tables,
            metrics,
            threads=settings.threads,
            check_s=settings.check_seconds,
        )
        engine.warm()
        return Loaded(bundle, reader, metrics, engine)


@contextmanager
def _starting() -> Iterator[None]:
    """Python as it is best while two threads import libraries.

    What is imported stays, so looking for garbage among it only costs time, now and later. A thread
    that returns from a file or from DuckDB waits for Python's lock no longer than the interval.
    """
    collects, interval = gc.isenabled(), sys.getswitchinterval()
    gc.disable()
    sys.setswitchinterval(_SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        gc.freeze()
        # DuckDB's bindings report what Python does not free at its end as leaks.
        atexit.register(gc.unfreeze)
        if collects:
            gc.enable()
