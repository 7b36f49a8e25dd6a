"""What `tandem bench` measures: the pair beside a floor of bare workflows, in one run."""
