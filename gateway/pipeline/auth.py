"""Who asks. The HTTP door is open: everybody is one tenant, unless a trusted proxy in front tells who it is."""

from __future__ import annotations

from collections.abc import Mapping

from matrixinfer.gateway.errors import BadRequest

DEFAULT_TENANT = "default"
LONGEST_TENANT = 128


def tenant_of(headers: Mapping[bytes, bytes], trusted_header: bytes) -> str:
    """The tenant's name. `trusted_header` (lower case) is empty when no header may be believed."""
    if not trusted_header:
        return DEFAULT_TENANT
    tenant = headers.get(trusted_header, b"").decode("latin-1").strip()
    if len(tenant) > LONGEST_TENANT:
        raise BadRequest(f"the tenant's name has {len(tenant)} characters; {LONGEST_TENANT} are the most")
    return tenant or DEFAULT_TENANT
