"""What the standards ask of a resource server, sentence by sentence, and the tests that hold us to it.

The sentences are ours; the links lead to the originals. `test_requirements.py` keeps both directions: every requirement
names tests that exist, and every module of tests for enforcement or validation is named by one.
"""

from dataclasses import dataclass

RFC = "https://www.rfc-editor.org/rfc/rfc"


@dataclass(frozen=True)
class Requirement:
    """One thing a standard demands. `tests` are `module::function`, below `tests/`."""

    id: str
    url: str
    sentence: str
    tests: tuple[str, ...]


REQUIREMENTS = (
    Requirement(
        "bearer-syntax",
        RFC + "6750#section-2.1",
        "The credentials are the scheme Bearer, one space, and a token68.",
        ("test_challenge::test_every_token68_is_read", "test_challenge::test_ours_but_malformed_is_an_invalid_request"),
    ),
    Requirement(
        "scheme-case",
        RFC + "9110#section-11.1",
        "The name of an authentication scheme is compared without regard to case.",
        ("test_challenge::test_the_scheme_is_case_insensitive",),
    ),
    Requirement(
        "bearer-once",
        RFC + "6750#section-3.1",
        "A request that carries credentials twice is an invalid request, answered with 400.",
        ("test_challenge::test_two_headers_are_an_invalid_request",),
    ),
    Requirement(
        "challenge-without-error",
        RFC + "6750#section-3.1",
        "A request without credentials gets a challenge that carries no error information.",
        ("test_challenge::test_missing_credentials_carry_no_error_but_the_scope",),
    ),
    Requirement(
        "challenge-invalid-token",
        RFC + "6750#section-3.1",
        "A bad token is answered with 401 and the error invalid_token.",
        ("test_challenge::test_every_code_answers_byte_for_byte",),
    ),
    Requirement(
        "challenge-insufficient-scope",
        RFC + "6750#section-3.1",
        "A token that does not suffice is answered with 403, insufficient_scope and the scope that would.",
        (
            "test_challenge::test_missing_grants_are_listed_as_alternatives",
            "test_examples::test_a_token_without_the_grant_is_refused",
        ),
    ),
    Requirement(
        "no-query-token",
        RFC + "9700#section-4.3.2",
        "Tokens are not taken from the query.",
        ("test_challenge::test_the_query_is_not_read",),
    ),
    Requirement(
        "at-typ",
        RFC + "9068#section-4",
        "A token whose typ is neither at+jwt nor application/at+jwt is refused.",
        (
            "test_dialects::test_the_type_of_rfc9068_in_every_spelling",
            "test_dialects::test_no_other_type_is_an_access_token_of_rfc9068",
        ),
    ),
    Requirement(
        "at-encrypted",
        RFC + "9068#section-4",
        "An encrypted token is decrypted first; who does not decrypt refuses it.",
        ("test_jose::test_an_encrypted_token_is_called_so",),
    ),
    Requirement(
        "at-issuer",
        RFC + "9068#section-4",
        "The issuer's identifier matches iss exactly.",
        (
            "test_validator::test_an_issuer_is_trusted_to_the_character_and_no_other_is_asked_for_keys",
            "interop/test_refusals::test_issuer_written_with_a_slash_the_server_does_not_write",
        ),
    ),
    Requirement(
        "at-audience",
        RFC + "9068#section-4",
        "A token whose aud does not hold this resource server is refused.",
        ("test_validator::test_a_token_for_somebody_else", "interop/test_refusals::test_token_for_another_audience"),
    ),
    Requirement(
        "at-signature",
        RFC + "9068#section-4",
        "The signature of every token is validated, and a token with alg none is refused.",
        ("test_jose::test_no_signature_at_all_never_holds", "interop/test_refusals::test_tampered_token"),
    ),
    Requirement(
        "at-expiry",
        RFC + "9068#section-4",
        "The present is before exp, give or take a small leeway.",
        ("test_validator::test_the_edges_of_the_leeway",),
    ),
    Requirement(
        "at-claims",
        RFC + "9068#section-2.2",
        "iss, exp, aud, sub, client_id, iat and jti are there.",
        ("test_validator::test_a_required_claim_of_rfc9068_must_be_there",),
    ),
    Requirement(
        "at-not-id-token",
        RFC + "9068#section-5",
        "An ID token is not taken for an access token, nor the other way round.",
        ("test_dialects::test_the_marks_of_an_id_token", "interop/test_refusals::test_id_token"),
    ),
    Requirement(
        "jws-base64url",
        RFC + "7515#section-2",
        "base64url comes without padding, white space or other characters.",
        (
            "test_validator::test_padding_and_foreign_characters_refuse",
            "test_jose::test_a_second_spelling_of_the_same_bytes_is_refused",
        ),
    ),
    Requirement(
        "jws-duplicates",
        RFC + "7515#section-4",
        "Header names are unique; a duplicate is refused.",
        ("test_validator::test_duplicate_members_in_the_header_refuse",),
    ),
    Requirement(
        "jws-crit",
        RFC + "7515#section-4.1.11",
        "A token with a critical header that is not understood is refused.",
        ("test_validator::test_any_crit_refuses",),
    ),
    Requirement(
        "jws-b64",
        RFC + "7797#section-7",
        "A payload that is not base64url-encoded is no JWT.",
        ("test_validator::test_any_b64_refuses",),
    ),
    Requirement(
        "jwt-dates",
        RFC + "7519#section-2",
        "A NumericDate is a JSON number of seconds.",
        ("test_validator::test_a_date_is_a_number_of_seconds",),
    ),
    Requirement(
        "jwk-algorithm",
        RFC + "8725#section-3.1",
        "A key is used with one algorithm, and that is checked when it is used.",
        (
            "test_validator::test_a_key_published_for_one_algorithm_serves_no_other",
            "test_jose::test_no_algorithm_passes_for_another",
        ),
    ),
    Requirement(
        "jwk-use",
        RFC + "7517#section-4.2",
        "A key published for another use does not verify signatures.",
        ("keys/test_jwks::test_an_unusable_key_among_good_ones_is_skipped",),
    ),
    Requirement(
        "rsa-size",
        RFC + "7518#section-3.3",
        "RSA keys have at least 2048 bits.",
        ("test_jose::test_a_really_weak_rsa_key_is_unusable",),
    ),
    Requirement(
        "ecdsa-form",
        RFC + "7518#section-3.4",
        "An ECDSA signature is the two numbers side by side, each of full length.",
        ("test_validator::test_an_ecdsa_signature_has_one_form",),
    ),
    Requirement(
        "bcp-embedded-keys",
        RFC + "8725#section-3.10",
        "What a token says about where to find its key is not followed blindly; we do not follow it at all.",
        (
            "test_validator::test_keys_in_the_header_are_never_used",
            "test_validator::test_a_token_names_no_place_for_keys",
        ),
    ),
    Requirement(
        "bcp-issuer-keys",
        RFC + "8725#section-3.8",
        "The keys a token is verified with belong to its issuer.",
        ("test_validator::test_the_keys_of_one_issuer_open_nothing_at_another",),
    ),
    Requirement(
        "metadata-issuer",
        RFC + "8414#section-3.3",
        "The issuer in the metadata is identical to the one the metadata was asked for.",
        ("keys/test_discovery::test_metadata_of_another_issuer_is_refused",),
    ),
    Requirement(
        "metadata-tls",
        RFC + "8414#section-3",
        "Metadata and keys are fetched over TLS.",
        ("keys/test_fetch::test_a_url_not_to_fetch_from",),
    ),
    Requirement(
        "scope-syntax",
        RFC + "6749#section-3.3",
        "Scopes are case-sensitive strings, separated by single spaces.",
        (
            "test_validator::test_only_a_space_separates_scopes",
            "test_effective_grants::test_in_compares_exactly_and_only_strings",
        ),
    ),
    Requirement(
        "actor-history",
        RFC + "8693#section-4.1",
        "Only the outermost actor counts for access control; prior actors are information.",
        ("test_dialects::test_nothing_inside_act_is_a_grant",),
    ),
    Requirement(
        "confirmation",
        RFC + "7800#section-3.1",
        "A token bound to a key is worth nothing without the proof.",
        (
            "test_validator::test_whatever_cnf_is_a_proof_is_required",
            "interop/test_refusals::test_token_bound_to_a_key",
        ),
    ),
    Requirement(
        "dpop-downgrade",
        RFC + "9449#section-7.2",
        "The DPoP scheme is not taken for Bearer.",
        ("test_challenge::test_dpop_asks_for_a_proof_nobody_can_verify",),
    ),
    Requirement(
        "subject-pair",
        RFC + "9068#section-2.2.3.1",
        "A subject is unique within its issuer only.",
        ("test_validator::test_the_same_subject_of_two_issuers_is_two_people",),
    ),
    Requirement(
        "metadata-location",
        RFC + "9728#section-3.1",
        "Metadata is found by putting the well-known path between the host of the resource identifier and its path.",
        ("test_metadata::test_it_is_where_every_challenge_leads", "test_metadata::test_it_is_nowhere_else"),
    ),
    Requirement(
        "metadata-response",
        RFC + "9728#section-3.2",
        "Metadata is a JSON object, answered with 200 and application/json; what has no values is left out.",
        (
            "test_metadata::test_the_document_and_its_headers_are_exact",
            "test_metadata::test_nothing_to_request_is_left_out",
        ),
    ),
    Requirement(
        "metadata-identical",
        RFC + "9728#section-3.3",
        "The resource in the metadata is, character by character, the one its URL was made from.",
        (
            "test_metadata::test_it_is_where_every_challenge_leads",
            "test_metadata::test_behind_a_proxy_that_strips_a_prefix",
            "test_metadata::test_a_mounted_application_publishes_below_its_mount",
        ),
    ),
    Requirement(
        "resource-metadata",
        RFC + "9728#section-5.1",
        "A challenge leads to the metadata with the parameter resource_metadata.",
        ("test_metadata::test_every_challenge_leads_there", "test_challenge::test_parameters_stand_in_one_order"),
    ),
    Requirement(
        "metadata-caching",
        RFC + "9728#section-7.10",
        "Metadata says for how long it may be kept.",
        ("test_metadata::test_the_document_and_its_headers_are_exact",),
    ),
    Requirement(
        "denial-response",
        "https://asgi.readthedocs.io/en/latest/extensions.html#websocket-denial-response",
        "A handshake is refused with an HTTP response where the server can, with a close before accept where not.",
        (
            "test_challenge::test_a_websocket_is_denied_where_the_server_can",
            "test_challenge::test_a_websocket_is_closed_where_the_server_cannot",
        ),
    ),
)
