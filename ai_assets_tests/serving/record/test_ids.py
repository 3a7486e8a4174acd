"""Ids of predictions: unique, in the order of time, and each leads back to its request and row."""

import uuid

import pytest

from ai_assets.serving.record.ids import MOST_ROWS, new_request_id, prediction_ids, split_id

AT = 1_763_720_000_123_456


def test_an_id_is_a_uuid_of_version_7_that_tells_its_moment():
    (text,) = prediction_ids(new_request_id(AT), 1)

    made = uuid.UUID(text)

    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == AT // 1000


def test_ids_lead_back_to_the_request_and_the_row():
    request_id = new_request_id(AT)

    ids = list(prediction_ids(request_id, 300))

    assert [split_id(text) for text in ids] == [(request_id, row) for row in range(300)]
    assert split_id(ids[7].upper()) == (request_id, 7)
    assert ids == sorted(ids)


def test_ids_of_later_moments_sort_after_those_before():
    ids = [next(prediction_ids(new_request_id(AT + us), 1)) for us in range(2000)]

    assert ids == sorted(ids)


def test_requests_of_one_moment_differ_by_more_than_their_rows():
    made = {new_request_id(AT) for _ in range(10_000)}

    assert len(made) == 10_000
    assert all(request_id % MOST_ROWS == 0 for request_id in made)


@pytest.mark.parametrize("text", ["", "x", "1" * 36, "c8c208e2-59be-4d3b-9452-96e0d9400e38"])
def test_what_is_no_id_of_ours_leads_nowhere(text: str):
    assert split_id(text) is None
