"""What streams and buckets are called on the server: installations share one by a prefix."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_PREFIX = "mi"


@dataclass(frozen=True)
class Names:
    prefix: str

    def stream(self, name: str) -> str:
        return name if self.prefix == DEFAULT_PREFIX else f"{self.prefix}_{name}"

    def stream_of(self, server_name: str) -> str:
        """The topology's name for a stream of the server."""
        return server_name if self.prefix == DEFAULT_PREFIX else server_name.removeprefix(f"{self.prefix}_")

    def bucket(self, name: str) -> str:
        return self.stream(name)

    def bucket_stream(self, name: str) -> str:
        return f"KV_{self.bucket(name)}"

    def bucket_subject(self, name: str, key: str) -> str:
        return f"$KV.{self.bucket(name)}.{key}"
