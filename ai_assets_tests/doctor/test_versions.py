"""Versions of Python, the packages and torch."""

from importlib.metadata import version
from pathlib import Path

from ai_assets.doctor import versions
from ai_assets.doctor.place import Place


def test_this_python_is_one_that_the_project_is_for(place: Place) -> None:
    (line,) = versions.python(place)

    assert line.mood == "ok"
    assert line.found.endswith("as >=3.11,<3.13 asks.")


def test_another_python_is_a_problem(place: Place) -> None:
    (line,) = versions.python(place, running="3.10.14")

    assert (line.mood, line.found) == ("problem", "3.10.14, but the project asks for >=3.11,<3.13.")
    assert "PYTHON=" in line.do


def test_installed_packages_are_as_locked(place: Place) -> None:
    lock = place.project / "requirements.lock"
    lock.write_text(f"polars=={version('polars')} \\\n    --hash=sha256:00\n", encoding="utf-8")

    (line,) = versions.packages(place)

    assert (line.mood, line.found) == ("ok", "All 1 are as requirements.lock pins them.")


def test_a_package_that_is_missing_is_a_problem_and_one_of_another_version_a_warning(
    place: Place,
) -> None:
    lock = "no-such-package-of-ours==1.0\npolars==0.0.1 \\\n    --hash=sha256:00\n"
    (place.project / "requirements.lock").write_text(lock, encoding="utf-8")

    absent, other = versions.packages(place)

    assert (absent.mood, absent.found) == ("problem", "1 not installed: no-such-package-of-ours.")
    assert (other.mood, other.do) == ("warning", "make setup")
    assert other.found == f"1 of other versions: polars {version('polars')} (locked: 0.0.1)."


def test_torch_is_of_the_declared_version_and_its_build_is_told(place: Place) -> None:
    (line,) = versions.torch(place, driver=Path("/nowhere"))

    import torch

    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU"
    assert (line.mood, line.found) == ("ok", f"{torch.__version__}, a build for {build}.")


def test_another_torch_than_declared_is_a_problem(place: Place) -> None:
    file = place.project / "pyproject.toml"
    text = file.read_text(encoding="utf-8").replace('"torch==2.13.0"', '"torch==9.9.9"')
    file.write_text(text, encoding="utf-8")

    (line,) = versions.torch(place)

    assert line.mood == "problem"
    assert line.found.endswith("but the project asks for ==9.9.9.")


def test_a_build_for_the_cpu_beside_a_driver_is_told(place: Place, tmp_path: Path) -> None:
    driver = tmp_path / "version"
    driver.touch()

    (line,) = versions.torch(place, driver)

    if "the CPU" in line.found:
        assert line.mood == "warning" and "NVIDIA driver that it ignores" in line.found
    else:
        assert line.mood == "ok"
