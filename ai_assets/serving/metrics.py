"""What Prometheus reads. Under BentoML the same numbers appear on its own /metrics."""

import time
from collections import Counter as Counted
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_FEW = 16
_TENTHS = tuple(i / 10 for i in range(1, 11))


class Metrics:
    """The server's own metrics, labelled with the product: one set for all its bundles."""

    def __init__(self, product: str) -> None:
        # Imported late: BentoML sets the folder that its workers share before this import.
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._product = product
        self._served: dict[str, str] = {}
        self.registry = CollectorRegistry()
        shared: dict[str, Any] = {"registry": self.registry}
        # Looking up a metric by its labels costs as much as counting.
        self._of_route: dict[tuple[str, int], tuple[Any, Any]] = {}
        self._of_bundle: dict[tuple[str, str], Any] = {}
        self._requests = Counter(
            "ai_assets_requests", "Requests answered", ["product", "route", "status"], **shared
        )
        self._seconds = Histogram(
            "ai_assets_request_seconds",
            "Time to the answer",
            ["product", "route"],
            buckets=_SECONDS,
            **shared,
        )
        self._rows = Histogram(
            "ai_assets_batch_rows", "Rows scored together", ["product"], buckets=_ROWS, **shared
        )
        self._probability = Histogram(
            "ai_assets_probability", "Answers given", ["product"], buckets=_TENTHS, **shared
        )
        # Values have a unit of their own and may be negative, so neither buckets nor a sum would
        # do for all products; a rank is a share, and the same for every bundle.
        self._rank = Histogram(
            "ai_assets_value_rank",
            "Values given: the share of the bundle's answers to its test rows that are smaller",
            ["product"],
            buckets=_TENTHS,
            **shared,
        )
        self._labels = Counter(
            "ai_assets_labels",
            "Answers given, where there are several classes; those of a shadow are counted too",
            ["product", "label"],
            **shared,
        )
        self._waiting = Gauge(
            "ai_assets_waiting_rows",
            "Rows that wait",
            ["product"],
            multiprocess_mode="livesum",
            **shared,
        )
        self._now_waiting = self._waiting.labels(product)
        self._kept = Histogram(
            "ai_assets_recorded_rows",
            "Rows recorded together",
            ["product"],
            buckets=_ROWS,
            **shared,
        )
        self._keeping = Histogram(
            "ai_assets_record_seconds",
            "Time until answers that are recorded together are on the disk",
            ["product"],
            buckets=_SECONDS,
            **shared,
        )
        self._age = Gauge(
            "ai_assets_online_age_seconds",
            "Age of a time-varying table",
            ["product", "table"],
            multiprocess_mode="livemax",
            **shared,
        )
        self._info = Gauge(
            "ai_assets_bundle",
            "Whether the bundle is served in the role",
            ["product", "bundle", "role"],
            multiprocess_mode="livemax",
            **shared,
        )
        self._answers = Counter(
            "ai_assets_answers",
            "Rows answered; those of a shadow are given to nobody",
            ["product", "bundle", "role"],
            **shared,
        )
        self._looked_up = Counter(
            "ai_assets_cache_lookups",
            "Requests whose answers were looked for in the cache",
            ["product", "result"],
            **shared,
        )
        self._fallen = Counter(
            "ai_assets_candidate_failed_rows",
            "Rows that the candidate should have answered, but could not",
            ["product"],
            **shared,
        )
        self._dropped = Counter(
            "ai_assets_shadow_dropped_rows",
            "Rows that a shadow was not asked, because it was busy or failed",
            ["product"],
            **shared,
        )
        self._share = Gauge(
            "ai_assets_candidate_share",
            "Share of the rows that the candidate gets",
            ["product"],
            multiprocess_mode="mostrecent",
            **shared,
        )
        for one in (self._fallen, self._dropped, self._share):
            one.labels(product)
        self._problem = Gauge(
            "ai_assets_release_problem",
            "Whether the release in the ledger is not what is served",
            ["product"],
            multiprocess_mode="livemax",
            **shared,
        )
        self._problem.labels(product).set(0)

    def serves(self, roles: Mapping[str, str]) -> None:
        """Say which bundle is served in which role, by role; those of before no longer are."""
        for role, bundle in self._served.items():
            if roles.get(role) != bundle:
                self._info.labels(self._product, bundle, role).set(0)
        for role, bundle in roles.items():
            self._info.labels(self._product, bundle, role).set(1)
        self._served = dict(roles)

    def shared(self, share: float) -> None:
        """Note the share of the rows that the candidate gets."""
        self._share.labels(self._product).set(share)

    def answered_rows(self, bundle: str, role: str, rows: int) -> None:
        """Count rows that a bundle answered in a role."""
        key = (bundle, role)
        found = self._of_bundle.get(key)
        if found is None:
            found = self._of_bundle[key] = self._answers.labels(self._product, bundle, role)
        found.inc(rows)

    def fell_back(self, rows: int) -> None:
        """Count rows that the stable bundle answered in the candidate's place."""
        self._fallen.labels(self._product).inc(rows)

    def dropped(self, rows: int) -> None:
        """Count rows that a shadow was not asked."""
        self._dropped.labels(self._product).inc(rows)

    def release_failed(self, failed: bool) -> None:
        """Say whether the release is not followed."""
        self._problem.labels(self._product).set(failed)

    def answered(self, route: str, status: int, began: float, waiting: int) -> None:
        """Count one answer; `began` is from `time.perf_counter`."""
        key = (route, status)
        found = self._of_route.get(key)
        if found is None:
            requests = self._requests.labels(self._product, route, str(status))
            found = self._of_route[key] = (requests, self._seconds.labels(self._product, route))
        requests, seconds = found
        requests.inc()
        seconds.observe(time.perf_counter() - began)
        self._now_waiting.set(waiting)

    def refused(self, route: str, status: int) -> None:
        """Count a request that was not let in; it has no time, which is not that of answers."""
        self._requests.labels(self._product, route, str(status)).inc()

    def scored(self, rows: int) -> None:
        """Count one batch of so many rows."""
        self._rows.labels(self._product).observe(rows)

    def cached(self) -> None:
        """Count a request whose answers were known."""
        self._looked_up.labels(self._product, "hit").inc()

    def likely(self, probabilities: "np.ndarray") -> None:
        """Count answers by their probability [n]."""
        observe_all(self._probability.labels(self._product), probabilities)

    def ranked(self, ranks: "np.ndarray") -> None:
        """Count values by their rank [n] among the answers to test rows."""
        observe_all(self._rank.labels(self._product), ranks)

    def labelled(self, labels: "Sequence[str | float]") -> None:
        """Count answers by their class."""
        for label, count in Counted(labels).items():
            self._labels.labels(self._product, label).inc(count)

    def not_cached(self) -> None:
        """Count a request whose answers were looked for, and not known."""
        self._looked_up.labels(self._product, "miss").inc()

    def recorded(self, rows: int, seconds: float) -> None:
        """Count what was recorded together, and how long that took."""
        self._kept.labels(self._product).observe(rows)
        self._keeping.labels(self._product).observe(seconds)

    def aged(self, table: str, seconds: float) -> None:
        """Note the age of a table."""
        self._age.labels(self._product, table).set(seconds)

    def text(self) -> bytes:
        """All of it in Prometheus' text format; of several workers, whichever is asked."""
        from prometheus_client import generate_latest

        from ai_assets.serving.workers import of_all_workers

        return generate_latest(of_all_workers(self.registry))


def observe_all(histogram: Any, values: "np.ndarray") -> None:
    """Observe many values at once, as so many calls of `observe` would.

    prometheus_client offers no such call, and one for each value costs as much as scoring it; so
    this adds to the counts that its `observe` adds to.
    """
    if len(values) < _FEW:
        for value in values.tolist():
            histogram.observe(value)
        return
    import numpy as np

    places = np.searchsorted(np.asarray(histogram._upper_bounds), values, side="left")
    counts = np.bincount(places, minlength=len(histogram._upper_bounds)).tolist()
    for bucket, count in zip(histogram._buckets, counts, strict=True):
        if count:
            bucket.inc(count)
    histogram._sum.inc(float(values.sum()))
