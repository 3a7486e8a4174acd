"""Servers to compare with, and how each is started: the same LightGBM model behind each.

Their handlers are what their documentation shows, with one thread for the model, as ours has.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

READY_IN_S = 120
# MLflow starts `uvicorn` by that name.
PLAIN = {
    "BENTOML_DO_NOT_TRACK": "true",
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
}
FASTAPI = """
import lightgbm
import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel

booster = lightgbm.Booster(model_file={model!r})
app = FastAPI()


class Vectors(BaseModel):
    x: list[list[float]]


@app.post("/predict")
async def predict(vectors: Vectors) -> list[float]:
    return booster.predict(np.array(vectors.x), num_threads=1).tolist()
"""
BENTO = """
import bentoml
import lightgbm
import numpy as np


@bentoml.service(workers=1, traffic={{"timeout": 60}})
class Bare:
    def __init__(self) -> None:
        self.booster = lightgbm.Booster(model_file={model!r})

    @bentoml.api
    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.booster.predict(x, num_threads=1)
"""


def free_port() -> int:
    """A port of the loopback interface that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(
    command: Sequence[str],
    port: int,
    ask: tuple[str, str],
    *,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a server and stop it again.

    Args:
        command: ends with arguments; the interpreter comes before it.
        port: where it listens.
        ask: path and body of a request; the server is ready once it is answered.
        folder: its working directory, where its log is kept.
        environment: what is set beside this process's own.
        headers: those of the request, beside its type.
    """
    with (folder / f"{port}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            env={**os.environ, **PLAIN, **(environment or {})},
            stdout=log,
            stderr=log,
        )
        try:
            _wait(process, port, ask, headers or {}, Path(log.name))
            yield process
        finally:
            process.terminate()
            process.wait(timeout=60)


def _wait(
    process: "subprocess.Popen[bytes]",
    port: int,
    ask: tuple[str, str],
    headers: Mapping[str, str],
    log: Path,
) -> None:
    path, body = ask
    headers, said = {"Content-Type": "application/json", **headers}, ""
    for _ in range(READY_IN_S * 10):
        if process.poll() is not None:
            sys.exit(f"A server ended before it was ready:\n{log.read_text()[-2000:]}")
        try:
            answer = httpx.post(f"http://127.0.0.1:{port}{path}", content=body, headers=headers)
        except httpx.HTTPError:
            time.sleep(0.1)
            continue
        if answer.status_code == 200:
            return
        said = answer.text
        time.sleep(0.1)
    sys.exit(f"Port {port} was not ready in time: {said[:500]}")


def fastapi(model: Path, folder: Path, port: int) -> list[str]:
    """A plain handler under uvicorn."""
    (folder / "plain.py").write_text(FASTAPI.format(model=str(model)), encoding="utf-8")
    return ["-m", "uvicorn", "plain:app", "--port", str(port), "--no-access-log"]


def bentoml(model: Path, folder: Path, port: int) -> list[str]:
    """A service of one API, as BentoML serves it."""
    (folder / "bare.py").write_text(BENTO.format(model=str(model)), encoding="utf-8")
    return ["-m", "bentoml", "serve", "bare:Bare", "--host", "127.0.0.1", "--port", str(port)]


def mlflow(booster: Any, folder: Path, port: int) -> list[str]:
    """`mlflow models serve` of the LightGBM flavor, one worker."""
    import mlflow.lightgbm

    mlflow.lightgbm.save_model(booster, folder / "mlflow_model")
    serve = ["-m", "mlflow", "models", "serve", "--model-uri", str(folder / "mlflow_model")]
    return [*serve, "--env-manager", "local", "--workers", "1", "--port", str(port)]


def vectors(key: str, rows: Any) -> list[str]:
    """Bodies of one row each: `{key: [[...]]}`."""
    return [json.dumps({key: [row]}) for row in rows.astype(float).tolist()]
