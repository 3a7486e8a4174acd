"""Several workers of one server: one address, one log, one scrape, one rate a key.

Each worker is a process with an app of its own, started anew should it end. They share the socket,
the file or database of the log, and a folder for what Prometheus reads and for the rates of keys.
"""

import os
import signal
import sys
import tempfile
import threading
from contextlib import suppress
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai_assets.lifecycle.errors import BundleError, UserError, must_be
from ai_assets.serving.place import FOLDER, PRODUCT, what_to_serve
from ai_assets.serving.settings import Settings
from ai_assets.serving.start import Start

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from starlette.applications import Starlette

# prometheus_client decides by this, when it is imported, where numbers are kept.
METRICS = "PROMETHEUS_MULTIPROC_DIR"
SHARED = "AI_ASSETS_SHARED"
_APP = "ai_assets.serving.workers:app"
_ANSWERS_WITHIN_S = 30


def serve(what: Path | None, settings: Settings, **run: Any) -> int:
    """Serve with workers until stopped; 1 where they cannot start.

    Args:
        what: folder of a bundle; None follows the release of `settings.product`.
        settings: limits and places.
        run: how, as `uvicorn.Config` has it; `workers` says how many.

    Raises:
        BundleError: the bundle does not verify, or there are less than one worker.
        ReleaseError: there is no release to follow.
    """
    if run["workers"] < 1:
        raise BundleError(must_be("workers", "at least 1", run["workers"]))
    import uvicorn
    from uvicorn.config import STARTUP_FAILURE
    from uvicorn.supervisors import Multiprocess

    Start(what, settings)
    with tempfile.TemporaryDirectory(prefix="ai_assets_workers_") as folder:
        _tell_workers(what, settings, folder)
        # A worker that is busy or waits for the processor is not dead.
        config = uvicorn.Config(
            _APP, factory=True, timeout_worker_healthcheck=_ANSWERS_WITHIN_S, **run
        )
        workers = Multiprocess(config, [config.bind_socket()])
        workers.run()
        return int(any(one.exitcode == STARTUP_FAILURE for one in workers.processes))


def app() -> "Starlette":
    """The app of a worker; ends the worker, and so the server, where it cannot answer."""
    from uvicorn.config import STARTUP_FAILURE

    from ai_assets.serving.app import create_app

    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        made = create_app(what_to_serve())
        made.state.server.wait()
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(STARTUP_FAILURE)
    return made


def of_all_workers(registry: "CollectorRegistry") -> "CollectorRegistry":
    """What to show to Prometheus: the numbers of all workers, or those of the only one."""
    folder = os.environ.get(METRICS)
    if not folder:
        return registry
    from prometheus_client import CollectorRegistry, multiprocess

    for file in Path(folder).glob("gauge_live*.db"):
        worker = int(file.stem.rpartition("_")[2])
        if not _is_alive(worker):
            multiprocess.mark_process_dead(worker, folder)
    together = CollectorRegistry()
    multiprocess.MultiProcessCollector(together, folder)
    return together


def _tell_workers(what: Path | None, settings: Settings, folder: str) -> None:
    """Have the environment say all that the command said: workers know nothing else."""
    os.environ |= settings.environment() | {METRICS: folder, SHARED: folder}
    os.environ.pop(PRODUCT if what else FOLDER, None)
    if what:
        os.environ[FOLDER] = str(what)


def _is_alive(worker: int) -> bool:
    # Workers are one user's: whom we may not signal has only taken over the id of one that ended.
    with suppress(ProcessLookupError, PermissionError):
        os.kill(worker, 0)
        return True
    return False


def _end_with_parent() -> None:
    """A worker whose supervisor was killed would hold the address for ever."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
