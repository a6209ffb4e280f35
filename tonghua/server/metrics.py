"""Counters for Prometheus; no text of a request or an answer is in them."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Meter:
    """The counters of one server, in a registry of its own."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, running: Callable[[], int], waiting: Callable[[], int]):
        registry = self._registry = CollectorRegistry()
        self.responses = Counter("tonghua_responses", "Responses by status.", ["status"], registry=registry)
        self.answers = Counter(
            "tonghua_answers", "Answers by model and how they ended.", ["model", "finish"], registry=registry
        )
        self.tokens = Counter(
            "tonghua_tokens", "Tokens read and written, by model.", ["model", "kind"], registry=registry
        )
        self.disconnects = Counter("tonghua_disconnects", "Clients that left before the end.", registry=registry)
        self.first_token = Histogram(
            "tonghua_first_text_seconds", "From the request to its first text.", buckets=SECONDS, registry=registry
        )
        Gauge("tonghua_running", "Answers being written.", registry=registry).set_function(running)
        Gauge("tonghua_waiting", "Requests that wait for a turn.", registry=registry).set_function(waiting)

    def text(self) -> bytes:
        """Return all counters as Prometheus reads them."""
        return generate_latest(self._registry)
