"""Why a document could not be had, by the one word that a failed fetch has for it: in words, about the server."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["FAILURES"]

FAILURES: Mapping[str, str] = MappingProxyType(
    {
        # of a fetch
        "timeout": "it does not answer in time",
        "transport": "it cannot be reached from this machine",
        "status": "it answers with an error",
        "too_large": "its answer is larger than any such document",
        "compressed": "its answer is compressed in a way that cannot be read safely",
        "not_modified_unasked": "it answers that nothing has changed (304), which nobody has asked",
        "forbidden_address": "its name leads to a link-local or cloud metadata address",
        "not_async": "it was not asked: fetch= is no async function",
        "cancelled": "it was not asked to the end: something in fetch= was cancelled",
        "too_many_requests": "it was not asked: there have been requests enough",
        # of metadata and keys
        "bad_metadata": "its metadata is broken, or that of another issuer",
        "bad_url": "its metadata names no address of keys (jwks_uri) that may be fetched",
        "host_not_allowed": "its keys are on a host that key_settings= does not allow",
        "not_json": "its key document is no strict JSON",
        "not_a_jwks": "its key document holds no list of keys",
        "too_many_keys": "its key document holds too many keys",
        "no_usable_key": "its key document holds no key that can be used",
    }
)
"""Every word there is."""
