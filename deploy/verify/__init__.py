"""Whether event store, projections, Kafka log and workflows of a live system tell the same story."""
