"""What a broker answers to a topic that is to be made."""

# pyright: reportMissingTypeStubs=false

from aiokafka.protocol.admin import CreateTopicsResponse_v0, CreateTopicsResponse_v1

from contracts.chassis.kafka.connection import refusals_in


def test_a_topic_that_is_there_is_no_refusal():
    """Every start asks for all topics again."""
    assert refusals_in(CreateTopicsResponse_v1([("new", 0, None), ("there", 36, "exists")])) == {}


def test_a_refused_topic_has_the_brokers_reason():
    """In both forms of the answer: too many copies, and no right to make one."""
    assert refusals_in(CreateTopicsResponse_v1([("a", 38, "more than brokers"), ("b", 0, None)])) == {
        "a": "InvalidReplicationFactorError"
    }
    assert refusals_in(CreateTopicsResponse_v0([("a", 29)])) == {"a": "TopicAuthorizationFailedError"}
