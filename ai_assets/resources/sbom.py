"""What a bundle installs, with versions and licences, as a CycloneDX document."""

import json
import re
from importlib import metadata
from typing import TYPE_CHECKING

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from cyclonedx.model.component import Component

_LONG = 100


def sbom(requirements: list[str], product: str, version: str) -> str:
    """The packages that the requirements install here, with all that they need in turn.

    No clock and no random number goes in: the same environment gives the same text.
    """
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6

    needs = closure(requirements)
    bom = Bom()
    root = Component(name=product, version=version, type=ComponentType.APPLICATION, bom_ref=product)
    bom.metadata.component = root
    components = {name: _component(name) for name in sorted(needs)}
    bom.components.update(components.values())
    direct = {canonicalize_name(Requirement(r).name) for r in requirements}
    bom.register_dependency(root, [components[name] for name in sorted(direct & set(components))])
    for name, targets in needs.items():
        bom.register_dependency(components[name], [components[t] for t in sorted(targets)])
    content = json.loads(JsonV1Dot6(bom).output_as_string())
    content.pop("serialNumber", None)
    content["metadata"].pop("timestamp", None)
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def closure(requirements: list[str]) -> dict[str, set[str]]:
    """The installed packages that the requirements reach, and what each of them needs."""
    found: dict[str, set[str]] = {}
    waiting = [Requirement(text) for text in requirements]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        asked = waiting.pop()
        name = canonicalize_name(asked.name)
        if (name, frozenset(asked.extras)) in seen:
            continue
        seen.add((name, frozenset(asked.extras)))
        try:
            declared = metadata.distribution(name).requires or []
        except metadata.PackageNotFoundError:
            # Needed on another platform or by an extra that is not installed.
            continue
        needed = [r for r in map(Requirement, declared) if _applies(r, asked.extras)]
        installed = {canonicalize_name(r.name) for r in needed if _is_installed(r.name)}
        found.setdefault(name, set()).update(installed)
        waiting += needed
    return found


def _applies(requirement: Requirement, extras: set[str]) -> bool:
    if requirement.marker is None:
        return True
    environment = {k: str(v) for k, v in default_environment().items()}
    return any(requirement.marker.evaluate({**environment, "extra": e}) for e in ("", *extras))


def _is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _component(name: str) -> "Component":
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.license import DisjunctiveLicense
    from packageurl import PackageURL

    found = metadata.distribution(name)
    words = _licence(found.metadata)
    return Component(
        name=name,
        version=found.version,
        type=ComponentType.LIBRARY,
        bom_ref=f"{name}=={found.version}",
        purl=PackageURL("pypi", None, name, found.version),
        licenses=[DisjunctiveLicense(name=words)] if words else [],
    )


def _licence(fields: metadata.PackageMetadata) -> str:
    """The licence in a few words: its expression, else its classifier, else a short free text."""
    for field in ("License-Expression", "License"):
        text = str((fields.get_all(field) or [""])[0]).strip()
        if text and len(text) <= _LONG and "\n" not in text:
            return text
    classifiers = [c for c in fields.get_all("Classifier") or [] if c.startswith("License ::")]
    return re.sub(r"^.*:: ", "", classifiers[0]) if classifiers else ""
